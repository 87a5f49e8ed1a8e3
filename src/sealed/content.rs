//! What is kept across a restart: JSON, which only ever exists sealed or in memory that is wiped.
//!
//! A field that an older vaultlet does not know is ignored by it; one that a newer one needs, and
//! that means something else than before, is a new version of the file. What is restored is a
//! claim of the past: whether a lease lives, or a caller may have it, is still asked.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Reject;
use super::hidden::{Hidden, fingerprint, wiped_json};
use super::times::{At, Written};
use crate::secret::Fingerprint;

/// All of it, as of one instant.
#[derive(Debug, Deserialize, Serialize)]
pub struct Content {
    /// When it was written: what all its instants are read with.
    pub written: Written,
    /// The addresses it was asked at.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// The upstream's `cluster_id`, `None` while it had not said one. From another cluster nothing
    /// is believed.
    #[serde(default)]
    pub cluster: Option<String>,
    /// What all its fingerprints were made with.
    pub fingerprint_key: Hidden,
    /// Leased credentials, and those with an end of their own.
    #[serde(default)]
    pub leases: Vec<StoredLease>,
    /// Shared logins.
    #[serde(default)]
    pub logins: Vec<StoredLogin>,
    /// Tokens of vaultlet's own.
    #[serde(default)]
    pub badges: Vec<StoredBadge>,
    /// What is known of callers' own tokens. Only ever in memory: a new process can ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<StoredIdentity>,
    /// The KV mounts that those lie in.
    #[serde(default)]
    pub mounts: Vec<StoredMount>,
    /// Secrets of KV mounts, where they are to be kept.
    #[serde(default)]
    pub entries: Vec<StoredEntry>,
    /// What had been asked for, and not been answered.
    #[serde(default)]
    pub intents: Vec<Intent>,
}

/// For whom a lease was issued.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A service account in a role.
    Account(StoredPlace),
    /// One pod of it, for which this stands.
    Borrower(StoredPlace, #[serde(with = "fingerprint")] Fingerprint),
    /// Whoever brings the credential that this stands for.
    Credential(#[serde(with = "fingerprint")] Fingerprint),
}

/// Whose shared login.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StoredPlace {
    /// Issuer of the service account's tokens. Its place in the configuration may be another's by
    /// now: together with the audiences this says whose it is.
    pub issuer: String,
    /// Vault namespace of its auth mount; empty: the root namespace.
    #[serde(default)]
    pub vault_namespace: String,
    /// Kubernetes namespace.
    pub namespace: String,
    /// Name in it.
    pub name: String,
    /// One made anew under the old name has another.
    pub uid: String,
    /// All audiences of its tokens, sorted.
    pub audiences: Vec<String>,
    /// Path of the auth method below `auth/`.
    pub mount: String,
    /// The role logged in as.
    pub role: String,
}

/// An upstream answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredAnswer {
    /// Its status.
    pub status: u16,
    /// Its headers that are kept, in their order.
    pub headers: Vec<(String, Hidden)>,
    /// Its body.
    pub body: Hidden,
}

impl StoredAnswer {
    /// As it was kept.
    pub fn of(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Self {
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.to_string(), Hidden::copy(value.as_bytes()))
        };
        let headers = headers.iter().map(header).collect();
        Self { status: status.as_u16(), headers, body: Hidden::share(body) }
    }

    /// Its headers; `None` where they are none.
    pub fn headers(&self) -> Option<HeaderMap> {
        read_headers(self.headers.iter().map(|(name, value)| (name, value.expose())))
    }
}

/// Headers as they are kept; `None` where they are none.
pub fn read_headers<'a>(pairs: impl Iterator<Item = (&'a String, &'a [u8])>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::try_from(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    Some(headers)
}

/// A credential.
#[derive(Debug, Deserialize, Serialize)]
pub struct StoredLease {
    /// For whom.
    pub owner: Owner,
    /// The upstream token it was issued to: it ends with it.
    pub token: Hidden,
    /// Whose shared login that token is, or was; `None`: a caller's own.
    #[serde(default)]
    pub login: Option<StoredPlace>,
    /// When that token ends unless it is renewed.
    pub token_ends: At,
    /// Verb of its request.
    pub verb: String,
    /// Namespace and path, as policies see them.
    pub path: String,
    /// Bytes of `path` that came as a namespace.
    pub namespace: usize,
    /// Path and query as they were sent.
    pub target: String,
    /// Headers of its request that are sent again; none is a credential.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Body of its request; empty: none.
    pub body: Hidden,
    /// Names it upstream; `None`: an answer with an end of its own, which has no lease.
    #[serde(default)]
    pub lease_id: Option<String>,
    /// What kind of engine issued it, for the metrics.
    pub engine: String,
    /// What its callers get.
    pub answer: StoredAnswer,
    /// When it was asked for.
    pub asked: At,
    /// When it came.
    pub answered: At,
    /// When it ends unless it is renewed.
    pub expires: At,
    /// When it ends however often it is renewed, if that is known.
    #[serde(default)]
    pub ceiling: Option<At>,
    /// Handed out no longer than this without being read again, where that matters.
    #[serde(default)]
    pub fresh: Option<At>,
    /// When it was last known to be good; `None`: something has happened since that may concern it.
    #[serde(default)]
    pub confirmed: Option<At>,
    /// When its owner was last known to have the right to it; `None`: the same, or it has lost it.
    #[serde(default)]
    pub proven: Option<At>,
    /// Until when it is looked after.
    pub wanted: At,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// For how long it was issued.
    pub term: Duration,
    /// Whether a successor has taken its place.
    #[serde(default)]
    pub retired: bool,
    /// Whether the uses of its token are known not to be counted.
    #[serde(default)]
    pub countless: bool,
    /// Who was given it.
    #[serde(default)]
    pub borrowers: Vec<StoredBorrower>,
}

/// Somebody who was given a lease.
#[derive(Debug, Deserialize, Serialize)]
pub struct StoredBorrower {
    /// Stands for its credential.
    #[serde(with = "fingerprint")]
    pub caller: Fingerprint,
    /// Until when it was promised.
    pub until: At,
}

/// A shared login.
#[derive(Debug, Deserialize, Serialize)]
pub struct StoredLogin {
    /// Whose.
    pub place: StoredPlace,
    /// The upstream token.
    pub token: Hidden,
    /// The `auth` block without the token and its accessor: JSON.
    pub auth: Hidden,
    /// When it was asked for.
    pub made: At,
    /// When it, or its last renewal, was asked for.
    pub renewed: At,
    /// When the upstream was last asked what it may; `None`: that has to be asked again.
    #[serde(default)]
    pub looked_up: Option<At>,
    /// When it ends unless it is renewed.
    pub expires: At,
    /// Whether it can be.
    pub renewable: bool,
    /// The life that its first lease had.
    pub term: Duration,
}

/// A token of vaultlet's own. The token itself is not kept anywhere.
#[derive(Debug, Deserialize, Serialize)]
pub struct StoredBadge {
    /// Stands for the token.
    #[serde(with = "fingerprint")]
    pub own: Fingerprint,
    /// Names it without being it.
    pub accessor: String,
    /// The service-account token it was given for, to be verified anew.
    pub jwt: Hidden,
    /// The shared login it stands for.
    pub place: StoredPlace,
    /// When it was given out, in seconds since the Unix epoch.
    pub made: i64,
    /// The life it was given.
    pub term: Duration,
    /// When it ends unless it is renewed.
    pub expires: At,
}

/// What is known of a caller's own token.
#[derive(Debug, Deserialize, Serialize)]
pub struct StoredIdentity {
    /// Stands for the token.
    #[serde(with = "fingerprint")]
    pub own: Fingerprint,
    /// Its rights class.
    pub class: Option<[u8; 16]>,
    /// The same of a token whose uses are counted.
    pub counted: Option<[u8; 16]>,
    /// What the class was made of.
    pub rights: Option<StoredRights>,
    /// The service account that logged in.
    pub service_account: Option<(String, String)>,
    /// Whether there is no such token any more.
    pub dead: bool,
    /// When the upstream was asked.
    pub asked: At,
    /// When the token ends.
    pub expires: At,
    /// Names the token.
    pub accessor: String,
    /// Whether it does not die with the token that made it.
    pub orphan: bool,
    /// Whether all that is known of it was said when it was issued.
    pub issued_only: bool,
}

/// What a rights class is made of.
#[derive(Debug, Deserialize, Serialize)]
pub struct StoredRights {
    /// Names of policies.
    pub policies: Vec<String>,
    /// Id of the entity.
    pub entity: String,
    /// The token's Vault namespace.
    pub namespace: String,
    /// What the server calls it.
    pub display_name: String,
    /// Whether groups of other namespaces give it policies.
    pub foreign: bool,
}

/// A KV mount.
#[derive(Debug, Deserialize, Serialize)]
pub struct StoredMount {
    /// Namespace and path, with a slash at the end.
    pub path: String,
    /// 1 or 2.
    pub version: u8,
    /// One made anew under the old path has another.
    pub uuid: String,
}

/// A secret of a KV mount.
#[derive(Debug, Deserialize, Serialize)]
pub struct StoredEntry {
    /// Namespace and path, as policies see them.
    pub path: String,
    /// Bytes of `path` that came as a namespace.
    pub namespace: usize,
    /// The version asked for.
    #[serde(default)]
    pub version: Option<u32>,
    /// For whom it is the answer.
    pub scope: StoredScope,
    /// What the upstream said.
    pub answer: StoredAnswer,
    /// When its request left.
    pub asked: At,
    /// When it came back.
    pub answered: At,
    /// A hot entry is refreshed from here on.
    pub refresh: At,
    /// Served without asking until here.
    pub fresh: At,
    /// Served while the upstream fails until here.
    pub stale_if_error: At,
    /// Served while the upstream is sealed until here.
    pub stale_if_sealed: At,
    /// Never served from here on.
    pub end: At,
    /// Which rights classes may read it.
    pub proofs: Vec<StoredProof>,
}

/// For whom an answer is the answer.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredScope {
    /// Everyone who may have it.
    All,
    /// The caller with this credential.
    Caller(#[serde(with = "fingerprint")] Fingerprint),
    /// A rights class.
    Class([u8; 16]),
}

/// That a rights class may read an entry.
#[derive(Debug, Deserialize, Serialize)]
pub struct StoredProof {
    /// Which.
    pub class: [u8; 16],
    /// When the request left that the upstream answered.
    pub at: At,
}

/// That something is about to be asked for. One that is still there after a restart may have left a
/// lease upstream that nobody knows of.
#[derive(Debug, Deserialize, Serialize)]
pub struct Intent {
    /// For whom.
    pub owner: Owner,
    /// Namespace and path, as policies see them.
    pub path: String,
    /// When.
    pub begun: At,
}

impl Content {
    /// As it is sealed.
    ///
    /// # Errors
    /// None that is known of: there is nothing in it that JSON cannot say.
    pub fn to_json(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        wiped_json(self)
    }

    /// Out of what was sealed.
    ///
    /// # Errors
    /// [`Reject::Garbled`]: another program wrote it, though under the same key.
    pub fn of_json(json: &[u8]) -> Result<Self, Reject> {
        // Its message may show a value.
        let garbled = |error: serde_json::Error| Reject::Garbled { column: error.column() };
        serde_json::from_slice(json).map_err(garbled)
    }
}

#[cfg(test)]
mod tests;
