//! Addresses and names: what an upstream, a socket, a namespace and a server name may look like.
//!
//! No message repeats an upstream's address: someone may have written a password into it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::Uri;
use hyper::header::HeaderValue;
use rustls::pki_types::ServerName;

use super::reader::Field;

const DEFAULT_UPSTREAM: &str = "https://127.0.0.1:8200";

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
    let host = address.host().unwrap_or_default().trim_matches(['[', ']']);
    let ip = if host == "localhost" { Some(Ipv4Addr::LOCALHOST.into()) } else { host.parse().ok() };
    let local = |ip: IpAddr| ip.is_loopback() && socket.ip().is_unspecified();
    address.port_u16().unwrap_or(usual) == socket.port()
        && ip.is_some_and(|ip| ip == socket.ip() || local(ip))
}

fn upstream(field: &Field<'_>) -> Option<Uri> {
    let text = field.text()?;
    // Paths and queries never hold `//`, so the authority is what stands between it and the next `/`.
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let problem = if !matches!(scheme, "http" | "https") {
        ("expected an address with http:// or https://", "write https://vault.internal:8200")
    } else if authority.contains('@') {
        let hint = "remove everything up to the @: callers bring their own credentials";
        ("has a user name or password", hint)
    } else if !matches!(&rest[authority.len()..], "" | "/") {
        let hint = "end it after the host and port; a namespace has its own key";
        ("has a path or query", hint)
    } else if let Some(address) = parse(scheme, authority) {
        return Some(address);
    } else {
        ("expected a host and a port from 1 to 65535", "write https://vault.internal:8200")
    };
    field.complain(problem.0, problem.1);
    None
}

fn parse(scheme: &str, authority: &str) -> Option<Uri> {
    let address = Uri::builder().scheme(scheme).authority(authority).path_and_query("/");
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
