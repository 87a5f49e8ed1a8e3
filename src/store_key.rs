//! Who opens the sealed store: a key in a file, or the upstream's Transit engine.
//!
//! With Transit the key that opens it is nowhere on this machine. It is asked for once, at the start,
//! with a token that needs two rights and no other: `update` on `<mount>/datakey/plaintext/<key>`
//! and on `<mount>/decrypt/<key>`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use tracing::warn;
use zeroize::Zeroizing;

use crate::body;
use crate::config::{LeaseStore, StoreKey};
use crate::error::Error;
use crate::identity::sensitive;
use crate::metrics::Operation;
use crate::request::{NAMESPACE, TOKEN};
use crate::sealed::{Directory, Key, Problem, transit};
use crate::tenant::Tenant;
use crate::upstream::{Upstream, Whole, trouble};

/// An answer of Transit is some hundred bytes.
const LIMIT: usize = 64 * 1024;

/// Why there is no key. Each is one paragraph for operators.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The upstream could not be asked: to be tried again.
    #[error("the upstream could not be asked for the key of the sealed store: {0}")]
    Lost(#[source] Error),
    /// The key file is not one.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// Transit does not give the key.
    #[error(
        "the upstream refuses `{path}`, which the key of the sealed store comes from: {said}. The \
         token in {token_file} needs `update` on it, and the key has to be there \
         (cache.leases.store.transit)"
    )]
    Refused {
        /// What was asked for.
        path: String,
        /// Its words.
        said: String,
        /// As configured.
        token_file: PathBuf,
    },
    /// There is no token to ask Transit with.
    #[error(
        "{file}: {what}. Put a Vault token there that may use the key of the sealed store \
         (cache.leases.store.transit.token_file)"
    )]
    TokenFile {
        /// As configured.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// The key of `store`, for what is in `directory`. Where Transit no longer unwraps that one's key,
/// a new one, under which the store there is not loaded. `namespace`: that of the upstream.
///
/// # Errors
/// There is no key, and the store should be left as it is.
pub async fn obtain(
    store: &LeaseStore,
    directory: &Directory,
    upstream: &Upstream,
    namespace: &str,
) -> Result<Key, Failure> {
    let (mount, key, token_file) = match &store.key {
        StoreKey::File(file) => return Ok(Key::from_file(file, directory)?),
        StoreKey::Transit { mount, key, token_file } => (mount, key, token_file),
    };
    let transit = Transit { upstream, namespace, token_file };
    // What is no store is told when it is loaded.
    if let Ok(Some(wrapped)) = directory.wrapped_key() {
        let path = format!("{mount}/decrypt/{key}");
        match transit.ask(&path, transit::unwrap_key(&wrapped)).await? {
            Ok(body) => {
                let key = transit::unwrapped_key(&body, &wrapped);
                return key
                    .ok_or_else(|| Failure::Lost(Error::nonsense("an answer without a key")));
            }
            Err(said) => warn!(
                said,
                "the key of the sealed store cannot be unwrapped any more; what it holds is lost"
            ),
        }
    }
    let path = format!("{mount}/datakey/plaintext/{key}");
    let token_file = token_file.clone();
    let answer = transit.ask(&path, transit::NEW_KEY.to_owned()).await?;
    let body = answer.map_err(|said| Failure::Refused { path, said, token_file })?;
    transit::new_key(&body).ok_or_else(|| Failure::Lost(Error::nonsense("an answer without a key")))
}

struct Transit<'a> {
    upstream: &'a Upstream,
    namespace: &'a str,
    token_file: &'a Path,
}

impl Transit<'_> {
    /// Its answer; inside, what it has against this very request (400).
    async fn ask(&self, path: &str, body: String) -> Result<Result<Bytes, String>, Failure> {
        let request = self.request(path, body)?;
        let answer = self.upstream.tell(Operation::StoreKey, Tenant::vaultlet(), request, LIMIT);
        let (status, body) = match answer.await.map_err(Failure::Lost)? {
            Whole::Answer { status, body, .. } => (status, body),
            Whole::Oversize(_) => {
                return Err(Failure::Lost(Error::nonsense("an answer over 64 KiB")));
            }
        };
        if let Some(trouble) = trouble(status, &body) {
            return Err(Failure::Lost(Error::Failing(status, trouble)));
        }
        match status {
            StatusCode::OK => Ok(Ok(body)),
            StatusCode::BAD_REQUEST => Ok(Err(said(status, &body))),
            _ => Err(Failure::Refused {
                path: path.to_owned(),
                said: said(status, &body),
                token_file: self.token_file.to_owned(),
            }),
        }
    }

    fn request(&self, path: &str, body: String) -> Result<Request<body::Body>, Failure> {
        let lost = |error: hyper::http::Error| Failure::Lost(Error::garbage(error));
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("/v1/{path}"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(TOKEN, self.token()?);
        if !self.namespace.is_empty() {
            request = request.header(NAMESPACE, self.namespace);
        }
        request.body(body::full(Bytes::from(body))).map_err(lost)
    }

    fn token(&self) -> Result<HeaderValue, Failure> {
        let bad = |what: String| Failure::TokenFile { file: self.token_file.to_owned(), what };
        let text = std::fs::read(self.token_file).map(Zeroizing::new);
        let text = text.map_err(|error| bad(error.to_string()))?;
        match text.trim_ascii() {
            b"" => Err(bad("it holds no token".to_owned())),
            token => {
                sensitive(token).map_err(|_| bad("what it holds cannot be a token".to_owned()))
            }
        }
    }
}

/// What it said, for people.
fn said(status: StatusCode, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        errors: Vec<String>,
    }
    let refusal = serde_json::from_slice(body).ok();
    let first = refusal.and_then(|Refusal { errors }| errors.into_iter().next());
    first.map_or_else(|| status.to_string(), |first| first.trim().to_owned())
}
