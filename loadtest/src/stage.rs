//! Where a scenario is played: real servers, or models of them in time that is not real.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::{HeaderMap, Request, StatusCode};
use zeroize::Zeroizing;

use crate::scenario::Phase;

/// Servers that are there for one run, with what the world needs in them.
pub(crate) trait Stage {
    /// What it is called in a report: `direct`, `vaultlet`, `openbao-proxy`, `nginx`, `bare`.
    fn name(&self) -> &'static str;

    /// What pod number `n` shows for itself: a Vault token, or its service-account token.
    fn pass(&self, pod: u32) -> &Zeroizing<String>;

    /// Whether it takes a service-account token with each request.
    fn takes_service_accounts(&self) -> bool;

    /// Where a service-account token is changed into a Vault token: below `/v1/`.
    fn login_path(&self) -> &str;

    /// Sends a request of a pod of `node`; the whole answer.
    async fn send(&self, node: u32, request: Request<Bytes>) -> Result<Answer, Failure>;

    /// Lets happen what happens in a phase besides requests: a server ends, or starts anew.
    async fn begin(&self, phase: &Phase) -> Result<(), String>;

    /// Undoes what lasts only as long as the phase.
    async fn end(&self, phase: &Phase) -> Result<(), String>;

    /// What can be read off the servers now.
    async fn gauges(&self) -> Gauges;

    /// What the generator ran out of while it sent, in words: connections, descriptors.
    fn exhausted(&self) -> Option<String> {
        None
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Of the first line.
    pub status: StatusCode,
    /// As they came.
    pub headers: HeaderMap,
    /// All of it.
    pub body: Bytes,
}

/// No whole answer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Failure {
    /// Nobody accepted the connection.
    Connect,
    /// It ended, or made no sense, before the answer was whole.
    Broken,
    /// The answer took longer than anybody waits.
    TimedOut,
}

/// Counts that only ever grow, and sizes of now; what cannot be known is `None`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauges {
    /// Requests that reached the upstream since it started, by kind: `kv-read`, `kv-write`,
    /// `login`, `lookup`, `capabilities`, `mount`, `lease`, `renew`, `revoke`, `health`, `other`.
    pub(crate) upstream: BTreeMap<&'static str, u64>,
    /// CPU time of what is measured, all its processes.
    pub(crate) cpu: Option<Duration>,
    /// The same of the upstream and its database.
    pub(crate) upstream_cpu: Option<Duration>,
    /// Resident bytes of what is measured, all its processes.
    pub(crate) resident: Option<u64>,
    /// Leases that live at the upstream.
    pub(crate) leases: Option<u64>,
}
