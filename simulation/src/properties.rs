//! What must be so whenever somebody is answered.
//!
//! P1 to P5 of a history checker, and what the design says of seals, clusters and leases. Each is
//! judged from what was so at the server when, and from nothing that vaultlet says of itself but
//! whether an answer is a stale one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::history::{Kind, SECRETS};
use crate::server::number;
use crate::situations::Situation;
use crate::world::{CREDENTIALS, State};

/// Windows are kept to within this.
const SLACK: Duration = Duration::from_secs(1);

/// By when all is well again after something was not (L2).
pub(crate) const RECOVERY: Duration = Duration::from_secs(10);

/// What callers were shown so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// By secret: the place in the order at which a write through the proxy was acknowledged, and
    /// which content it made.
    pub(crate) floors: BTreeMap<usize, Vec<(u64, usize)>>,
    /// By secret: the same for what was read through the cache.
    shown: BTreeMap<usize, Vec<(u64, usize)>>,
    /// By token and secret: where in the order it was last told that it may not, and as of when.
    told: BTreeMap<(usize, usize), (u64, Duration)>,
    /// Who has been answered, and whether from memory.
    answered: BTreeMap<(usize, usize), bool>,
    /// Credentials by token: the last one's number.
    pub(crate) given: BTreeMap<usize, usize>,
    /// Liveness: nothing is wrong any more, and every request has to succeed.
    pub(crate) calm: bool,
}

/// An answered request.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) token: usize,
    /// A secret, or the credentials.
    pub(crate) what: usize,
    pub(crate) status: u16,
    /// `Cache-Status`; empty: it did not pass through the cache.
    pub(crate) label: String,
    pub(crate) body: Vec<u8>,
    /// When and where in the order it was asked.
    pub(crate) asked: (Duration, u64),
    /// The same for its answer.
    pub(crate) at: (Duration, u64),
}

impl Answered {
    fn stale(&self) -> bool {
        self.label.contains("stale-if-error")
    }

    fn hit(&self) -> bool {
        self.label.starts_with("vaultlet; hit; ttl=")
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl State {
    /// Holds an answer against what was so.
    pub(crate) fn judge(&mut self, it: &Answered) {
        self.situate(it);
        let wrong = match it.status {
            200 if it.what == CREDENTIALS => self.judge_credential(it),
            200 => self.judge_secret(it),
            404 => self.judge_absence(it),
            403 => self.judge_refusal(it),
            _ => self.judge_failure(it),
        };
        if let Err(wrong) = wrong {
            let Answered { token, what, status, label, asked, .. } = it;
            let path = SECRETS.get(*what).map_or("credentials", |(path, _)| *path);
            let since = asked.0.as_secs_f64();
            let who = format_args!("{path} for token {token}, asked at {since:.6}");
            self.violated(it.at.0, &format!("{wrong}: {who}: {status} {label}"));
        }
    }

    /// A success with nothing in it: what is passed on is passed on as it came, and nothing like
    /// that is kept.
    fn judge_nonsense(&self, it: &Answered) -> Result<(), String> {
        if past(it) && self.was_troubled(Some(Kind::Fault), it.asked.0, it.at.0) {
            return Ok(());
        }
        Err("a success with nothing in it".to_owned())
    }

    /// For how long what was known may be served past its time, with this answer. One that calls
    /// itself stale may have come in time by way of somebody else's request.
    fn grace(&self, it: &Answered) -> Duration {
        if !it.stale() {
            return Duration::ZERO;
        }
        let from = self.before(it.asked.0, RECOVERY);
        let failed = self.was_troubled(Some(Kind::Fault), from, it.at.0);
        let sealed = self.was_troubled(Some(Kind::Sealed), from, it.at.0);
        let graces =
            [(failed, self.settings.stale_if_error), (sealed, self.settings.stale_if_sealed)];
        graces.iter().filter(|(so, _)| *so).map(|(_, grace)| *grace).max().unwrap_or_default()
    }

    /// P1: the right to it was there within W.
    fn judge_right(&self, it: &Answered, grace: Duration) -> Result<(), String> {
        let from = self.before(it.asked.0, self.settings.window + grace + SLACK);
        let token = &self.tokens[it.token];
        if token.over() < from {
            return Err("P1: the token had been revoked".to_owned());
        }
        if !token.may(&self.policies, it.what, from, it.at.0) {
            return Err("P1: the right had been taken away".to_owned());
        }
        if token.ends.is_some_and(|ends| it.asked.0 >= ends + SLACK) {
            return Err("P1: the token had ended".to_owned());
        }
        Ok(())
    }

    fn judge_secret(&mut self, it: &Answered) -> Result<(), String> {
        let (path, _) = SECRETS[it.what];
        let body = it.json();
        let nonce = body.pointer("/data/data/nonce").or_else(|| body.pointer("/data/nonce"));
        let Some(nonce) = nonce.and_then(Value::as_str) else {
            return self.judge_nonsense(it);
        };
        let mut parts = nonce.split(' ');
        let (its, cluster, version) = (parts.next(), parts.next(), parts.next());
        if its != Some(path) {
            return Err(format!("P5: the secret of another path, {nonce}"));
        }
        let parsed = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
        let (Some(cluster), Some(version)) = (parsed(cluster), parsed(version)) else {
            return Err("P5: no secret of this world".to_owned());
        };
        let Some(content) = self.contents[it.what].number(cluster, version) else {
            return Err("P5: a secret that never was".to_owned());
        };
        let grace = self.grace(it);
        self.judge_right(it, grace)?;
        if let Some((told, as_of)) = self.seen.told.get(&(it.token, it.what))
            && *told < it.asked.1
            && !self.tokens[it.token].may(&self.policies, it.what, *as_of, it.at.0)
        {
            return Err("P1: it had been refused since".to_owned());
        }
        let noticed = self.noticed[(cluster as usize + 1)..].iter().flatten().min();
        if noticed.is_some_and(|noticed| it.asked.0 > *noticed) {
            return Err("a secret of another cluster".to_owned());
        }
        let contents = &self.contents[it.what];
        let from = self.before(it.asked.0, self.settings.ttl + grace + SLACK);
        if !contents.current(content, from, it.at.0) {
            return Err(format!("P2: version {version} was too old"));
        }
        let dies = contents.0[content].dies;
        if dies.is_some_and(|dies| it.asked.0 >= dies + SLACK) {
            return Err("P2: its own end had come".to_owned());
        }
        let floors = self.seen.floors.get(&it.what).map_or(&[][..], Vec::as_slice);
        if floors.iter().any(|(acknowledged, made)| *acknowledged < it.asked.1 && content < *made) {
            return Err(format!("P4: version {version}, and a later one was written here"));
        }
        if past(it) || self.tokens[it.token].uses.is_some() {
            return Ok(());
        }
        let shown = self.seen.shown.entry(it.what).or_default();
        let newer = shown.iter().find(|(seen, other)| *seen < it.asked.1 && content < *other);
        if newer.is_some() {
            return Err(format!("P3: version {version}, and a later one had been shown"));
        }
        shown.push((it.at.1, content));
        Ok(())
    }

    fn judge_absence(&mut self, it: &Answered) -> Result<(), String> {
        if it.what == CREDENTIALS {
            return Err("credentials were not found".to_owned());
        }
        let grace = self.grace(it);
        let from = self.before(it.asked.0, self.settings.negative_ttl + grace + SLACK);
        let floors = self.seen.floors.get(&it.what).map_or(&[][..], Vec::as_slice);
        let before = floors.iter().filter(|(acknowledged, _)| *acknowledged < it.asked.1);
        let made = before.map(|(_, made)| self.contents[it.what].0[*made].at).max();
        let from = made.map_or(from, |made| made.max(from));
        let Some(absence) = self.contents[it.what].absent(from, it.at.0) else {
            return Err("P2: there was a secret".to_owned());
        };
        if !past(it) {
            self.seen.shown.entry(it.what).or_default().push((it.at.1, absence));
        }
        Ok(())
    }

    fn judge_refusal(&mut self, it: &Answered) -> Result<(), String> {
        if !self.tokens[it.token].lacked(&self.policies, it.what, it.asked.0, it.at.0) {
            return Err("refused, and it had the right".to_owned());
        }
        if let Some(as_of) = self.refused.get(&(it.token, it.what)) {
            self.seen.told.insert((it.token, it.what), (it.at.1, *as_of));
        }
        Ok(())
    }

    /// Neither an answer nor a refusal: the upstream must have had a reason.
    fn judge_failure(&mut self, it: &Answered) -> Result<(), String> {
        let from = self.before(it.asked.0, RECOVERY);
        let excused = self.was_troubled(None, from, it.at.0) || self.settings.places < 4;
        if excused && !self.seen.calm {
            return Ok(());
        }
        let said: String = String::from_utf8_lossy(&it.body).chars().take(100).collect();
        Err(format!("failed without a reason ({said})"))
    }

    fn judge_credential(&mut self, it: &Answered) -> Result<(), String> {
        let body = it.json();
        let id = body["lease_id"].as_str().unwrap_or_default();
        let known = number(id).and_then(|number| Some((number, self.leases.get(number)?)));
        let Some((number, lease)) = known else {
            return self.judge_nonsense(it);
        };
        if lease.token != it.token {
            return Err("somebody else's credential".to_owned());
        }
        let grace = self.grace(it);
        self.judge_right(it, grace)?;
        let token = &self.tokens[it.token];
        let from = self.before(it.asked.0, self.settings.check_after + grace + SLACK);
        let over = lease.over(token);
        if it.asked.0 > lease.ends {
            return Err("L3: a credential that had ended".to_owned());
        }
        if over < from || lease.revoked.is_some_and(|revoked| revoked < it.asked.1) {
            return Err("L3: a credential that had been revoked".to_owned());
        }
        let left = lease.ends.saturating_sub(it.asked.0) + SLACK;
        if body["lease_duration"].as_u64().is_none_or(|promised| promised > left.as_secs()) {
            return Err("a credential for longer than it is good".to_owned());
        }
        let before = self.seen.given.insert(it.token, number);
        if let Some(before) = before.filter(|before| *before != number) {
            let gone = self.leases[before].gone.is_some();
            self.met(if gone { Situation::LeaseRevoked } else { Situation::Succeeded });
        }
        Ok(())
    }

    /// Counts what this was.
    fn situate(&mut self, it: &Answered) {
        let key = (it.token, it.what);
        let lease = it.what == CREDENTIALS;
        let held = self.seen.answered.get(&key).copied();
        let from = self.before(it.asked.0, RECOVERY);
        let sealed = self.was_troubled(Some(Kind::Sealed), from, it.at.0);
        let failed = self.was_troubled(Some(Kind::Fault), from, it.at.0);
        match it.status {
            200 | 404 => {
                let found = it.status == 200;
                let label = it.label.as_str();
                let situation = match label {
                    _ if it.stale() && lease => Some(Situation::LeaseStale),
                    _ if it.stale() && failed => Some(Situation::StaleIfError),
                    _ if it.stale() => Some(Situation::StaleIfSealed),
                    _ if it.hit() && lease => Some(Situation::LeaseHit),
                    _ if it.hit() && !found => Some(Situation::AbsenceHit),
                    _ if it.hit() => Some(Situation::Hit),
                    "vaultlet; fwd=miss; stored" => Some(Situation::Stored),
                    "vaultlet; fwd=miss; collapsed" => Some(Situation::Collapsed),
                    "vaultlet; fwd=miss" => Some(Situation::Passed),
                    "vaultlet; fwd=bypass; stored" => Some(Situation::Refreshed),
                    "vaultlet; fwd=stale" => Some(Situation::Renewed),
                    "vaultlet; fwd=bypass; detail=use-counted" => Some(Situation::Owed),
                    _ => None,
                };
                if let Some(situation) = situation {
                    self.met(situation);
                }
                if it.hit() && found && held.is_none() && !lease {
                    self.met(Situation::SharedHit);
                }
                let from_memory = it.hit() || held == Some(true);
                if found {
                    self.seen.answered.insert(key, from_memory);
                    if self.seen.told.remove(&key).is_some() {
                        self.met(Situation::RightGiven);
                    }
                }
                let life = self.contents.get(it.what).and_then(|contents| contents.last().dies);
                if !found && life.is_some_and(|dies| dies < it.asked.0) {
                    self.met(Situation::VersionDied);
                }
            }
            403 => {
                let dead = !String::from_utf8_lossy(&it.body).contains("1 error occurred");
                self.met(if dead { Situation::RefusedAsDead } else { Situation::RefusedByPolicy });
                let ended = self.tokens[it.token].ends.is_some_and(|ends| ends < it.at.0);
                match held {
                    Some(true) if ended => self.met(Situation::TokenEnded),
                    Some(true) => self.met(Situation::RightTaken),
                    _ => (),
                }
            }
            _ if String::from_utf8_lossy(&it.body).contains("too many") => {
                self.met(Situation::Shed);
            }
            _ if sealed && !failed && held.is_some() => self.met(Situation::SealObeyed),
            _ if failed && held.is_some() => self.met(Situation::NothingStale),
            _ => (),
        }
    }
}

/// Whether the upstream was asked past the cache: what it said is not in it.
fn past(it: &Answered) -> bool {
    matches!(it.label.as_str(), "" | "vaultlet; fwd=bypass")
}
