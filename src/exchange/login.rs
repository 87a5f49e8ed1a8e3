//! The two requests that make a shared login and keep it, on connections like all others'.
//!
//! vaultrs says what a login looks like; `Upstream` sends it, so that the choice of address, the
//! authorities trusted and the bounds are those of every other request (docs/decisions/0009).

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use rustify::endpoint::Endpoint as _;
use serde::Deserialize;
use serde_json::{Map, Value};
use vaultrs::api::auth::kubernetes::requests::LoginWithKubernetesRequest;
use zeroize::Zeroizing;

use super::Exchange;
use super::slot::{Shared, Slot};
use crate::body;
use crate::error::Error;
use crate::identity::{self, Facts, Place, Renewal, renew_self, sensitive};
use crate::kubernetes::Verified;
use crate::metrics::Operation;
use crate::request::NAMESPACE;
use crate::secret::wiped;
use crate::upstream::{Whole, trouble};

/// An answer to a login is a kilobyte or two.
const LIMIT: usize = 256 * 1024;

impl Exchange {
    /// Logs `caller` in, as the role of `slot`.
    pub(super) async fn ask_login(
        &self,
        slot: &Slot,
        caller: &Verified,
    ) -> Result<Arc<Shared>, Error> {
        let (asked, epoch) = (self.clock.now(), self.logins.epoch());
        let namespace = self.namespace(slot);
        let request = login_request(slot, caller)?;
        let answer = self.send(Operation::Login, slot, request).await?;
        let (status, body) = match answer {
            Whole::Answer { status, body, .. } => (status, body),
            Whole::Oversize(_) => return Err(Error::nonsense("a login answer over 256 KiB")),
        };
        if status != StatusCode::OK {
            return Err(refusal(slot, status, &body));
        }
        let namespace = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        let place = Place { namespace, path: slot.login_path().to_owned() };
        let facts = Facts::of_issue(&body, Some(place));
        let facts = facts.ok_or_else(|| Error::nonsense("a login answer without a token"))?;
        if facts.limited() {
            return Err(Error::Unshareable);
        }
        let (life, token) = (facts.life(), Bytes::copy_from_slice(facts.token.expose()));
        let Some(life) = life.filter(|life| !life.is_zero()) else {
            return Err(Error::nonsense("a login without an end"));
        };
        self.logins.overhear(facts, asked, epoch);
        let auth = auth_block(&body)?;
        let renewable = auth.get("renewable").and_then(Value::as_bool).unwrap_or(false);
        let header = sensitive(&token)?;
        let fingerprint = self.logins.fingerprint(&token);
        Ok(Arc::new(Shared {
            credential: self.logins.credential(&token, fingerprint),
            header,
            auth,
            made: asked,
            renewed: asked,
            expires: asked.plus(life),
            renewable,
            term: life,
        }))
    }

    /// Renews a shared login, for as long as the upstream allows.
    pub(super) async fn ask_renewal(&self, slot: &Slot, shared: &Shared) -> Result<Shared, Error> {
        let asked = self.clock.now();
        let renewal = renew_self(&self.upstream, slot.tenant, shared.header.clone()).await?;
        let (life, renewable) = match renewal {
            Renewal::For(life) => (life, true),
            Renewal::Last(life) => (life, false),
            Renewal::Refused(_) => {
                return Err(Error::NoLogin { what: "not renewed".into(), token: false });
            }
        };
        Ok(Shared {
            credential: Arc::clone(&shared.credential),
            header: shared.header.clone(),
            auth: shared.auth.clone(),
            made: shared.made,
            renewed: asked,
            expires: asked.plus(life),
            renewable,
            term: shared.term,
        })
    }

    pub(super) fn namespace(&self, slot: &Slot) -> &str {
        self.roles(slot.place.account.cluster).map_or("", super::Roles::namespace)
    }

    async fn send(
        &self,
        operation: Operation,
        slot: &Slot,
        mut request: Request<Bytes>,
    ) -> Result<Whole, Error> {
        let namespace = self.namespace(slot);
        if !namespace.is_empty() {
            let namespace = HeaderValue::from_str(namespace).map_err(Error::garbage)?;
            request.headers_mut().insert(NAMESPACE, namespace);
        }
        self.upstream.tell(operation, slot.tenant, json(request), LIMIT).await
    }
}

/// The request, its body wiped once it is sent.
fn login_request(slot: &Slot, caller: &Verified) -> Result<Request<Bytes>, Error> {
    let jwt = std::str::from_utf8(caller.token.expose())
        .map_err(|_| Error::Malformed("the token is not text"))?;
    let login = LoginWithKubernetesRequest::builder()
        .mount(&*slot.place.mount)
        .role(&*slot.place.role)
        .jwt(jwt)
        .build();
    // It holds the token, and so do its errors: neither is printed.
    let (login, failed) = (login.ok(), || Error::nonsense("a login request could not be made"));
    let login = login.map(|login| (login.path(), login.body().ok().flatten()));
    let Some((path, Some(body))) = login else { return Err(failed()) };
    let mut request = Request::new(wiped(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("/v1{path}").parse().map_err(Error::garbage)?;
    Ok(request)
}

fn json(mut request: Request<Bytes>) -> Request<body::Body> {
    let kind = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, kind);
    request.map(body::full)
}

/// The upstream's no, for the caller: what it said, of whom, and what to do.
fn refusal(slot: &Slot, status: StatusCode, body: &[u8]) -> Error {
    #[derive(Deserialize)]
    struct Refusal {
        errors: Vec<String>,
    }
    if let Some(trouble) = trouble(status, body) {
        return Error::Failing(status, trouble);
    }
    let said =
        serde_json::from_slice(body).ok().and_then(|Refusal { errors }| errors.into_iter().next());
    let said = said.unwrap_or_else(|| status.to_string());
    let Slot { place, .. } = slot;
    let what = format!(
        "the upstream refuses to log service account {}/{} in as role {:?} on auth/{}: {}; \
         create that role there, bind it to the service account and to an audience of its tokens",
        place.account.namespace,
        place.account.name,
        place.role,
        place.mount,
        said.trim(),
    );
    // A plain `permission denied` may be about the token, whose pod is gone, say. Anything else is
    // about the role or the service account (SEMANTICS section 2).
    Error::NoLogin { what: what.into(), token: identity::dead(body) }
}

/// What the upstream said of the login, but for what only vaultlet may know.
fn auth_block(body: &[u8]) -> Result<Map<String, Value>, Error> {
    #[derive(Deserialize)]
    struct Answer {
        auth: Map<String, Value>,
    }
    let Answer { mut auth } = serde_json::from_slice(body).map_err(Error::garbage)?;
    for own in ["client_token", "accessor"] {
        if let Some(Value::String(text)) = auth.remove(own) {
            drop(Zeroizing::new(text));
        }
    }
    Ok(auth)
}
