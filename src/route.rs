//! What kind of request is this? A pure function of the request and the mounts known.

use crate::cache::effect::reads;
use crate::kv::mounts::{Engine, Mounts};
use crate::metrics::Route;
use crate::request::{Call, Read, ReadKind};

/// Routes a cacheable read, before its mount is known for certain.
pub fn of_read(read: &Read<'_>, mounts: &Mounts) -> Route {
    match (read.kind, mounts.find(&read.path, false)) {
        (ReadKind::Mount, _) | (ReadKind::Secret, Some((_, Engine::KvV1 | Engine::KvV2))) => {
            Route::KvRead
        }
        (ReadKind::Secret, _) => Route::Passthrough,
    }
}

/// Routes everything else.
pub fn of(call: &Call<'_>, namespace: &str, mounts: &Mounts) -> Route {
    let Some(path) = call.target.decoded().and_then(|path| String::from_utf8(path).ok()) else {
        return Route::Passthrough;
    };
    let method = call.method().as_str();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    // The namespace may be part of the path: what counts is where the system path begins.
    let start = segments.iter().position(|segment| matches!(*segment, "auth" | "sys"));
    match segments[start.unwrap_or(0)..] {
        ["auth", "token", "create" | "create-orphan" | "lookup-self", ..] => return Route::Login,
        // An auth mount's path may have several segments.
        ["auth", ref rest @ ..] if rest.iter().any(|it| matches!(*it, "callback" | "login")) => {
            return Route::Login;
        }
        ["sys", "leases" | "renew" | "revoke", ..] => return Route::LeaseOp,
        _ => (),
    }
    if matches!(method, "LIST" | "SCAN") || lists(call.target.query()) {
        return Route::List;
    }
    let absolute = call.namespace(namespace).map(|namespace| match namespace {
        "" => path.clone(),
        namespace => format!("{namespace}/{path}"),
    });
    let engine = absolute.and_then(|path| Some(mounts.find(&path, false)?.1));
    match (engine, reads(call.method())) {
        (Some(Engine::KvV1 | Engine::KvV2), true) => Route::KvRead,
        (Some(Engine::KvV1 | Engine::KvV2), false) => Route::KvWrite,
        _ if segments.iter().any(|segment| matches!(*segment, "creds" | "issue")) => Route::Lease,
        _ => Route::Passthrough,
    }
}

fn lists(query: Option<&[u8]>) -> bool {
    let mut pairs = query.unwrap_or_default().split(|byte| *byte == b'&');
    pairs.any(|pair| pair.starts_with(b"list=") || pair.starts_with(b"scan="))
}
