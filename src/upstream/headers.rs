//! Which of a message's headers go on to the other side?

use hyper::header::{
    AGE, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, HeaderMap,
    HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE,
    TRANSFER_ENCODING, UPGRADE,
};

use crate::request::{NAMESPACE, ROLE, TOKEN};

/// Headers that belong to one connection (RFC 9110 section 7.6.1), whether or not `Connection`
/// names them.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What a caller could say of itself to a listener that trusts us: never ours to pass on.
const CLAIMS: [HeaderName; 5] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

/// Says whether an answer came from memory.
pub const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// The same at length (RFC 9211).
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What nearly every answer says, which need not be kept with each: OpenBao's
/// `http/handler.go` and `http/util.go` set them.
const USUAL: [HeaderValue; 3] = [
    HeaderValue::from_static("no-store"),
    HeaderValue::from_static("application/json"),
    HeaderValue::from_static("max-age=31536000; includeSubDomains"),
];

const CACHE_DIRECTIVE: HeaderName = HeaderName::from_static("x-vault-cache-control");

/// Removes what does not leave this hop.
pub fn end_to_end(headers: &mut HeaderMap) {
    // An option that cannot be a header's name names none.
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Makes the headers of an answer those that it is kept with: without what is of one connection, of
/// this moment, or, like a load balancer's cookie, of this caller.
pub fn to_keep(headers: &mut HeaderMap) {
    end_to_end(headers);
    for own in [CONTENT_LENGTH, DATE, NAMESPACE, SET_COOKIE] {
        headers.remove(own);
    }
    let came = std::mem::take(headers);
    *headers = kept(came.iter().map(|(name, value)| (name.clone(), value.as_bytes())));
}

/// Headers of an answer that is kept, made of copies: each value as it came is a view of the
/// connection's whole read buffer, secret included. There is a place for what each answer says of
/// the cache, so that the map of none has to grow.
pub fn kept<'v>(headers: impl Iterator<Item = (HeaderName, &'v [u8])>) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(6);
    for (name, value) in headers {
        let usual = USUAL.iter().find(|usual| usual.as_bytes() == value).cloned();
        if let Some(value) = usual.or_else(|| HeaderValue::from_bytes(value).ok()) {
            kept.append(name, value);
        }
    }
    for name in [X_CACHE, AGE, CACHE_STATUS] {
        kept.insert(name, HeaderValue::from_static(""));
    }
    kept
}

/// Whether an answer calls itself JSON.
pub fn json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/json"))
}

/// Puts the token a request is made with in the place of what its caller presented.
pub fn sign(headers: &mut HeaderMap, token: &HeaderValue) {
    headers.remove(AUTHORIZATION);
    headers.insert(TOKEN, token.clone());
}

/// Makes a caller's headers those of a request to the upstream: one hop further, with exactly the
/// credential we took it to present, and in the namespace we took it to be for.
pub fn to_upstream(headers: &mut HeaderMap, namespace: &str) {
    // Only what follows a header named in `TE` may be trailers; hyper frames them anew.
    let trailers = headers.get(TE).is_some_and(|te| te.as_bytes() == b"trailers");
    end_to_end(headers);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    for claim in &CLAIMS {
        headers.remove(claim);
    }
    headers.remove(HOST);
    headers.remove(CACHE_DIRECTIVE);
    headers.remove(ROLE);
    let token = headers.get(TOKEN).is_some_and(|token| !token.as_bytes().trim_ascii().is_empty());
    let bearer = headers.get(AUTHORIZATION).is_some_and(|it| it.as_bytes().starts_with(b"Bearer "));
    if token && bearer {
        headers.remove(AUTHORIZATION);
    }
    if !namespace.is_empty()
        && !headers.contains_key(NAMESPACE)
        && let Ok(namespace) = HeaderValue::from_str(namespace)
    {
        headers.insert(NAMESPACE, namespace);
    }
    for secret in [TOKEN, AUTHORIZATION] {
        if let Some(value) = headers.get_mut(secret) {
            value.set_sensitive(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_belongs_to_one_connection_stays_there() {
        let mut map = headers(&[
            ("connection", "keep-alive, x-mine"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-vault-cache-control", "recache"),
            ("x-vault-role", "app"),
            ("x-kept", "1"),
        ]);

        to_upstream(&mut map, "");

        assert_eq!(map, headers(&[("te", "trailers"), ("x-kept", "1")]));
    }

    #[test]
    fn one_credential_leaves_and_it_is_the_one_that_counts() {
        let mut both = headers(&[("x-vault-token", "s.1"), ("authorization", "Bearer s.2")]);
        let mut empty = headers(&[("x-vault-token", " "), ("authorization", "Bearer s.2")]);
        let mut other = headers(&[("x-vault-token", "s.1"), ("authorization", "Negotiate x")]);

        for map in [&mut both, &mut empty, &mut other] {
            to_upstream(map, "");
        }

        assert!(!both.contains_key(AUTHORIZATION));
        assert!(empty.contains_key(AUTHORIZATION));
        assert!(other.contains_key(AUTHORIZATION), "an auth plugin's, not a token");
    }

    #[test]
    fn the_configured_namespace_is_for_those_that_name_none() {
        let mut own = headers(&[("x-vault-namespace", "own")]);
        let mut none = headers(&[]);

        for map in [&mut own, &mut none] {
            to_upstream(map, "configured");
        }

        assert_eq!(own[NAMESPACE], "own");
        assert_eq!(none[NAMESPACE], "configured");
    }
}
