//! What the command line says, and which part of the program answers it.
//!
//! Exit codes: 0 done, 1 it failed while running, 2 what the user gave is wrong.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::app;
use crate::audit::Verifier;
use crate::config::{Source, schema};
use crate::dev;
use crate::explain::{Inquiry, Who};
use crate::guardrails::Guardrails;
use crate::status::{Place, Status};

/// What the user gave is wrong; clap ends with the same code.
const WRONG: u8 = 2;

/// A node-local caching proxy for HashiCorp Vault and OpenBao.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  vaultlet serve --config vaultlet.yaml &\n  \
                  VAULT_ADDR=http://127.0.0.1:8100 vault kv get secret/app"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy until SIGTERM; SIGHUP reloads
    #[command(
        after_help = "Example:\n  vaultlet serve --config vaultlet.yaml --set log.format=text"
    )]
    Serve {
        #[command(flatten)]
        settings: Settings,
    },
    /// Say everything that is wrong with a configuration
    #[command(after_help = "Example:\n  vaultlet check --config vaultlet.yaml --connect")]
    Check {
        #[command(flatten)]
        settings: Settings,
        /// Also ask the upstream for its health
        #[arg(long)]
        connect: bool,
    },
    /// Show what a running proxy is doing
    #[command(after_help = "Example:\n  vaultlet status --admin http://127.0.0.1:8101")]
    Status {
        #[command(flatten)]
        settings: Settings,
        /// Its admin listener; without it: `admin.address` of the configuration
        #[arg(long, value_name = "URL", conflicts_with_all = ["config", "sets"])]
        admin: Option<String>,
        /// Print what it says as JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at audit records
    #[command(after_help = "Example:\n  vaultlet audit verify /var/log/vaultlet/audit.jsonl")]
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Say whether somebody may do something, and why; or why a request was refused
    #[command(after_help = "Example:\n  \
                      vaultlet explain --config vaultlet.yaml \\\n    \
                      --as system:serviceaccount:payments:api GET secret/data/payments/db\n  \
                      vaultlet explain --id 3f2a90c1d4e5")]
    Explain {
        #[command(flatten)]
        settings: Settings,
        /// system:serviceaccount:NS:NAME, a file that holds a token, or a Vault token
        #[arg(long = "as", value_name = "WHO", required_unless_present = "id")]
        who: Option<String>,
        /// The role that X-Vault-Role would ask for
        #[arg(long, value_name = "ROLE", requires = "who")]
        role: Option<String>,
        /// A refusal, by the id in the log of the running proxy
        #[arg(long, value_name = "ID", conflicts_with_all = ["who", "verb", "path"])]
        id: Option<String>,
        /// Its admin listener; without it: `admin.address` of the configuration
        #[arg(long, value_name = "URL", requires = "id")]
        admin: Option<String>,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        /// GET, LIST, POST, …
        #[arg(value_name = "METHOD", required_unless_present = "id")]
        verb: Option<String>,
        /// What is asked for, without /v1/
        #[arg(value_name = "PATH", required_unless_present = "id")]
        path: Option<String>,
    },
    /// Print the JSON Schema of the configuration file
    #[command(after_help = "Example:\n  vaultlet schema > vaultlet.schema.json")]
    Schema,
    /// Run an OpenBao with sample secrets and the proxy in front of it, on a laptop
    #[command(after_help = "Example:\n  vaultlet dev\n  \
                      vaultlet dev --upstream http://127.0.0.1:8200 --token root")]
    Dev {
        #[command(flatten)]
        settings: Settings,
        /// Use this server instead of starting one
        #[arg(long, value_name = "URL", requires = "token")]
        upstream: Option<String>,
        /// A token that may write to it
        #[arg(long, value_name = "TOKEN", requires = "upstream")]
        token: Option<String>,
        /// Show what the proxy does, with real requests and their timings
        #[arg(long)]
        tour: bool,
        /// End after the tour; exit code 0 only if every step did what it says
        #[arg(long, requires = "tour")]
        once: bool,
    },
    /// Run a program that ends when its parent does; `dev` starts its server so
    #[command(hide = true, after_help = "Example:\n  vaultlet leash $PPID bao server -dev")]
    Leash {
        /// The parent, which must still be it
        parent: u32,
        /// The program and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Say whether every record is there, as it was written
    #[command(after_help = "Example:\n  vaultlet audit verify audit.jsonl.1 audit.jsonl\n  \
                      zcat audit.jsonl.2.gz | vaultlet audit verify -\n\n\
                      Exit code 1: it is not whole")]
    Verify {
        /// The files of one log, oldest first; `-` is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

#[derive(Args)]
struct Settings {
    /// The configuration; without it: the defaults and the environment
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override a key of it, as `VAULTLET_A__B__C` does; may be given many times
    #[arg(long = "set", value_name = "A.B.C=VALUE")]
    sets: Vec<String>,
}

/// Why a command did not do what it was asked.
enum Failure {
    /// What the user gave is wrong.
    Given(String),
    /// It failed while running.
    Running(String),
}

impl Cli {
    /// Does what was asked. `environment` is the process's.
    pub fn run(self, environment: BTreeMap<String, String>) -> ExitCode {
        let source =
            |settings: Settings| Source { file: settings.config, sets: settings.sets, environment };
        let result = match self.command {
            Command::Serve { settings } => serve(source(settings)),
            Command::Check { settings, connect } => check(&source(settings), connect),
            Command::Audit { command: AuditCommand::Verify { files } } => verify(&files),
            Command::Status { settings, admin, json } => status(&source(settings), admin, json),
            Command::Explain { settings, who, role, id, admin, json, verb, path } => {
                let source = source(settings);
                let mut operator = ["VAULT_TOKEN", "BAO_TOKEN"].iter();
                let operator = operator.find_map(|name| source.environment.get(*name).cloned());
                match (id, who, verb, path) {
                    (Some(id), ..) => refusal(&source, admin, &id, json),
                    (None, Some(who), Some(verb), Some(target)) => {
                        let operator = operator.map(Zeroizing::new);
                        Who::parse(&who).map_err(Failure::Given).and_then(|who| {
                            let inquiry = Inquiry { who, verb, target, role, operator };
                            explain(&source, inquiry, json)
                        })
                    }
                    _ => Err(Failure::Given("explain: who asks for what? See --help".into())),
                }
            }
            Command::Schema => print(&format!("{:#}", schema::schema().as_value())),
            Command::Dev { settings, upstream, token, tour, once } => {
                let (token, source) = (token.map(Zeroizing::new), source(settings));
                let request = dev::Request { upstream, token, tour, once, source };
                let plan = dev::Plan::new(request).map_err(Failure::Given);
                plan.and_then(|plan| plan.run().map_err(Failure::Running))
            }
            Command::Leash { parent, command } => {
                Err(Failure::Running(dev::leash(parent, &command)))
            }
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure::Given(message)) => {
                eprintln!("{message}");
                ExitCode::from(WRONG)
            }
            Err(Failure::Running(message)) => {
                eprintln!("vaultlet: {message}");
                ExitCode::FAILURE
            }
        }
    }
}

fn serve(source: Source) -> Result<(), Failure> {
    let config = source.load().map_err(|problems| Failure::Given(problems.to_string()))?;
    app::serve(config, source).map_err(Failure::Running)
}

fn check(source: &Source, connect: bool) -> Result<(), Failure> {
    let config = source.load().map_err(|problems| Failure::Given(problems.to_string()))?;
    let guardrails = Guardrails::load(&config.policy.guardrails);
    guardrails.map_err(|error| Failure::Given(error.to_string()))?;
    let name = source.file.as_ref().map(|file| file.display().to_string());
    let name = name.unwrap_or_else(|| "defaults and environment".to_owned());
    print(&format!("{name}: ok"))?;
    if connect {
        print(&app::attempt(&config).map_err(Failure::Running)?)?;
    }
    Ok(())
}

fn status(source: &Source, admin: Option<String>, json: bool) -> Result<(), Failure> {
    let answer = place(source, admin)?.ask("/status").map_err(Failure::Running)?;
    if json {
        return print(&format!("{answer:#}"));
    }
    print(&Status::of(&answer).map_err(Failure::Running)?.to_string())
}

fn verify(files: &[PathBuf]) -> Result<(), Failure> {
    let mut verifier = Verifier::default();
    for file in files {
        let read = if file == Path::new("-") {
            verifier.read("standard input", io::stdin().lock())
        } else {
            let opened = File::open(file).map(BufReader::new);
            opened.and_then(|opened| verifier.read(&file.display().to_string(), opened))
        };
        read.map_err(|error| Failure::Given(format!("{}: {error}", file.display())))?;
    }
    let report = verifier.finish();
    if !report.notes.found.is_empty() {
        print(&report.notes.to_string())?;
    }
    if report.whole() {
        return print(&format!("whole; {report}"));
    }
    Err(Failure::Running(format!("the audit log is not whole; {report}\n{}", report.problems)))
}

fn explain(source: &Source, inquiry: Inquiry, json: bool) -> Result<(), Failure> {
    let config = source.load().map_err(|problems| Failure::Given(problems.to_string()))?;
    let explanation = inquiry.answer(&config).map_err(Failure::Running)?;
    if !json {
        return print(explanation.to_string().trim_end());
    }
    let json = serde_json::to_string_pretty(&explanation);
    print(&json.map_err(|error| Failure::Running(error.to_string()))?)
}

fn refusal(source: &Source, admin: Option<String>, id: &str, json: bool) -> Result<(), Failure> {
    if id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Failure::Given("--id: expected the digits that the log line names".into()));
    }
    let place = place(source, admin)?;
    let answer = place.ask(&format!("/explain/{id}")).map_err(Failure::Running)?;
    if json {
        return print(&format!("{answer:#}"));
    }
    let lines = answer.as_object().into_iter().flatten().filter_map(|(key, value)| {
        let text = match value {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        };
        Some(format!("{key:<16}{text}"))
    });
    print(&lines.collect::<Vec<_>>().join("\n"))
}

fn place(source: &Source, admin: Option<String>) -> Result<Place, Failure> {
    let place = match admin {
        Some(url) => Place::parse(&url),
        None => {
            source.load().map_err(|problems| problems.to_string()).and_then(|it| Place::of(&it))
        }
    };
    place.map_err(Failure::Given)
}

/// Like `println!`, which would panic when the reader of a pipe has gone.
fn print(line: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Running(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn verify_cli() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Cli::command().get_subcommands_mut() {
            let name = format!("vaultlet {}", command.get_name());
            let help = command.render_long_help().to_string();
            assert!(help.split_once("Example:").unwrap().1.contains(&name), "{help}");
        }
    }
}
