//! What a request's headers say: who asks, in which namespace, and whether anything about the
//! answer depends on more than the path.

use hyper::HeaderMap;
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, EXPECT, HOST, HeaderName, HeaderValue,
    TRANSFER_ENCODING, UPGRADE,
};

use crate::error::Error;

/// Carries a Vault token.
pub const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");

/// Carries a namespace; the server echoes it in the answer.
pub const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");

/// Chooses the role that a service account logs in with; for vaultlet, no server knows it.
pub const ROLE: HeaderName = HeaderName::from_static("x-vault-role");

const CACHE_DIRECTIVE: HeaderName = HeaderName::from_static("x-vault-cache-control");
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const WRAP_TTL: HeaderName = HeaderName::from_static("x-vault-wrap-ttl");

/// The meaning of a request's headers.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'r> {
    /// The Vault token, where one is presented.
    pub token: Option<&'r [u8]>,
    /// The role asked for, where one is: without space around it, not empty.
    pub role: Option<&'r [u8]>,
    /// The namespace asked for.
    pub namespace: Namespace<'r>,
    /// What the caller wants of the cache.
    pub directive: Directive,
    /// Whether no other header can change the answer to a read.
    pub plain: bool,
    /// Whether `X-Vault-Request: true` is there, which a web page cannot make a browser send.
    pub vault_request: bool,
}

/// A namespace header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Namespace<'r> {
    /// None: the root namespace, or the configured one.
    Absent,
    /// A path that has one spelling, without slashes at its ends.
    Exact(&'r str),
    /// Anything else: the server cleans it in ways of its own.
    Opaque,
}

impl<'r> Namespace<'r> {
    fn parse(value: &'r HeaderValue) -> Self {
        let Ok(path) = value.to_str() else { return Self::Opaque };
        // The spelling `ns1/` is as common as `ns1`, and the server takes both for the same.
        let path = path.strip_suffix('/').unwrap_or(path);
        // `root` is the root namespace by another name; a dot may be a step up.
        let exact = path.split('/').all(|segment| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !segment.is_empty() && segment != "root" && segment.bytes().all(plain)
        });
        if exact { Self::Exact(path) } else { Self::Opaque }
    }
}

/// What the caller wants of the cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Directive {
    /// An answer; a cached one will do.
    Any,
    /// The upstream's answer, which may be kept: `Cache-Control: no-cache`, or
    /// `X-Vault-Cache-Control: recache`.
    Fresh,
    /// The upstream's answer, and the cache has no part in it: `X-Vault-Cache-Control: nocache`.
    Bypass,
}

impl<'r> Headers<'r> {
    /// Reads a request's headers.
    ///
    /// # Errors
    /// [`Error::Malformed`] when a header that decides something comes twice, is spelt so that
    /// another program could take it for one, or is named by `Connection` as one to remove.
    pub fn parse(map: &'r HeaderMap) -> Result<Self, Error> {
        let (mut token, mut bearer, mut other_authorization) = (None, None, false);
        let mut headers = Self {
            token: None,
            role: None,
            namespace: Namespace::Absent,
            directive: Directive::Any,
            plain: true,
            vault_request: false,
        };
        for (name, value) in map {
            match name {
                &AUTHORIZATION => {
                    if once(map, name)?.as_bytes().starts_with(b"Bearer ") {
                        bearer = Some(value.as_bytes()[b"Bearer ".len()..].trim_ascii());
                    } else {
                        other_authorization = true;
                    }
                }
                &CACHE_CONTROL => headers.directive = headers.directive.max(cache_control(value)),
                &CONNECTION => connection(value)?,
                &UPGRADE => headers.plain = false,
                name if name == TOKEN => token = Some(once(map, name)?.as_bytes().trim_ascii()),
                name if name == NAMESPACE => {
                    headers.namespace = match once(map, name)?.as_bytes().trim_ascii() {
                        b"" => Namespace::Opaque,
                        _ => Namespace::parse(value),
                    };
                }
                name if name == ROLE => {
                    let role = once(map, name)?.as_bytes().trim_ascii();
                    headers.role = Some(role).filter(|role| !role.is_empty());
                }
                name if name == REQUEST => {
                    headers.vault_request = once(map, name)?.as_bytes() == b"true";
                }
                name if name == CACHE_DIRECTIVE => {
                    headers.directive = headers.directive.max(vault_cache_control(value));
                }
                name if name == WRAP_TTL => {
                    once(map, name)?;
                    headers.plain = false;
                }
                name if name.as_str().starts_with("x-vault-") => headers.plain = false,
                name if disguised(name.as_str()) => {
                    return Err(Error::Malformed("a header name has `_` where Vault's has `-`"));
                }
                _ => (),
            }
        }
        // As the server does: an empty token header falls through to Authorization.
        headers.token = token.filter(|token| !token.is_empty()).or(bearer);
        if other_authorization || headers.token.is_some_and(<[u8]>::is_empty) {
            headers.plain = false;
        }
        Ok(headers)
    }
}

/// Refuses what makes one message two, or one server another: as Go's `net/http` does, which
/// stands behind Vault, or more strictly.
pub(super) fn frame(map: &HeaderMap, needs_host: bool) -> Result<(), Error> {
    let mut hosts = map.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if host.as_bytes().iter().all(|byte| in_host(*byte)) => (),
        (None, _) if !needs_host => (),
        _ => return Err(Error::Malformed("there must be one `Host`, and it a host")),
    }
    for coding in map.get_all(TRANSFER_ENCODING) {
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Error::Malformed("a transfer coding other than `chunked`"));
        }
    }
    for expectation in map.get_all(EXPECT) {
        if !expectation.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            return Err(Error::Malformed("an expectation other than `100-continue`"));
        }
    }
    Ok(())
}

/// Whether a byte may stand in a `Host` header (Go `httpguts.ValidHostHeader`).
fn in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=[]_~".contains(&byte)
}

/// The only value of a header that must not come twice: servers take the first, proxies the last.
fn once<'r>(map: &'r HeaderMap, name: &HeaderName) -> Result<&'r HeaderValue, Error> {
    let mut values = map.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(Error::Malformed("a header that may come once comes twice")),
    }
}

/// Refuses `Connection: X-Vault-Namespace`: whoever honours it acts in another namespace than
/// whoever does not (CVE-2022-31813).
fn connection(value: &HeaderValue) -> Result<(), Error> {
    let deciding = value.as_bytes().split(|byte| *byte == b',').any(|option| {
        let option = option.trim_ascii().to_ascii_lowercase();
        option.starts_with(b"x-vault-")
            || matches!(option.as_slice(), b"authorization" | b"content-length" | b"host")
    });
    if deciding {
        return Err(Error::Malformed("`Connection` names a header that decides the answer"));
    }
    Ok(())
}

/// Whether another program could read `name` as one of the deciding headers.
fn disguised(name: &str) -> bool {
    name.contains('_') && name.replace('_', "-").starts_with("x-vault-")
}

fn cache_control(value: &HeaderValue) -> Directive {
    let mut directives = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let fresh = directives.any(|directive| {
        directive.eq_ignore_ascii_case(b"no-cache") || directive.eq_ignore_ascii_case(b"max-age=0")
    });
    if fresh { Directive::Fresh } else { Directive::Any }
}

/// The header of HashiCorp's Lambda extension. A value it does not know is the caller's wish for
/// something we do not understand: not cached.
fn vault_cache_control(value: &HeaderValue) -> Directive {
    match value.as_bytes() {
        b"cache" => Directive::Any,
        b"recache" => Directive::Fresh,
        _ => Directive::Bypass,
    }
}

impl Directive {
    fn max(self, other: Self) -> Self {
        match (self, other) {
            (Self::Bypass, _) | (_, Self::Bypass) => Self::Bypass,
            (Self::Fresh, _) | (_, Self::Fresh) => Self::Fresh,
            (Self::Any, Self::Any) => Self::Any,
        }
    }
}
