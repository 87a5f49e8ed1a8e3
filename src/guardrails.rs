//! What do this node's own rules take away?
//!
//! Guardrails are files in the language of the server's policies, for conventions that hold
//! whatever the policies upstream say: "a namespace reads its own secrets, and what is listed as
//! shared". A request that no rule of a file governs is that file's business no more than it is a
//! policy's; one that a rule governs must be granted by it, in every file. So they can only take
//! away, and a second file cannot give back what the first has taken.
//!
//! They are judged on what the server's router would see, and, where its engines clean a path, on
//! that as well. What cannot be judged is refused: these rules have no server behind them to ask.

use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use equivalent::Equivalent;
use quick_cache::sync::Cache;

use crate::clock::Clock;
use crate::error::{BoxError, Error};
use crate::policy::{
    self, Acl, Decision, Dialect, Mount, Operation, Parameters, Policy, Selectors,
};
use crate::request::{Call, clean};

/// Subjects whose rules are kept ready.
const MOST_SUBJECTS: usize = 10_000;

/// The rules of all files.
#[derive(Debug)]
pub struct Guardrails {
    files: Vec<PathBuf>,
    rules: ArcSwap<Rules>,
}

/// As they were read.
#[derive(Debug)]
struct Rules {
    policies: Vec<Arc<Policy>>,
    ready: Cache<Subject, Arc<Vec<Acl>>>,
}

/// Who asks, for the places in the rules that a service account's names fill in. The pod is
/// `None` where its token names none.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Asker<'a> {
    /// Its Kubernetes namespace.
    pub namespace: &'a str,
    /// Its service account.
    pub service_account: &'a str,
    /// Its pod.
    pub pod: Option<&'a str>,
}

/// The same, owned; `None`: somebody who is no service account.
#[derive(Debug, Eq, PartialEq)]
struct Subject(Option<Names>);

#[derive(Debug, Eq, PartialEq)]
struct Names {
    namespace: Box<str>,
    service_account: Box<str>,
    pod: Option<Box<str>>,
}

impl Hash for Subject {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.asker().hash(state);
    }
}

impl Subject {
    fn asker(&self) -> Option<Asker<'_>> {
        let Names { namespace, service_account, pod } = self.0.as_ref()?;
        Some(Asker { namespace, service_account, pod: pod.as_deref() })
    }
}

impl Equivalent<Subject> for Option<Asker<'_>> {
    fn equivalent(&self, subject: &Subject) -> bool {
        *self == subject.asker()
    }
}

impl Guardrails {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them is no policy; one paragraph for people.
    pub fn load(files: &[PathBuf]) -> Result<Self, BoxError> {
        let rules = ArcSwap::from_pointee(Rules::read(files)?);
        Ok(Self { files: files.to_vec(), rules })
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// As [`load`](Self::load); the rules before go on.
    pub fn reload(&self) -> Result<(), BoxError> {
        self.rules.store(Arc::new(Rules::read(&self.files)?));
        Ok(())
    }

    /// Its files.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether `call` may be made. `namespace`: that of requests that name none; `secret`: whether
    /// it is known to be about a secret in a KV mount.
    ///
    /// # Errors
    /// [`Error::Guarded`], with the rule that says so.
    pub fn check(
        &self,
        asker: Option<Asker<'_>>,
        call: &Call<'_>,
        namespace: &str,
    ) -> Result<(), Error> {
        if self.files.is_empty() {
            return Ok(());
        }
        // What is not below /v1/ reaches no engine.
        let Some(path) = call.target.decoded() else { return Ok(()) };
        let path = String::from_utf8(path).map_err(|_| refused("the path is not text"))?;
        let namespace = call.namespace(namespace);
        let namespace = namespace.ok_or_else(|| refused("the namespace has no plain form"))?;
        let path = if namespace.is_empty() { path } else { format!("{namespace}/{path}") };
        let query = call.target.query().unwrap_or_default();
        let operation = Operation::of(call.method().as_str(), query);
        let parameters = match operation {
            // A body would have to be read first.
            Operation::Write | Operation::Patch => None,
            _ => Some(Parameters::of_query(query)),
        };
        let parameters = parameters.as_ref().unwrap_or_else(|| Parameters::unknown());
        self.judge(asker, operation, &path, parameters)?;
        match cleaned(&path) {
            Some(cleaned) => self.judge(asker, operation, &cleaned, parameters),
            None => Ok(()),
        }
    }

    fn judge(
        &self,
        asker: Option<Asker<'_>>,
        operation: Operation,
        path: &str,
        parameters: &Parameters<'_>,
    ) -> Result<(), Error> {
        let now = Clock::unix();
        let request = policy::Request { operation, path, mount: Mount::Kv, parameters, now };
        let rules = self.rules.load();
        for (index, acl) in rules.of(asker, now).iter().enumerate() {
            let file = || self.files[index].display();
            match acl.guard(&request) {
                None | Some(Decision::Allow(_)) => (),
                Some(Decision::Deny(rule)) => {
                    let line = rule.map_or(0, |rule| rule.line);
                    return Err(refused(format!("{}:{line} does not grant it", file())));
                }
                Some(Decision::Ask(why)) => {
                    return Err(refused(format!("{} cannot decide: {why}", file())));
                }
            }
        }
        Ok(())
    }
}

impl Rules {
    fn read(files: &[PathBuf]) -> Result<Self, BoxError> {
        let policies = files.iter().map(|file| {
            let text = std::fs::read_to_string(file)
                .map_err(|error| format!("the guardrail {}: {error}", file.display()))?;
            let policy = Arc::new(policy::parse(&file.display().to_string(), "", &text));
            let wrong = match policy.opaque() {
                Some(opaque) => Some(format!("at line {}: {}", opaque.line, opaque.reason)),
                None => doubt(&policy).map(|why| format!("as a whole: {why}")),
            };
            match wrong {
                None => Ok(policy),
                Some(wrong) => Err(format!(
                    "the guardrail {} is not understood {wrong}; write it as a policy of the \
                     server's, with {{{{namespace}}}}, {{{{service_account}}}} and {{{{pod}}}} in \
                     its paths",
                    file.display(),
                )),
            }
        });
        let policies = policies.collect::<Result<_, String>>()?;
        Ok(Self { policies, ready: Cache::new(MOST_SUBJECTS) })
    }

    /// The rules of each file as they are for one who asks. A rule may have an end: they are made
    /// anew when one may have passed.
    fn of(&self, asker: Option<Asker<'_>>, now: i64) -> Arc<Vec<Acl>> {
        if let Some(ready) = self.ready.get(&asker)
            && ready.iter().all(|acl| acl.current(now))
        {
            return ready;
        }
        let caller = asker.map(|Asker { namespace, service_account, pod }| policy::Caller {
            namespace,
            service_account,
            pod,
        });
        let selectors = caller.as_ref().map_or(Selectors::NoIdentity, Selectors::Caller);
        let acls = self.policies.iter().map(|policy| {
            // Servers differ in where they look for a list's rule first; these files are ours, and
            // a list is of a directory.
            Acl::new(std::slice::from_ref(policy), selectors, Dialect::Current, now)
        });
        let ready = Arc::new(acls.collect());
        let subject = asker.map(|Asker { namespace, service_account, pod }| Names {
            namespace: namespace.into(),
            service_account: service_account.into(),
            pod: pod.map(Into::into),
        });
        self.ready.insert(Subject(subject), Arc::clone(&ready));
        ready
    }
}

/// Why a file could decide nothing for anybody: it fills in what no caller has, say.
fn doubt(policy: &Arc<Policy>) -> Option<&'static str> {
    let anybody = policy::Caller { namespace: "a", service_account: "b", pod: Some("c") };
    let selectors = Selectors::Caller(&anybody);
    let policies = std::slice::from_ref(policy);
    Acl::new(policies, selectors, Dialect::Current, Clock::unix()).doubt()
}

fn refused(why: impl Into<String>) -> Error {
    Error::guarded(why.into())
}

/// The path as the KV engines clean it, if that is another one.
fn cleaned(path: &str) -> Option<String> {
    let segments: Vec<_> = path.split('/').collect();
    let clean = clean(&segments).join("/");
    (clean != path).then_some(clean)
}

#[cfg(test)]
mod tests;
