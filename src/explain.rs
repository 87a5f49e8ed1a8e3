//! May somebody do something, and why? The answer of `vaultlet explain`.
//!
//! Nothing is done on the way: no login is made and no secret is read. Who it is comes from the
//! token ([`who`]), the policies from the server, read with vaultlet's own identity or with the
//! operator's token ([`evidence`]), and the decision from the same code that decides for callers.

use std::fmt;

use hyper::Request;
use hyper::http::request::Parts;
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::clock::Clock;
use crate::config::Config;
use crate::error::BoxError;
use crate::guardrails::Guardrails;
use crate::kv::rules::Rules;
use crate::policy::{Acl, Decision, Mount, Operation, Parameters, Selectors};
use crate::request::Call;

mod evidence;
mod show;
mod who;

use evidence::Evidence;
pub use who::Who;

/// What is to be explained.
#[derive(Debug)]
pub struct Inquiry {
    /// Who would make the request.
    pub who: Who,
    /// Its verb.
    pub verb: String,
    /// Its path, with or without `/v1/`, and its query.
    pub target: String,
    /// The role asked for by `X-Vault-Role`, if one is.
    pub role: Option<String>,
    /// A token to read policies with, if there is no identity of vaultlet's own.
    pub operator: Option<zeroize::Zeroizing<String>>,
}

/// The explanation. Names only, no secrets.
#[derive(Debug, Default, Serialize)]
pub struct Explanation {
    /// `allowed`, `refused`, or `unknown` where only the server can say.
    pub decision: &'static str,
    /// In one sentence.
    pub because: String,
    /// Policy and line of the rule that decided, where one did.
    pub rule: Option<String>,
    /// Who would ask.
    pub who: String,
    /// As which role, and where it would log in.
    pub role: Option<String>,
    /// What the server calls what is asked.
    pub operation: &'static str,
    /// The path as policies see it, namespace first.
    pub path: String,
    /// The policies that were looked at.
    pub policies: Vec<String>,
    /// What the guardrails of this node say.
    pub guardrails: String,
    /// What would be kept of the answer, and for how long.
    pub cache: String,
    /// What could not be looked at, and what that means.
    pub notes: Vec<String>,
}

impl Inquiry {
    /// Finds out.
    ///
    /// # Errors
    /// The request cannot be read, or the server cannot be asked; one paragraph for people.
    pub fn answer(self, config: &Config) -> Result<Explanation, String> {
        let head = self.head()?;
        let call = Call::parse(&head).map_err(|error| format!("PATH: {error}"))?;
        let runtime = Runtime::new().map_err(|error| format!("cannot start: {error}"))?;
        let evidence = runtime.block_on(Evidence::gather(config, &self, &call));
        let evidence = evidence.map_err(|error: BoxError| error.to_string())?;
        let guardrails = Guardrails::load(&config.policy.guardrails);
        let guardrails = guardrails.map_err(|error| error.to_string())?;
        Ok(explain(config, &call, evidence, &guardrails))
    }

    fn head(&self) -> Result<Parts, String> {
        let target = self.target.trim_start_matches('/');
        let target = target.strip_prefix("v1/").unwrap_or(target);
        let request = Request::builder().method(self.verb.as_str()).uri(format!("/v1/{target}"));
        let request = request.header("host", "vaultlet").body(());
        let request = request.map_err(|error| {
            format!("{} {}: no request: {error}; write GET secret/data/app", self.verb, self.target)
        })?;
        Ok(request.into_parts().0)
    }
}

fn explain(
    config: &Config,
    call: &Call<'_>,
    evidence: Evidence,
    guardrails: &Guardrails,
) -> Explanation {
    let default = config.upstream.namespace.trim_matches('/');
    let query = call.target.query().unwrap_or_default();
    let operation = Operation::of(call.method().as_str(), query);
    let path = String::from_utf8(call.target.decoded().unwrap_or_default()).unwrap_or_default();
    let path = if default.is_empty() { path } else { format!("{default}/{path}") };
    let parameters = match operation {
        Operation::Write | Operation::Patch => None,
        _ => Some(Parameters::of_query(query)),
    };
    let parameters = parameters.as_ref().unwrap_or_else(|| Parameters::unknown());
    let now = Clock::unix();
    let mount = if evidence.kv {
        Mount::Kv
    } else if path.starts_with("sys/") {
        Mount::System
    } else {
        Mount::Other
    };
    let selectors = evidence.identity.as_ref().map_or(Selectors::NoIdentity, Selectors::Identity);
    let acl = Acl::new(&evidence.policies, selectors, evidence.dialect, now);
    let request = crate::policy::Request { operation, path: &path, mount, parameters, now };
    let (mut decision, because, rule) = match acl.decide(&request) {
        Decision::Allow(rule) => ("allowed", "a policy grants it".to_owned(), rule),
        Decision::Deny(Some(rule)) => {
            ("refused", "the rule that governs the path does not grant it".to_owned(), Some(rule))
        }
        Decision::Deny(None) => ("refused", "no rule governs the path".to_owned(), None),
        Decision::Ask(why) => ("unknown", format!("only the server can say: {why}"), None),
    };
    let rule = rule.map(|rule| format!("{}{}:{}", rule.namespace, rule.policy, rule.line));
    let mut because = because;
    if evidence.incomplete && decision == "refused" {
        (decision, because) = ("unknown", format!("{because}, but not all policies are known"));
    }
    let guarded = guardrails.check(evidence.asker(), call, default);
    let guardrails = match (&guarded, guardrails.files().is_empty()) {
        (_, true) => "none".to_owned(),
        (Ok(()), false) => "do not refuse it".to_owned(),
        (Err(error), false) => {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            (decision, because) = ("refused", "a guardrail of this node does not allow it".into());
            format!("refuse it: {}", cause.unwrap_or_default())
        }
    };
    Explanation {
        decision,
        because,
        rule,
        who: evidence.who,
        role: evidence.role,
        operation: operation.name(),
        cache: kept(config, call, default, evidence.kv),
        path,
        policies: evidence.policies.iter().map(|policy| policy.name().to_owned()).collect(),
        guardrails,
        notes: evidence.notes,
    }
}

/// What the cache does with the answer.
fn kept(config: &Config, call: &Call<'_>, default: &str, kv: bool) -> String {
    let Some(read) = call.read(default) else {
        return "not kept: only a plain GET of a plain path is, with no query but `version`".into();
    };
    if !kv {
        return "not kept: the path is not known to lie in a KV mount".into();
    }
    let (index, lifetimes) = Rules::new(&config.cache).describe(&read.path);
    let by = index.map_or("cache.kv".to_owned(), |index| format!("cache.rules.{index}"));
    match lifetimes {
        None => format!("not kept, by {by}"),
        Some([ttl, negative, stale]) => format!(
            "kept for {ttl:?} (not found: {negative:?}), and {stale:?} longer while the upstream \
             fails, by {by}"
        ),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show::explanation(self, f)
    }
}
