//! vaultlet's own token: out of a file that somebody else keeps good, or renewed while nobody does.

use std::path::PathBuf;
use std::time::Duration;

use hyper::header::HeaderValue;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::reader::Failure;
use crate::clock::{Clock, Time};
use crate::identity::{Renewal, renew_self, sensitive};
use crate::secret::Secret;
use crate::tenant::Tenant;
use crate::upstream::Upstream;

/// No token is longer.
const LONGEST: usize = 16 * 1024;

/// The token, as it was in the file last.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) file: PathBuf,
    token: Option<Secret>,
    /// When to renew it; `None`: not any more.
    renewal: Option<Time>,
}

impl Own {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, token: None, renewal: None }
    }

    /// The token in the file, as a header.
    pub(super) fn header(&mut self, now: Time) -> Result<HeaderValue, Failure> {
        let bad = |what: &'static str| Failure::File(self.file.clone(), what.into());
        let text = std::fs::read(&self.file).map(Zeroizing::new);
        let text = text.map_err(|error| Failure::File(self.file.clone(), error.to_string()))?;
        let token = text.trim_ascii();
        if token.is_empty() || token.len() > LONGEST {
            return Err(bad("it holds no token"));
        }
        let header = sensitive(token).map_err(|_| bad("what it holds cannot be a token"))?;
        if self.token.as_ref().is_none_or(|known| known.expose() != token) {
            self.token = Some(Secret::new(token.to_vec()));
            self.renewal = Some(now);
        }
        Ok(header)
    }

    /// Renews it, if it is time and it can be.
    pub(super) async fn renew(&mut self, upstream: &Upstream, clock: &Clock) {
        let (now, Some(token)) = (clock.now(), &self.token) else { return };
        if self.renewal.is_none_or(|due| now < due) {
            return;
        }
        let renewal = match sensitive(token.expose()) {
            Ok(token) => renew_self(upstream, Tenant::vaultlet(), token).await,
            Err(error) => Err(error),
        };
        self.renewal = match renewal {
            // Again when it has used up two thirds of what it has now.
            Ok(Renewal::For(life)) => Some(now.plus(life.mul_f64(2.0 / 3.0))),
            Ok(Renewal::Last(_)) => None,
            Ok(Renewal::Refused(status)) => {
                let file = self.file.display();
                info!(
                    %file, %status,
                    "vaultlet's own token is not renewed here: the upstream does not let it renew \
                     itself. Whoever wrote the file has to replace it before it expires"
                );
                None
            }
            Err(error) => {
                warn!(%error, "vaultlet's own token could not be renewed, and will be tried again");
                Some(now.plus(Duration::from_secs(10)))
            }
        };
    }
}
