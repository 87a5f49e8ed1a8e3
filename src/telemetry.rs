//! The operational log: one line per thing an operator may have to act on, on standard error.
//!
//! What never goes there is in CONTRIBUTING.md. At `info` no line names a path.

use std::io::{self, IsTerminal as _};

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

use crate::config::{Log, LogFormat};
use crate::error::BoxError;

/// Changes the level of a running log.
#[derive(Clone, Debug)]
pub struct Handle(reload::Handle<LevelFilter, Registry>);

/// Starts the process's log.
///
/// # Errors
/// It has been started before.
pub fn start(config: &Log) -> Result<Handle, BoxError> {
    let (level, handle) = reload::Layer::new(LevelFilter::from_level(config.level));
    let lines = match config.format {
        LogFormat::Json => fmt::layer().json().with_writer(io::stderr).boxed(),
        LogFormat::Text => {
            fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(io::stderr).boxed()
        }
    };
    tracing_subscriber::registry().with(level).with(lines).try_init()?;
    Ok(Handle(handle))
}

impl Handle {
    /// Logs at `level` from now on.
    ///
    /// # Errors
    /// The log has ended.
    pub fn set_level(&self, level: Level) -> Result<(), BoxError> {
        Ok(self.0.reload(LevelFilter::from_level(level))?)
    }
}
