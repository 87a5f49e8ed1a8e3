//! Logins that are answered here: `auth/kubernetes/login` of unmodified applications.
//!
//! Only a request that is beyond doubt one, on a mount that vaultlet itself logs in on, with a
//! service-account token that it accepts. Every other goes to the upstream as it came.

use hyper::Method;
use serde::Deserialize;
use zeroize::Zeroize as _;

use super::{Callers, Pod, refused};
use crate::badge::answers::{self, Subject};
use crate::body::{self, Body, Response};
use crate::error::Error;
use crate::kubernetes::{Issuers, Refusal};
use crate::request::Call;
use crate::secret::Secret;

/// A login's body is a service-account token and a few words.
const LIMIT: usize = 64 * 1024;

/// A mount on which logins may be answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Door {
    mount: String,
    namespace: String,
}

/// What became of a login.
pub enum Login {
    /// A badge.
    Answered(Box<(Response, Pod)>),
    /// None of ours: to be passed on.
    Forward(Body),
}

#[derive(Deserialize)]
struct Request {
    role: String,
    jwt: String,
}

impl Callers {
    /// The door a request knocks at, if it does.
    pub fn door(&self, call: &Call<'_>) -> Option<Door> {
        if self.issuers.is_empty() || !call.headers.plain {
            return None;
        }
        if call.method() != Method::POST && call.method() != Method::PUT {
            return None;
        }
        let (path, None) = call.target.exact()? else { return None };
        let mount = path.strip_prefix("auth/")?.strip_suffix("/login")?;
        let namespace = call.namespace(&self.namespace)?;
        let mut roles = self.exchange.all_roles();
        let known = roles.any(|(cluster, roles)| {
            self.doors[cluster] && roles.namespace() == namespace && roles.uses(mount)
        });
        known.then(|| Door { mount: mount.to_owned(), namespace: namespace.to_owned() })
    }

    /// Answers a login with a badge.
    ///
    /// # Errors
    /// The service-account token is not good, or the upstream does not log it in.
    pub async fn log_in(&self, door: &Door, body: Body) -> Result<Login, Error> {
        let (whole, bytes) = body::taste(body, LIMIT).await.map_err(Error::garbage)?;
        let Some((role, jwt)) = bytes.as_deref().and_then(credentials) else {
            return Ok(Login::Forward(whole));
        };
        let own = self.logins.fingerprint(jwt.expose());
        let holder = match self.issuers.known(own) {
            Some(holder) => holder,
            None => match self.issuers.verify(jwt.expose(), own).await {
                Ok(holder) => holder,
                // It may be good for the upstream: for another audience, say.
                Err(Refusal::Foreign(_) | Refusal::Unavailable(_)) => {
                    return Ok(Login::Forward(whole));
                }
                Err(refusal) => return Err(refused(refusal)),
            },
        };
        let cluster = holder.account.cluster;
        let answers_here = self.exchange.roles(cluster).is_some_and(|roles| {
            self.doors[cluster] && roles.namespace() == door.namespace && roles.uses(&door.mount)
        });
        if !answers_here {
            return Ok(Login::Forward(whole));
        }
        let slot = self.exchange.slot(&holder.account, &door.mount, &role)?;
        let shared = match self.exchange.login(&slot, &holder).await {
            Ok(shared) => shared,
            // Its tokens cannot be shared, so each pod needs one of its own.
            Err(Error::Unshareable) => return Ok(Login::Forward(whole)),
            Err(error) => return Err(error),
        };
        let (token, badge) = self.badges.give(&holder, own, &slot, &shared)?;
        let left = self.badges.left(&badge);
        let response = answers::auth(
            &Subject {
                token: Some(token.expose()),
                accessor: &badge.accessor,
                made: badge.made,
                term: badge.term,
                left,
                renewable: self.badges.renewable(&badge),
                path: slot.login_path(),
            },
            &shared,
        );
        let badge = Some((self.logins.fingerprint(token.expose()), badge));
        Ok(Login::Answered(Box::new((response, Pod { holder, slot, shared, badge }))))
    }
}

/// Role and service-account token of a login's body, if it is beyond doubt one.
fn credentials(body: &[u8]) -> Option<(String, Secret)> {
    let Request { role, mut jwt } = serde_json::from_slice(body).ok()?;
    let shaped = !role.is_empty() && Issuers::shaped(jwt.as_bytes());
    let secret = Secret::new(jwt.as_bytes().to_vec());
    jwt.zeroize();
    shaped.then_some((role, secret))
}
