//! Where the process listens: the callers' sockets, the operators', and that none is in the way of
//! another or of the upstream.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::address;
use super::reader::{Field, Section};
use super::sections;
use super::{Admin, Bind, Limits, Listener, Tls};

const DEFAULT_LISTENER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8100);
pub(super) const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8101);
const DEFAULT_MODE: u32 = 0o660;

/// How another process takes over.
#[derive(Clone, Debug, PartialEq)]
pub struct Upgrade {
    /// The private socket on which a process with the same configuration asks this one for its
    /// listeners and what it knows; `None`: it cannot.
    pub socket: Option<PathBuf>,
}

/// The listeners, at least one, and the operators' one.
pub(super) fn sockets(root: &Section<'_>) -> (Vec<Listener>, Admin) {
    let list = root.field("listeners");
    let admin = root.field("admin");
    let operators = admin.section(sections::admin);

    let mut listeners: Vec<Listener> = Vec::new();
    for field in list.some_list() {
        let Some(listener) = field.section(listener) else { continue };
        if listeners.iter().any(|earlier| collide(&earlier.bind, &listener.bind)) {
            field.complain("an earlier listener has this socket", "give each its own");
        }
        listeners.push(listener);
    }
    if !list.given() {
        listeners.extend(list.section(listener));
    }
    let taken = Bind::Tcp(operators.address);
    if listeners.iter().any(|listener| collide(&listener.bind, &taken)) {
        admin.complain("its address is a listener's too", "give each its own port");
    }
    (listeners, operators)
}

/// The TCP addresses among them.
pub(super) fn addresses(listeners: &[Listener], admin: &Admin) -> Vec<SocketAddr> {
    let tcp = listeners.iter().filter_map(|listener| match listener.bind {
        Bind::Tcp(socket) => Some(socket),
        Bind::Unix { .. } => None,
    });
    tcp.chain([admin.address]).collect()
}

fn listener(listener: &Section<'_>) -> Option<Listener> {
    let tls = listener.field("tls");
    let http2 = listener.field("http2");
    let plaintext = listener.field("plaintext");
    let bind = bind(listener, &tls, plaintext.flag().unwrap_or(false));
    if http2.flag() == Some(true) && !tls.given() {
        http2.complain("needs `tls`: HTTP/2 is agreed on in the TLS handshake", "add `tls`");
    }
    let tls = tls.given().then(|| tls.section(certificates)).flatten();
    let require_request_header = listener.field("require_request_header").flag().unwrap_or(false);
    let limits = listener.field("limits").section(limits);
    let http2 = http2.flag().unwrap_or(false);
    let reuse_port = listener.field("reuse_port");
    if reuse_port.flag() == Some(true) && listener.field("unix").given() {
        reuse_port
            .complain("only a TCP address can be shared", "remove it, or use `upgrade.socket`");
    }
    let reuse_port = reuse_port.flag().unwrap_or(false);
    Some(Listener { bind: bind?, tls, require_request_header, http2, reuse_port, limits })
}

fn bind(listener: &Section<'_>, tls: &Field<'_>, plaintext: bool) -> Option<Bind> {
    let address = listener.field("address");
    let unix = listener.field("unix");
    let mode = listener.field("mode");
    let bits = mode.mode();
    if unix.given() {
        if address.given() {
            unix.complain("given beside `address`", "make two listeners of it");
        }
        if tls.given() {
            tls.complain("a unix socket has no TLS", "remove it: `mode` says who may connect");
        }
        return Some(Bind::Unix { path: unix.path()?, mode: bits.unwrap_or(DEFAULT_MODE) });
    }
    if mode.given() {
        mode.complain("only a unix socket has a mode", "remove it, or give `unix` a path");
    }
    let socket = if address.given() { address::socket(&address)? } else { DEFAULT_LISTENER };
    if !socket.ip().to_canonical().is_loopback() && !tls.given() && !plaintext {
        let hint = "add `tls`, or `plaintext: true` where something else encrypts";
        address.complain("secrets would cross the network unencrypted", hint);
    }
    Some(Bind::Tcp(socket))
}

fn certificates(tls: &Section<'_>) -> Option<Tls> {
    let file = |name: &'static str| -> Option<PathBuf> {
        let field = tls.field(name);
        if !field.given() {
            tls.complain(format!("`{name}` is missing"), "TLS needs cert_file and key_file");
        }
        field.readable_file()
    };
    let (cert_file, key_file) = (file("cert_file"), file("key_file"));
    let client_ca_file = tls.field("client_ca_file").readable_file();
    Some(Tls { cert_file: cert_file?, key_file: key_file?, client_ca_file })
}

fn limits(limits: &Section<'_>) -> Limits {
    let some = Duration::from_millis(1);
    let connections = limits.field("max_connections").number(1..=1_000_000);
    // Below 8 KiB hyper refuses to start; above 1 MiB no server behind us reads on.
    let head = limits.field("max_header_bytes").size((8 << 10)..=(1 << 20));
    let body = limits.field("max_body_bytes").size(1..=(1 << 40));
    let time = |name: &'static str, seconds| {
        limits.field(name).duration(some).unwrap_or(Duration::from_secs(seconds))
    };
    Limits {
        max_connections: connections.unwrap_or(10_000) as usize,
        idle_timeout: time("idle_timeout", 60),
        header_timeout: time("header_timeout", 10),
        max_header_bytes: head.and_then(|size| size.try_into().ok()).unwrap_or(64 << 10),
        max_body_bytes: body.unwrap_or(32 << 20),
        stall_timeout: time("stall_timeout", 30),
    }
}

/// Whether two sockets cannot both be opened. Port 0 takes a free one, as often as one likes.
fn collide(left: &Bind, right: &Bind) -> bool {
    match (left, right) {
        (Bind::Tcp(left), Bind::Tcp(right)) => {
            let (one, other) = (left.ip(), right.ip());
            let whole = one.is_unspecified() || other.is_unspecified();
            left.port() == right.port() && left.port() != 0 && (whole || one == other)
        }
        (Bind::Unix { path: left, .. }, Bind::Unix { path: right, .. }) => left == right,
        _ => false,
    }
}
