//! Has the node that is asked taken in what was written through here?
//!
//! OpenBao 2.7 lets standbys answer reads, and they lag behind the active node: what a caller has
//! just written would be read back as it was. Its answers say how far the storage had got, in
//! `X-Vault-Index`, and a request that names that index and `X-Vault-Inconsistent` is answered by
//! the active node where the one asked is not as far. Vault Enterprise's indexes are opaque and not
//! touched; other servers have none.

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::Ask;

const INDEX: HeaderName = HeaderName::from_static("x-vault-index");
const INCONSISTENT: HeaderName = HeaderName::from_static("x-vault-inconsistent");

/// The index of the newest write that has passed through.
#[derive(Debug, Default)]
pub(super) struct Newest(Mutex<Option<Index>>);

#[derive(Clone, Debug)]
struct Index {
    cluster: String,
    value: u64,
    header: HeaderValue,
}

impl Newest {
    /// Takes in what the answer to a write says.
    pub(super) fn note(&self, method: &Method, answer: &HeaderMap) {
        let reads = matches!(method.as_str(), "GET" | "HEAD" | "LIST" | "SCAN");
        let Some(header) = answer.get(INDEX).filter(|_| !reads) else { return };
        let Some(index) = Index::parse(header) else { return };
        let mut newest = self.lock();
        let older = |newest: &Index| newest.cluster != index.cluster || newest.value < index.value;
        if newest.as_ref().is_none_or(older) {
            *newest = Some(index);
        }
    }

    /// `ask`, to be answered by a node that has taken that in.
    pub(super) fn required<'a>(&self, ask: &'a Ask) -> Cow<'a, Ask> {
        match &*self.lock() {
            Some(Index { header, .. }) if !ask.headers.contains_key(INDEX) => {
                let mut ask = ask.clone();
                ask.headers.insert(INDEX, header.clone());
                let forward = HeaderValue::from_static("forward-active-node");
                ask.headers.insert(INCONSISTENT, forward);
                Cow::Owned(ask)
            }
            _ => Cow::Borrowed(ask),
        }
    }

    /// Never held across an `await`, and nothing panics while it is held.
    fn lock(&self) -> MutexGuard<'_, Option<Index>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// `None`: none of OpenBao's.
    fn parse(header: &HeaderValue) -> Option<Self> {
        #[derive(Deserialize)]
        struct Content {
            cluster: String,
            value: String,
        }
        let content = BASE64_STANDARD.decode(header.as_bytes()).ok()?;
        let Content { cluster, value } = serde_json::from_slice(&content).ok()?;
        Some(Self { cluster, value: value.parse().ok()?, header: header.clone() })
    }
}

#[cfg(test)]
mod tests {
    use hyper::http::uri::PathAndQuery;

    use super::*;
    use crate::tenant::Tenant;

    fn index(cluster: &str, value: &str) -> HeaderValue {
        let content = format!(r#"{{"cluster":"{cluster}","value":"{value}"}}"#);
        HeaderValue::try_from(BASE64_STANDARD.encode(content)).unwrap()
    }

    fn required(newest: &Newest) -> Option<HeaderValue> {
        let target = PathAndQuery::from_static("/v1/secret/data/app");
        let ask = Ask::get(target, HeaderMap::new(), Tenant::anonymous());
        let ask = newest.required(&ask);
        assert_eq!(ask.headers.contains_key(INDEX), ask.headers.contains_key(INCONSISTENT));
        ask.headers.get(INDEX).cloned()
    }

    #[test]
    fn what_is_read_next_is_as_new_as_the_newest_write() {
        let newest = Newest::default();
        let note = |method: Method, header: &HeaderValue| {
            newest.note(&method, &HeaderMap::from_iter([(INDEX, header.clone())]));
            required(&newest)
        };
        let [first, later] = [index("a", "9"), index("a", "10")];

        assert_eq!(required(&newest), None);
        assert_eq!(note(Method::GET, &first), None, "a read shows what others have written");
        assert_eq!(note(Method::POST, &later), Some(later.clone()));
        assert_eq!(note(Method::DELETE, &first), Some(later.clone()), "it came late");
        for opaque in [HeaderValue::from_static("v1:abc"), index("a", "x")] {
            assert_eq!(note(Method::POST, &opaque), Some(later.clone()));
        }
        let other = index("b", "1");
        assert_eq!(note(Method::POST, &other), Some(other.clone()), "of another cluster");
    }
}
