//! Which headers of one caller's request are for all who share what comes?

use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE, TRAILER, USER_AGENT,
};

use crate::request::{NAMESPACE, TOKEN};
use crate::upstream::Ask;

/// What a request says of whoever makes it, and of how it wants its own answer.
pub(super) const PERSONAL: [HeaderName; 7] =
    [ACCEPT_ENCODING, COOKIE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE, TRAILER];

/// Headers of a request that are part of what is asked for.
const LASTING: [HeaderName; 4] =
    [ACCEPT, CONTENT_TYPE, USER_AGENT, HeaderName::from_static("x-vault-request")];

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
