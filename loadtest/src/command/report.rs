//! What does a result look like, and what is in it?

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::result::{self, Result as Measured};
use crate::{report, text};

/// Make a page of a result, or print the schema of results
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vaultlet-loadtest report result.json --html report.html")]
pub(crate) struct Options {
    /// A result that `--out` wrote
    #[arg(value_name = "RESULT.json", required_unless_present = "schema")]
    result: Option<PathBuf>,
    /// Write the page there; without it, the summary is printed
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the JSON Schema of results
    #[arg(long, conflicts_with_all = ["result", "html"])]
    schema: bool,
}

/// Does it.
pub(crate) fn run(options: &Options) -> ExitCode {
    let Some(path) = &options.result else {
        return print(&result::schema());
    };
    let result = match Measured::read(path) {
        Ok(result) => result,
        Err(problem) => return crate::complain(&problem, 2),
    };
    match &options.html {
        Some(html) => match report::write(&result, html) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => crate::complain(&problem, 1),
        },
        None => print(&text::summary(&result, text::colours())),
    }
}

fn print(text: &str) -> ExitCode {
    match crate::print(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => crate::complain(&problem, 1),
    }
}
