//! What a Vault client sends for one read of a KV secret, and how long each benchmark looks.

use std::time::Duration;

use criterion::Criterion;
use hyper::Request;
use hyper::http::request::Builder;

/// Of the length and form of a service token.
pub const TOKEN: &str =
    "hvs.CAESIJ2dMzZ0bXo0UlJ4eWJZVlhKcnNpN0hTcVhkY0ZQbEx4a2tWd2hXRkc5Gh4KHGh2cy5";

/// A KV v2 secret, two levels down.
pub const TARGET: &str = "/v1/secret/data/payments/db";

/// As Vault's and OpenBao's Go clients ask.
pub fn request(method: &str, target: &str) -> Builder {
    Request::builder()
        .method(method)
        .uri(target)
        .header("Host", "127.0.0.1:8100")
        .header("User-Agent", "Go-http-client/1.1")
        .header("X-Vault-Request", "true")
        .header("X-Vault-Token", TOKEN)
        .header("Accept-Encoding", "gzip")
}

/// A second for each is enough for differences of a tenth, and the four are done in a minute.
pub fn criterion() -> Criterion {
    let second = Duration::from_secs(1);
    Criterion::default().warm_up_time(second / 2).measurement_time(second).sample_size(50)
}
