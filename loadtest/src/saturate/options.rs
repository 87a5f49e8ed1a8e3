//! What was asked for, and is it something that can be run?

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hyper::Uri;
use hyper::header::HeaderValue;

use crate::wire;

/// Keeps a number of connections busy with one GET and says what came of it.
///
/// The token is read from `VAULT_TOKEN` or --token-file, and is never an argument: arguments are
/// visible to everybody on the machine.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  VAULT_TOKEN=… vaultlet-loadtest saturate --url http://127.0.0.1:8100/v1/secret/data/app \
                  --connections 32 --duration 10s --pid \"$(pgrep -x vaultlet)\""
)]
pub(crate) struct Options {
    /// What to read: http://HOST:PORT/PATH
    #[arg(long)]
    pub(crate) url: String,
    /// Where the token is, if not in `VAULT_TOKEN`
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// How many connections are kept busy
    #[arg(long, default_value_t = 32, value_name = "N")]
    pub(crate) connections: u32,
    /// When to stop at the latest: 500ms, 10s, 2m
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// When to stop at the latest, as a number of requests
    #[arg(long, value_name = "N")]
    pub(crate) requests: Option<u64>,
    /// The server's process, for the CPU time that it took (Linux)
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// One JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// A run that can begin.
#[derive(Debug)]
pub(crate) struct Plan {
    /// `HOST:PORT`, to connect to and to send as `Host`.
    pub(crate) authority: String,
    /// Path and query, as given.
    pub(crate) target: Uri,
    /// Marked sensitive: it is not printed by `Debug`.
    pub(crate) token: Option<HeaderValue>,
    pub(crate) connections: u32,
    pub(crate) duration: Duration,
    /// `u64::MAX` where only the duration ends the run.
    pub(crate) requests: u64,
    pub(crate) pid: Option<u32>,
}

impl Plan {
    /// Checks `options`; `token` is what `VAULT_TOKEN` holds, and a token file wins over it.
    pub(crate) fn new(options: &Options, token: Option<String>) -> Result<Self, String> {
        let (authority, target) = split(&options.url)?;
        if options.connections == 0 {
            return Err("--connections 0 sends nothing; give 1 or more".into());
        }
        let token = wire::token(options.token_file.as_deref(), token)?;
        Ok(Self {
            authority,
            target,
            token,
            connections: options.connections,
            duration: options.duration,
            requests: options.requests.unwrap_or(u64::MAX),
            pid: options.pid,
        })
    }
}

/// `http://HOST:PORT/PATH?QUERY` as what to connect to and what to ask for.
fn split(url: &str) -> Result<(String, Uri), String> {
    wire::names_nobody("--url", url)?;
    let uri: Uri = url.parse().map_err(|e| format!("--url {url}: {e}"))?;
    if uri.scheme_str() != Some("http") {
        return Err(format!("--url {url}: only http:// can be measured, with a host and a path"));
    }
    let authority = uri.authority().ok_or_else(|| format!("--url {url}: it names no host"))?;
    let authority = match authority.port() {
        Some(_) => authority.to_string(),
        None => format!("{authority}:80"),
    };
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let target = target.parse().map_err(|e| format!("--url {url}: {e}"))?;
    Ok((authority, target))
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 =
        digits.parse().map_err(|_| "expected a number and a unit, such as 10s".to_owned())?;
    let unit = match &text[digits.len()..] {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_mins(1),
        _ => return Err("expected a unit: ms, s or m".into()),
    };
    u32::try_from(number).ok().and_then(|n| unit.checked_mul(n)).ok_or("too long".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Parsed {
        #[command(flatten)]
        options: Options,
    }

    fn plan(arguments: &[&str], token: Option<&str>) -> Result<Plan, String> {
        let options = Parsed::try_parse_from([&["saturate"], arguments].concat());
        Plan::new(&options.map_err(|e| e.to_string())?.options, token.map(str::to_owned))
    }

    #[test]
    fn a_url_is_split_into_host_and_target() {
        for (url, authority, target) in [
            ("http://localhost:8100/v1/secret/data/a", "localhost:8100", "/v1/secret/data/a"),
            ("http://localhost/v1/a?version=2", "localhost:80", "/v1/a?version=2"),
            ("http://[::1]:8100", "[::1]:8100", "/"),
        ] {
            let plan = plan(&["--url", url], None).unwrap();

            assert_eq!(
                (plan.authority.as_str(), plan.target),
                (authority, target.parse().unwrap())
            );
        }
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for arguments in [
            &["--url", "https://localhost/"][..],
            &["--url", "localhost:8100/v1/a"],
            &["--url", "/v1/a"],
            &["--url", "http://somebody:secret@localhost/"],
            &["--url", "http://localhost/", "--connections", "0"],
            &["--url", "http://localhost/", "--duration", "10"],
            &["--url", "http://localhost/", "--duration", "10h"],
            &["--url", "http://localhost/", "--token-file", "no such file"],
            &["--url", "http://localhost/", "--token", "s.secret"],
        ] {
            let refused = plan(arguments, None).unwrap_err();

            assert!(!refused.contains("somebody"), "{arguments:?}: {refused}");
        }
    }

    #[test]
    fn a_token_is_never_printed() {
        let good = plan(&["--url", "http://localhost/"], Some("s.secret\n")).unwrap();
        let bad = plan(&["--url", "http://localhost/"], Some("s.sec\nret")).unwrap_err();

        assert_eq!(good.token.as_ref().unwrap(), "s.secret");
        assert!(!format!("{good:?}{bad}").contains("sec\nret"), "{bad}");
        assert!(!format!("{good:?}").contains("s.secret"), "{good:?}");
    }

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert!(duration("s").is_err());
        assert!(duration("-1s").is_err());
        assert!(duration("99999999999m").is_err());
    }
}
