//! What a request's headers say: who asks, in which namespace, and whether anything about the
//! answer depends on more than the path.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use crate::error::Error;

/// Carries a Vault token.
pub const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");

/// Carries a namespace; the server echoes it in the answer.
pub const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");

/// Chooses the role that a service account logs in with; for vaultlet, no server knows it.
pub const ROLE: HeaderName = HeaderName::from_static("x-vault-role");

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
    /// Whether they announce a body.
    pub(super) body: bool,
    framing: Framing,
}

/// What they say of the message itself.
#[derive(Clone, Copy, Debug, Default)]
struct Framing {
    hosts: u32,
    /// Why it is not one message to every server.
    problem: Option<&'static str>,
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
        let mut seen = Seen::default();
        let mut headers = Self {
            token: None,
            role: None,
            namespace: Namespace::Absent,
            directive: Directive::Any,
            plain: true,
            vault_request: false,
            body: false,
            framing: Framing::default(),
        };
        // Each header once, without looking any up: this is done for each request.
        for (name, value) in map {
            let bytes = value.as_bytes();
            match name.as_str() {
                "authorization" => {
                    seen.once(Seen::AUTHORIZATION)?;
                    match bytes.strip_prefix(b"Bearer ") {
                        Some(token) => bearer = Some(token.trim_ascii()),
                        None => other_authorization = true,
                    }
                }
                "cache-control" => headers.directive = headers.directive.max(cache_control(value)),
                "connection" => connection(value)?,
                "content-length" => headers.body |= bytes != b"0",
                "transfer-encoding" => {
                    headers.body = true;
                    headers.framing.coding(bytes);
                }
                "expect" => headers.framing.expectation(bytes),
                "host" => headers.framing.host(bytes),
                "upgrade" => headers.plain = false,
                "x-vault-token" => {
                    seen.once(Seen::TOKEN)?;
                    token = Some(bytes.trim_ascii());
                }
                "x-vault-namespace" => {
                    seen.once(Seen::NAMESPACE)?;
                    headers.namespace = match bytes.trim_ascii() {
                        b"" => Namespace::Opaque,
                        _ => Namespace::parse(value),
                    };
                }
                "x-vault-role" => {
                    seen.once(Seen::ROLE)?;
                    headers.role = Some(bytes.trim_ascii()).filter(|role| !role.is_empty());
                }
                "x-vault-request" => {
                    seen.once(Seen::REQUEST)?;
                    headers.vault_request = bytes == b"true";
                }
                "x-vault-cache-control" => {
                    headers.directive = headers.directive.max(vault_cache_control(value));
                }
                "x-vault-wrap-ttl" => {
                    seen.once(Seen::WRAP_TTL)?;
                    headers.plain = false;
                }
                name if name.starts_with("x-vault-") => headers.plain = false,
                name if disguised(name) => {
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

    /// Refuses what makes one message two, or one server another: as Go's `net/http` does, which
    /// stands behind Vault, or more strictly.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub(super) fn frame(&self, needs_host: bool) -> Result<(), Error> {
        let problem = match self.framing {
            Framing { problem: Some(problem), .. } => problem,
            Framing { hosts: 1, .. } => return Ok(()),
            Framing { hosts: 0, .. } if !needs_host => return Ok(()),
            Framing { .. } => HOST,
        };
        Err(Error::Malformed(problem))
    }
}

/// Which headers have been seen of those that must not come twice: servers take the first, proxies
/// the last.
#[derive(Default)]
struct Seen(u8);

impl Seen {
    const AUTHORIZATION: u8 = 1;
    const TOKEN: u8 = 2;
    const NAMESPACE: u8 = 4;
    const ROLE: u8 = 8;
    const REQUEST: u8 = 16;
    const WRAP_TTL: u8 = 32;

    fn once(&mut self, header: u8) -> Result<(), Error> {
        if self.0 & header != 0 {
            return Err(Error::Malformed("a header that may come once comes twice"));
        }
        self.0 |= header;
        Ok(())
    }
}

const HOST: &str = "there must be one `Host`, and it a host";

impl Framing {
    fn host(&mut self, value: &[u8]) {
        self.hosts += 1;
        if !value.iter().all(|byte| in_host(*byte)) {
            self.problem = Some(HOST);
        }
    }

    fn coding(&mut self, value: &[u8]) {
        if !value.eq_ignore_ascii_case(b"chunked") {
            self.problem = Some("a transfer coding other than `chunked`");
        }
    }

    fn expectation(&mut self, value: &[u8]) {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            self.problem = Some("an expectation other than `100-continue`");
        }
    }
}

/// Whether a byte may stand in a `Host` header (Go `httpguts.ValidHostHeader`).
fn in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'$'..=b'.' | b':' | b';' | b'=' | b'[' | b']' | b'_' | b'~')
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
    name.starts_with('x') && name.contains('_') && name.replace('_', "-").starts_with("x-vault-")
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
