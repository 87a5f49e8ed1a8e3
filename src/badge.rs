//! vaultlet's own tokens, for applications that log in before they read.
//!
//! An unmodified application sends its service-account token to `auth/kubernetes/login`, and every
//! request after that with the token it got for it. Passed on, that is a login upstream for each
//! pod and each start. Answered here, it is none: the application gets a *badge*, a token that
//! means nothing upstream and stands for the shared login of its service account, for no longer
//! than the service-account token it was given for.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use quick_cache::sync::Cache;
use zeroize::Zeroizing;

use crate::clock::{Clock, LatestTime};
use crate::error::Error;
use crate::exchange::{Shared, Slot};
use crate::identity::Logins;
use crate::kubernetes::Verified;
use crate::sealed::{Changes, Writer};
use crate::secret::{Fingerprint, Secret};

pub mod answers;
mod stored;

/// What each badge begins with: no token of Vault or OpenBao does.
pub const PREFIX: &[u8] = b"vlt.";

/// Badges kept. Before this is reached those of one service account are bounded.
const MOST_BADGES: usize = 100_000;

/// The badges given out.
#[derive(Debug)]
pub struct Badges {
    known: Cache<Fingerprint, Arc<Badge>>,
    logins: Arc<Logins>,
    changes: Changes,
    clock: Clock,
}

/// One of them; the token itself is not kept.
#[derive(Debug)]
pub struct Badge {
    /// Names it without being it.
    pub accessor: Box<str>,
    /// Whose pod it was given to.
    pub holder: Arc<Verified>,
    /// What stands for the service-account token it was given for.
    pub jwt: Fingerprint,
    /// The shared login it stands for.
    pub slot: Arc<Slot>,
    /// When it was given out.
    pub made: SystemTime,
    /// The life it was given.
    pub term: Duration,
    expires: LatestTime,
}

impl Badges {
    /// None yet.
    pub fn new(logins: Arc<Logins>, clock: Clock) -> Self {
        Self { known: Cache::new(MOST_BADGES), logins, changes: Changes::default(), clock }
    }

    /// Has `writer` make them outlive the process, from now on.
    pub fn kept_by(&self, writer: &Arc<Writer>) {
        self.changes.kept_by(writer);
    }

    /// Whether a credential claims to be one.
    pub fn shaped(credential: &[u8]) -> bool {
        credential.starts_with(PREFIX)
    }

    /// The badge that `own` stands for, if it still counts.
    pub fn get(&self, own: Fingerprint) -> Option<Arc<Badge>> {
        self.known.get(&own).filter(|badge| self.clock.now() < badge.expires.get())
    }

    /// Gives out a badge for the shared login of `slot` to the holder of the service-account
    /// token `jwt`.
    ///
    /// # Errors
    /// The operating system gave no randomness.
    pub fn give(
        &self,
        holder: &Arc<Verified>,
        jwt: Fingerprint,
        slot: &Arc<Slot>,
        shared: &Shared,
    ) -> Result<(Secret, Arc<Badge>), Error> {
        let now = self.clock.now();
        let term = shared.term().min(holder.expires.since(now));
        let token = random(PREFIX, 32)?;
        let accessor = random(b"vlt-", 16)?;
        let badge = Arc::new(Badge {
            accessor: String::from_utf8_lossy(accessor.expose()).into(),
            holder: Arc::clone(holder),
            jwt,
            slot: Arc::clone(slot),
            made: Clock::wall(),
            term,
            expires: LatestTime::new(now.plus(term)),
        });
        let own = self.logins.fingerprint(token.expose());
        self.known.insert(own, Arc::clone(&badge));
        if let Some(oldest) = slot.badges.add(own) {
            self.known.remove(&oldest);
        }
        self.changes.noted();
        Ok((token, badge))
    }

    /// Lets a badge last `increment` from now, or its first life; never longer than the
    /// service-account token it was given for. Returns how long it has.
    pub fn renew(&self, badge: &Badge, increment: Option<Duration>) -> Duration {
        let now = self.clock.now();
        let life = increment.unwrap_or(badge.term).min(badge.holder.expires.since(now));
        badge.expires.reach(now.plus(life));
        self.changes.noted();
        self.left(badge)
    }

    /// Takes a badge back; the shared login stays.
    pub fn revoke(&self, own: Fingerprint) {
        if let Some((_, badge)) = self.known.remove(&own) {
            badge.slot.badges.remove(own);
            self.changes.noted();
        }
    }

    /// How long a badge has, unless it is renewed.
    pub fn left(&self, badge: &Badge) -> Duration {
        badge.expires.get().since(self.clock.now())
    }

    /// Whether a badge can be had to last longer: it ends before the service-account token does.
    pub fn renewable(&self, badge: &Badge) -> bool {
        badge.expires.get() < badge.holder.expires
    }

    /// Forgets those that have ended.
    pub fn tidy(&self) {
        let now = self.clock.now();
        self.known.retain(|own, badge| {
            let live = now < badge.expires.get();
            if !live {
                badge.slot.badges.remove(*own);
            }
            live
        });
    }
}

/// `prefix` and as many random bytes, in hexadecimal digits.
fn random(prefix: &[u8], bytes: usize) -> Result<Secret, Error> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut random = Zeroizing::new(vec![0; bytes]);
    SystemRandom::new().fill(&mut random).map_err(Error::unreachable)?;
    let mut token = Vec::with_capacity(prefix.len() + 2 * bytes);
    token.extend_from_slice(prefix);
    for byte in random.iter() {
        token.push(DIGITS[usize::from(byte >> 4)]);
        token.push(DIGITS[usize::from(byte & 15)]);
    }
    Ok(Secret::new(token))
}
