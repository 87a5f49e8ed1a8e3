//! Which headers of one caller's request, and of its answer, are for all who share what comes?

use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, EXPECT,
    HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE,
    SET_COOKIE, TRAILER, USER_AGENT,
};

use crate::request::{NAMESPACE, TOKEN};
use crate::upstream::Ask;
use crate::upstream::headers::end_to_end;

/// What a request says of whoever makes it, and of how it wants its own answer.
pub(super) const PERSONAL: [HeaderName; 9] = [
    ACCEPT_ENCODING,
    CONTENT_LENGTH,
    COOKIE,
    EXPECT,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    RANGE,
    TRAILER,
];

/// Headers of a request that are part of what is asked for.
const LASTING: [HeaderName; 4] =
    [ACCEPT, CONTENT_TYPE, USER_AGENT, HeaderName::from_static("x-vault-request")];

/// Whether an answer is JSON, and nothing else around it.
pub(super) fn json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    !headers.contains_key(CONTENT_ENCODING)
        && kind.is_some_and(|kind| kind.starts_with(b"application/json"))
}

/// What is sent again for a successor: nothing that this caller's headers say besides.
pub(super) fn impersonal(ask: &Ask) -> Ask {
    let mut headers = HeaderMap::new();
    for (name, value) in &ask.headers {
        if name == TOKEN || name == NAMESPACE || LASTING.contains(name) {
            headers.append(name, value.clone());
        }
    }
    Ask { headers, ..ask.clone() }
}

/// Without what is of that moment, or, like a load balancer's cookie, of that caller.
pub(super) fn lasting(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    end_to_end(&mut headers);
    for own in [CONTENT_LENGTH, DATE, NAMESPACE, SET_COOKIE] {
        headers.remove(own);
    }
    // Each value as it came is a view of the connection's whole read buffer, secret included.
    for value in headers.values_mut() {
        if let Ok(copy) = HeaderValue::from_bytes(value.as_bytes()) {
            *value = copy;
        }
    }
    headers
}
