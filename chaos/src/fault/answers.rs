//! What do servers say that fail?

use super::Effect;
use crate::http1::Head;

/// What is sent instead of the upstream's answer, if it is anything, and whether the connection may
/// be used again.
pub(super) fn instead(effect: Effect, request: &Head) -> Option<(Vec<u8>, bool)> {
    let json = "application/json";
    match effect {
        Effect::Status(status) => {
            let words = match status {
                404 => "",
                429 => "\"request path \\\"\\\": rate limit quota exceeded\"",
                _ => "\"1 error occurred:\\n\\t* injected\\n\\n\"",
            };
            Some((answer(status, json, &format!("{{\"errors\":[{words}]}}\n")), true))
        }
        Effect::Sealed if request.target().starts_with("/v1/sys/health") => {
            let health =
                "{\"initialized\":true,\"sealed\":true,\"standby\":true,\"version\":\"2.7.2\"}\n";
            Some((answer(503, json, health), true))
        }
        Effect::Sealed => Some((answer(503, json, "{\"errors\":[\"Vault is sealed\"]}\n"), true)),
        Effect::Garbage => Some((garbage(), false)),
        Effect::Html => {
            let page = "<html><body><h1>It works!</h1></body></html>\n";
            Some((answer(200, "text/html", page), true))
        }
        _ => None,
    }
}

/// The head of an answer of so many bytes.
pub(super) fn download(bytes: u64) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n")
        .into_bytes()
}

fn answer(status: u16, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Injected\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// Without a line that could be taken for the first of an answer.
fn garbage() -> Vec<u8> {
    (0..512).map(|_| fastrand::u8(0x80..)).collect()
}
