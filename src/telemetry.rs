//! The operational log: one line per thing an operator may have to act on, on standard error.
//!
//! What never goes there is in CONTRIBUTING.md. At `info` no line names a path.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;

use tracing::{Level, error};
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
    std::panic::set_hook(Box::new(panicked));
    Ok(Handle(handle))
}

/// A panic is a line of the log as any other; it ends one connection or one task, and the rest goes
/// on. What it says is a constant or made of types that do not show secrets.
fn panicked(panic: &PanicHookInfo<'_>) {
    let what = panic.payload_as_str().unwrap_or_default();
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let trace = Backtrace::capture();
    let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
    error!(what, place, trace, "vaultlet has a bug, please report it; the others go on");
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    #[ignore = "ends in a panic; the other test runs it, in a process of its own"]
    fn a_panic() {
        start(&Log { level: Level::INFO, format: LogFormat::Json }).unwrap();
        let lost = std::thread::spawn(|| panic!("\"what\n{{happened")).join();
        assert!(lost.is_err());
    }

    #[test]
    fn a_panic_is_one_line_of_the_log() {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "telemetry::tests::a_panic", "--ignored", "--nocapture"]);
        let output = again.env_remove("RUST_BACKTRACE").output().unwrap();

        let text = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!((lines.len(), text.lines().count()), (1, 1), "{text}");
        assert_eq!(lines[0]["fields"]["what"], "\"what\n{happened");
        assert!(lines[0]["fields"]["place"].as_str().unwrap().contains("src/telemetry.rs:"));
    }
}
