//! What is a running proxy doing? The answer as `GET /status` of the admin listener gives it, and
//! how `vaultlet status` asks for it and shows it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::config::Config;
use crate::dial;
use crate::error::BoxError;

/// Longer than any proxy that is well takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// A status is a kilobyte.
const LARGEST: usize = 1024 * 1024;

/// A running proxy, without secrets and paths.
#[derive(Debug, Deserialize, Serialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// `starting`, `degraded`, `ready` or `draining`.
    pub state: String,
    /// What is behind it.
    pub upstream: Upstream,
    /// What it holds, as of the last housekeeping.
    pub cache: Cache,
    /// Logins known.
    pub identities: usize,
    /// The leased credentials held.
    #[serde(default)]
    pub leases: Leases,
    /// `working` or `failing`, where answers are recorded: while it fails, none are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<String>,
    /// The upstream's policies, where they are evaluated here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Policies>,
}

/// The upstream, as it last showed itself.
#[derive(Debug, Deserialize, Serialize)]
pub struct Upstream {
    /// In the order of the configuration.
    pub addresses: Vec<Address>,
    /// `None` until it has said one.
    pub cluster_id: Option<String>,
}

/// One address of the upstream.
#[derive(Debug, Deserialize, Serialize)]
pub struct Address {
    /// Scheme, host and port.
    pub address: String,
    /// `active`, `standby`, `sealed`, `suspect`, `down` or `unknown`.
    pub state: String,
}

/// The policies read.
#[derive(Debug, Deserialize, Serialize)]
pub struct Policies {
    /// Since they were those of the upstream; `None`: they have not been read yet.
    pub age_seconds: Option<u64>,
    /// How many were understood.
    pub read: usize,
    /// Those that were not: name, line, reason.
    pub opaque: Vec<String>,
}

/// The entries held.
#[derive(Debug, Deserialize, Serialize)]
pub struct Cache {
    /// How many.
    pub entries: u64,
    /// Keys and bookkeeping included.
    pub bytes: u64,
}

/// The leased credentials held.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Leases {
    /// How many, by engine.
    pub engines: Vec<Held>,
    /// The same by path, where `admin.show_paths` is set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Held>,
    /// Until the next of those that are handed out ends.
    pub next_end_seconds: Option<u64>,
    /// Since the one of those longest unconfirmed was known to be there.
    pub unconfirmed_seconds: Option<u64>,
}

/// Some of them.
#[derive(Debug, Deserialize, Serialize)]
pub struct Held {
    /// The engine or path they are from.
    #[serde(alias = "engine", alias = "path")]
    pub from: String,
    /// Those that are handed out.
    pub live: usize,
    /// Those that live to their end.
    pub retired: usize,
}

/// Where a proxy's operators connect: `host:port`, in plain HTTP.
#[derive(Debug, Eq, PartialEq)]
pub struct Place(String);

impl Place {
    /// What `--admin` names.
    ///
    /// # Errors
    /// It is not `http://HOST:PORT`; one paragraph for people.
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let authority = rest.and_then(|rest| rest.parse::<Authority>().ok()).filter(|authority| {
            let port = authority.port_u16().is_some_and(|port| port > 0);
            port && !authority.host().is_empty() && !authority.as_str().contains('@')
        });
        authority.map(|authority| Self(authority.to_string())).ok_or_else(|| {
            "--admin: expected http://HOST:PORT and nothing after it, which is where the admin \
             listener speaks plain HTTP; write --admin http://127.0.0.1:8101"
                .to_owned()
        })
    }

    /// The admin listener of a proxy on this machine with this configuration.
    ///
    /// # Errors
    /// The configuration does not say; one paragraph for people.
    pub fn of(config: &Config) -> Result<Self, String> {
        let address = dial::reachable(config.admin.address);
        if address.port() == 0 {
            return Err(
                "admin.address: with port 0 the proxy takes a free one, which only its log \
                        names; write --admin http://HOST:PORT"
                    .to_owned(),
            );
        }
        Ok(Self(address.to_string()))
    }

    /// Asks the proxy there for one of its pages; what it says, as JSON.
    ///
    /// # Errors
    /// Nothing answers there, or something else; one paragraph for people.
    pub fn ask(&self, page: &str) -> Result<Value, String> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
        let answer = runtime.block_on(async { timeout(PATIENCE, self.exchange(page)).await });
        let hint = "Is `vaultlet serve` running there? Its admin address is `admin.address` of its \
                    configuration: name that one with --config FILE, or the address with --admin \
                    http://HOST:PORT";
        let (status, body) = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(format!("{self}{page} gives no answer: {error}. {hint}")),
            Err(_) => {
                return Err(format!("{self}{page} gives no answer within {PATIENCE:?}. {hint}"));
            }
        };
        let value: Option<Value> = serde_json::from_slice(&body).ok();
        match value {
            Some(value) if status == StatusCode::OK => Ok(value),
            // An error of its own says what is wrong better than we could.
            Some(value)
                if value["errors"][0].as_str().is_some_and(|it| it.starts_with("vaultlet:")) =>
            {
                Err(format!("{self}{page}: {}", value["errors"][0].as_str().unwrap_or_default()))
            }
            _ => Err(format!(
                "{self}{page} is no admin listener of vaultlet: it answers {status}. {hint}"
            )),
        }
    }

    async fn exchange(&self, page: &str) -> Result<(StatusCode, Bytes), BoxError> {
        let mut connection = dial::connect(&self.0).await?;
        let request = Request::get(page).header(HOST, &self.0).body(Full::default())?;
        let answer = connection.send_request(request).await?;
        let status = answer.status();
        Ok((status, Limited::new(answer.into_body(), LARGEST).collect().await?.to_bytes()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

impl Status {
    /// Reads what [`Place::ask`] was told.
    ///
    /// # Errors
    /// It is no status of this version; one paragraph for people.
    pub fn of(answer: &Value) -> Result<Self, String> {
        Self::deserialize(answer).map_err(|error| {
            format!(
                "what answers is another version of vaultlet than this one, or another program: \
                 {error}. --json shows what it says"
            )
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "vaultlet    {}, {}", self.version, self.state)?;
        let addresses = &self.upstream.addresses;
        let width = addresses.iter().map(|node| node.address.len()).max().unwrap_or_default();
        for (place, Address { address, state }) in addresses.iter().enumerate() {
            let name = if place == 0 { "upstream" } else { "" };
            writeln!(f, "{name:12}{address:width$}  {state}")?;
        }
        let cluster = self.upstream.cluster_id.as_deref().unwrap_or("not known yet");
        writeln!(f, "cluster     {cluster}")?;
        let Cache { entries, bytes } = self.cache;
        writeln!(f, "cache       entries: {entries}, bytes: {bytes}")?;
        write!(f, "identities  {}", self.identities)?;
        self.leases.fmt(f)?;
        if let Some(audit) = &self.audit {
            write!(f, "\naudit       {audit}")?;
        }
        if let Some(Policies { age_seconds, read, opaque }) = &self.policies {
            match age_seconds {
                Some(age) => write!(f, "\npolicies    age: {age} s, read: {read}")?,
                None => write!(f, "\npolicies    not read yet")?,
            }
            for opaque in opaque {
                write!(f, "\n            not understood: {opaque}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Leases {
    /// Nothing where none are held; otherwise lines to follow others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Held { from, live, retired }) in
            self.engines.iter().chain(&self.paths).enumerate()
        {
            let name = if place == 0 { "leases" } else { "" };
            write!(f, "\n{name:12}{from}: {live}, retired: {retired}")?;
        }
        if let Some(end) = self.next_end_seconds {
            write!(f, "\n            next end: {end} s")?;
        }
        match self.unconfirmed_seconds {
            Some(age) => write!(f, ", longest unconfirmed: {age} s"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_host_and_a_port_in_plain_http() {
        for (url, place) in [
            ("http://127.0.0.1:8101", "127.0.0.1:8101"),
            ("http://[::1]:8101/", "[::1]:8101"),
            ("http://node-7:1", "node-7:1"),
        ] {
            assert_eq!(Place::parse(url), Ok(Place(place.to_owned())), "{url}");
        }
        for wrong in [
            "",
            "127.0.0.1:8101",
            "https://127.0.0.1:8101",
            "http://127.0.0.1",
            "http://127.0.0.1:0",
            "http://127.0.0.1:81010",
            "http://:8101",
            "http://root:hunter2@127.0.0.1:8101",
            "http://127.0.0.1:8101/status",
            "http://127.0.0.1:8101?x",
        ] {
            let problem = Place::parse(wrong).unwrap_err();
            assert!(problem.contains("--admin http://127.0.0.1:8101"), "{wrong}: {problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn it_is_aligned_for_people() {
        let status = Status::of(&serde_json::json!({
            "version": "0.1.0", "state": "ready", "identities": 3, "later": true,
            "upstream": {"cluster_id": null, "addresses": [
                {"address": "https://vault-10:8200", "state": "active"},
                {"address": "https://vault-2:8200", "state": "standby"},
            ]},
            "cache": {"entries": 12, "bytes": 34567},
            "leases": {
                "engines": [
                    {"engine": "database", "live": 7, "retired": 2},
                    {"engine": "rabbitmq", "live": 1, "retired": 0},
                ],
                "next_end_seconds": 540, "unconfirmed_seconds": 12,
            },
        }));

        assert_eq!(
            status.unwrap().to_string(),
            "vaultlet    0.1.0, ready\n\
             upstream    https://vault-10:8200  active\n            \
             https://vault-2:8200   standby\n\
             cluster     not known yet\n\
             cache       entries: 12, bytes: 34567\n\
             identities  3\n\
             leases      database: 7, retired: 2\n            \
             rabbitmq: 1, retired: 0\n            \
             next end: 540 s, longest unconfirmed: 12 s"
        );
        assert!(Status::of(&serde_json::json!({"version": "9"})).unwrap_err().contains("--json"));
    }
}
