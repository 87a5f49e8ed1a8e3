//! Addresses and names: what an upstream, a socket, a namespace and a server name may look like.
//!
//! No message repeats an upstream's address: someone may have written a password into it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;
use rustls::pki_types::ServerName;

use super::reader::Field;

const DEFAULT_UPSTREAM: &str = "https://127.0.0.1:8200";

/// What an address is of, for the ways out that a message offers.
struct Kind {
    example: &'static str,
    /// Where a credential belongs instead.
    credential: &'static str,
    /// Why it ends after the host and port; `None`: it need not.
    bare: Option<&'static str>,
}

const UPSTREAM: Kind = Kind {
    example: "write https://vault.internal:8200",
    credential: "remove everything up to the @: callers bring their own credentials",
    bare: Some("end it after the host and port; a namespace has its own key"),
};

const API_SERVER: Kind = Kind {
    example: "write https://kubernetes.default.svc",
    credential: TOKEN_FILE,
    bare: Some("end it after the host and port; the rest is the same everywhere"),
};

const KEYS: Kind = Kind {
    example: "write https://kubernetes.default.svc/openid/v1/jwks",
    credential: TOKEN_FILE,
    bare: None,
};

const ISSUER: Kind = Kind {
    example: "its keys are looked for there: correct it, or say in `jwks` where they are",
    credential: TOKEN_FILE,
    bare: None,
};

const TOKEN_FILE: &str = "remove everything up to the @: a credential goes into a `token_file`";

/// The upstream's addresses, from whichever of the two keys is given; none of them is of `own`.
pub(super) fn upstreams(one: &Field<'_>, several: &Field<'_>, own: &[SocketAddr]) -> Vec<Uri> {
    if one.given() && several.given() {
        several.complain("given beside `address`", "move its value to the list and remove it");
    }
    let mut fields = several.some_list();
    if one.given() {
        fields.push(one.clone());
    }
    let mut addresses = Vec::new();
    for field in fields {
        let Some(address) = upstream(&field) else { continue };
        if addresses.contains(&address) {
            field.complain("this address is in the list already", "remove one of the two");
        }
        refuse_loop(&field, &address, own);
        addresses.push(address);
    }
    if !one.given() && !several.given() {
        let address = Uri::from_static(DEFAULT_UPSTREAM);
        refuse_loop(one, &address, own);
        addresses.push(address);
    }
    addresses
}

/// With one of our own sockets as the upstream we would ask ourselves, without end.
fn refuse_loop(field: &Field<'_>, address: &Uri, own: &[SocketAddr]) {
    if own.iter().any(|socket| leads_to(address, *socket)) {
        let hint = "give the address of Vault itself; it is the workloads whose VAULT_ADDR is here";
        field.complain("this is one of vaultlet's own sockets", hint);
    }
}

/// Whether `address` surely is `socket`; names are not looked up.
fn leads_to(address: &Uri, socket: SocketAddr) -> bool {
    let usual = if address.scheme_str() == Some("http") { 80 } else { 443 };
    let local = |ip: IpAddr| ip.is_loopback() && socket.ip().is_unspecified();
    address.port_u16().unwrap_or(usual) == socket.port()
        && ip(address).is_some_and(|ip| ip == socket.ip() || local(ip))
}

/// Where an address surely leads; `None`: only a look-up of its name could tell.
fn ip(address: &Uri) -> Option<IpAddr> {
    let host = address.host().unwrap_or_default().trim_matches(['[', ']']);
    if host == "localhost" { Some(Ipv4Addr::LOCALHOST.into()) } else { host.parse().ok() }
}

fn upstream(field: &Field<'_>) -> Option<Uri> {
    address(field, &UPSTREAM)
}

/// The address of a Kubernetes API server.
pub(super) fn api_server(field: &Field<'_>) -> Option<Uri> {
    encrypted(field, &API_SERVER)
}

/// The address of a JSON Web Key Set.
pub(super) fn keys(field: &Field<'_>) -> Option<Uri> {
    encrypted(field, &KEYS)
}

/// An issuer that says itself where its keys are.
pub(super) fn issuer(field: &Field<'_>) -> Option<Uri> {
    let address = encrypted(field, &ISSUER)?;
    if address.query().is_some() {
        field.complain("has a query, and where its keys are is a path below it", ISSUER.example);
        return None;
    }
    Some(address)
}

/// An address whose answers decide who somebody is: plain HTTP to this machine only.
fn encrypted(field: &Field<'_>, kind: &Kind) -> Option<Uri> {
    let address = address(field, kind)?;
    let encrypted = address.scheme_str() == Some("https");
    if !encrypted && !ip(&address).is_some_and(|ip| ip.to_canonical().is_loopback()) {
        let what = "anybody on the way could say who is who";
        field.complain(what, "write https://; http:// is for 127.0.0.1, [::1] and localhost");
        return None;
    }
    Some(address)
}

fn address(field: &Field<'_>, kind: &Kind) -> Option<Uri> {
    let text = field.text()?;
    // Paths and queries never hold `//`, so the authority is what stands between it and the next `/`.
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let path = &rest[authority.len()..];
    let problem = if !matches!(scheme, "http" | "https") {
        ("expected an address with http:// or https://", kind.example)
    } else if authority.contains('@') {
        ("has a user name or password", kind.credential)
    } else if let (Some(why), false) = (kind.bare, matches!(path, "" | "/")) {
        ("has a path or query", why)
    } else if !path.is_empty() && (path.contains('#') || path.parse::<PathAndQuery>().is_err()) {
        ("has a path that no server has", "end it before the `#`, and write a space as %20")
    } else if let Some(address) = parse(scheme, authority, path) {
        return Some(address);
    } else {
        ("expected a host and a port from 1 to 65535", kind.example)
    };
    field.complain(problem.0, problem.1);
    None
}

fn parse(scheme: &str, authority: &str, path: &str) -> Option<Uri> {
    let path = if path.is_empty() { "/" } else { path };
    let address = Uri::builder().scheme(scheme).authority(authority).path_and_query(path);
    let address = address.build().ok()?;
    let host = address.host().filter(|host| !host.is_empty())?;
    let port = authority.strip_prefix(host)?;
    let right = port.is_empty() || port[1..].parse::<u16>().is_ok_and(|port| port > 0);
    right.then_some(address)
}

/// An IP address and a port, of a socket to listen on.
pub(super) fn socket(field: &Field<'_>) -> Option<SocketAddr> {
    let text = field.text()?;
    let socket = text.parse().ok();
    if socket.is_none() {
        let hint = "write 127.0.0.1:8100 or [::1]:8100; 0.0.0.0 listens on every interface";
        field.unexpected("an IP address and a port", hint);
    }
    socket
}

/// A value of `X-Vault-Namespace`.
pub(super) fn namespace(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let segments = text.split('/').any(|segment| segment == "." || segment == "..");
    if segments || HeaderValue::from_str(text).is_err() || !text.is_ascii() {
        field.complain("expected a namespace's path", "write it as `vault namespace list` does");
        return None;
    }
    Some(text.to_owned())
}

/// A name that a certificate may carry.
pub(super) fn server_name(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if ServerName::try_from(text).is_err() {
        field.unexpected("a DNS name or an IP address", "write vault.internal, without a port");
        return None;
    }
    Some(text.to_owned())
}
