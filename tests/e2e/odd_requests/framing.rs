//! Odd framing, methods, hop-by-hop headers and sizes (classes K4, K8 and K10).

use super::Odd;
use super::table::get;

const X: &str = "/v1/secret/data/team-a/x";
const START: &str = "GET /v1/secret/data/team-a/x HTTP/1.1\r\nHost: vault.test\r\n";
/// A whole request that would be answered with a secret, hidden in another one's body.
const HIDDEN: &str =
    "GET /v1/secret/data/team-a/x HTTP/1.1\r\nHost: vault.test\r\nX-Vault-Token: {A}\r\n\r\n";

pub fn odds() -> Vec<Odd> {
    let mut odds = Vec::new();
    smuggling(&mut odds);
    syntax(&mut odds);
    methods(&mut odds);
    hop_by_hop(&mut odds);
    sizes(&mut odds);
    odds
}

fn odd(name: &str, text: String, answers: usize) -> Odd {
    Odd { name: name.into(), text, answers }
}

/// K4: where one request ends and the next begins.
fn smuggling(odds: &mut Vec<Odd>) {
    let hidden = HIDDEN.len() - "{A}".len() + 26;
    let framings = [
        format!("Content-Length: 0\r\nContent-Length: {hidden}\r\n"),
        format!("Content-Length: {hidden}\r\nContent-Length: 0\r\n"),
        "Content-Length: 0, 0\r\n".into(),
        format!("Content-Length: 0, {hidden}\r\n"),
        "Content-Length: +0\r\n".into(),
        "Content-Length: -1\r\n".into(),
        "Content-Length: 0x0\r\n".into(),
        "Content-Length: 1e1\r\n".into(),
        "Content-Length: 99999999999999999999\r\n".into(),
        "Content-Length : 0\r\n".into(),
        "Content-Length:\r\n".into(),
        "Content-Length\r\n".into(),
        "Content_Length: 5\r\n".into(),
        format!("Content-Length: {hidden}\r\nTransfer-Encoding: chunked\r\n"),
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n".into(),
        "Transfer-Encoding: identity\r\n".into(),
        "Transfer-Encoding: gzip\r\n".into(),
        "Transfer-Encoding: xchunked\r\n".into(),
        "Transfer-Encoding: chunked, identity\r\n".into(),
        "Transfer-Encoding: identity, chunked\r\n".into(),
        "Transfer-Encoding: gzip, chunked\r\n".into(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".into(),
        "Transfer-Encoding: Chunked\r\nContent-Length: 3\r\n".into(),
        "Transfer-Encoding : chunked\r\n".into(),
        "Transfer-Encoding:\tchunked\r\nContent-Length: 4\r\n".into(),
        "Transfer-Encoding:\r\n chunked\r\n".into(),
        "X: y\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n".into(),
        "X: y\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n".into(),
    ];
    for framing in framings {
        for who in ["A", "B"] {
            let head = format!("{START}X-Vault-Token: {{{who}}}\r\n{framing}\r\n");
            odds.push(odd(
                &format!("K4 by {who}: {framing:?}"),
                format!("{head}0\r\n\r\n{HIDDEN}"),
                2,
            ));
        }
    }
    let chunks = [
        "0\r\n\r\n",
        "0;x=y\r\n\r\n",
        "00000\r\n\r\n",
        "0x0\r\n\r\n",
        "-1\r\n\r\n",
        "0\n\n",
        "1\r\na\r\n0\r\n\r\n",
        "1 \r\na\r\n0\r\n\r\n",
        "fffffffffffffffff\r\na\r\n0\r\n\r\n",
        "0\r\nX-Vault-Token: root\r\n\r\n",
        "g\r\n\r\n",
        "\r\n\r\n",
    ];
    for chunk in chunks {
        let head = format!("{START}X-Vault-Token: {{B}}\r\nTransfer-Encoding: chunked\r\n\r\n");
        odds.push(odd(&format!("K4: chunk {chunk:?}"), format!("{head}{chunk}{HIDDEN}"), 2));
    }
    let first = format!("{START}X-Vault-Token: {{B}}\r\n\r\n");
    odds.push(odd("K4: pipelined", format!("{first}{HIDDEN}"), 2));
    odds.push(odd(
        "K4: pipelined after a body",
        format!("{START}X-Vault-Token: {{B}}\r\nContent-Length: 2\r\n\r\n{{}}{HIDDEN}"),
        2,
    ));
}

/// K4: request lines and headers that parsers read differently.
fn syntax(odds: &mut Vec<Odd>) {
    let token = "X-Vault-Token: {A}\r\n";
    let lines = [
        format!("GET {X} HTTP/1.0\r\n{token}\r\n"),
        format!("GET {X} HTTP/1.1\r\n{token}\r\n"),
        format!("GET {X} HTTP/1.1\r\nHost: a\r\nHost: b\r\n{token}\r\n"),
        format!("GET {X} HTTP/1.1\r\nHost:\r\n{token}\r\n"),
        format!("GET {X} HTTP/1.1\r\nHost: a b\r\n{token}\r\n"),
        format!("GET {X} HTTP/1.1\r\nHost: a@b\r\n{token}\r\n"),
        format!("GET {X} HTTP/1.2\r\nHost: a\r\n{token}\r\n"),
        format!("GET {X} HTTP/2.0\r\nHost: a\r\n{token}\r\n"),
        format!("GET {X} HTTP/0.9\r\nHost: a\r\n{token}\r\n"),
        format!("GET {X} http/1.1\r\nHost: a\r\n{token}\r\n"),
        format!("GET {X} HTTP/1.1 \r\nHost: a\r\n{token}\r\n"),
        format!("GET  {X} HTTP/1.1\r\nHost: a\r\n{token}\r\n"),
        format!("GET\t{X}\tHTTP/1.1\r\nHost: a\r\n{token}\r\n"),
        format!(" GET {X} HTTP/1.1\r\nHost: a\r\n{token}\r\n"),
        format!("\r\nGET {X} HTTP/1.1\r\nHost: a\r\n{token}\r\n"),
        format!("\r\n\r\n\r\nGET {X} HTTP/1.1\r\nHost: a\r\n{token}\r\n"),
        format!("GET {X}\r\n\r\n"),
        format!("GET {X} HTTP/1.1\nHost: a\nX-Vault-Token: {{A}}\n\n"),
        format!("GET {X} x HTTP/1.1\r\nHost: a\r\n{token}\r\n"),
        format!("{START}{token}X-Folded: a\r\n b\r\n\r\n"),
        format!("{START}X-Vault-Token:\r\n {{A}}\r\n\r\n"),
        format!("{START}{token}X\u{0}: y\r\n\r\n"),
        format!("{START}{token}X: y\u{0}z\r\n\r\n"),
        format!("{START}{token}: y\r\n\r\n"),
        format!("{START}{token}X y: z\r\n\r\n"),
        format!("{START}{token}X(: z\r\n\r\n"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
        "\u{16}\u{3}\u{1}\u{2}hello, this is not TLS\r\n\r\n".into(),
        "{}\r\n\r\n".into(),
    ];
    for line in lines {
        odds.push(odd(&format!("K4: {:?}", line.chars().take(80).collect::<String>()), line, 1));
    }
}

/// K8: methods, and what stands for another method.
fn methods(odds: &mut Vec<Odd>) {
    const METHODS: [&str; 26] = [
        "get", "Get", "HEAD", "head", "OPTIONS", "TRACE", "CONNECT", "LIST", "list", "SCAN",
        "PATCH", "PUT", "POST", "DELETE", "PROPFIND", "PURGE", "COPY", "LINK", "QUERY", "FOO", "G",
        "GETX", "GET!", "G@T", "M-SEARCH", "REVOKE",
    ];
    for method in METHODS {
        for who in ["A", "B"] {
            // What A may write is `scratch`: the canaries stay as they are.
            let path = if ["PATCH", "PUT", "POST", "DELETE"].contains(&method) {
                "/v1/secret/data/scratch"
            } else {
                X
            };
            let text = format!(
                "{method} {path} HTTP/1.1\r\nHost: a\r\nX-Vault-Token: {{{who}}}\r\nContent-Length: 0\r\n\r\n"
            );
            odds.push(odd(&format!("K8 by {who}: {method}"), text, 1));
        }
    }
    for name in [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-Original-URL",
        "X-Rewrite-URL",
    ] {
        for value in ["DELETE", "/v1/secret/data/team-b/x"] {
            odds.push(get(
                &format!("K8: {name}: {value}"),
                X,
                &format!("X-Vault-Token: {{A}}\r\n{name}: {value}\r\n"),
            ));
        }
    }
}

/// K8: headers that are for one hop, or pretend to be.
fn hop_by_hop(odds: &mut Vec<Odd>) {
    const HEADERS: [&str; 26] = [
        "Connection: close\r\n",
        "Connection: keep-alive\r\n",
        "Connection: X-Vault-Token\r\n",
        "Connection: close, x-vault-token\r\n",
        "Connection: X-Vault-Namespace\r\nX-Vault-Namespace: ns1\r\n",
        "Connection: x-vault-namespace, close\r\nX-Vault-Namespace: ns1\r\n",
        "Connection: X-Vault-Namespace\r\nX-Vault-Namespace: ns2\r\n",
        "Connection: X-Vault-Wrap-TTL\r\nX-Vault-Wrap-TTL: 60\r\n",
        "Connection: X-Vault-Request\r\n",
        "Connection: Host\r\n",
        "Connection: Content-Length\r\n",
        "Connection: Transfer-Encoding\r\n",
        "Connection: Authorization\r\n",
        "Connection: \r\n",
        "Connection: ,,\r\n",
        "Proxy-Connection: X-Vault-Token\r\n",
        "Keep-Alive: timeout=0\r\n",
        "TE: trailers\r\n",
        "TE: gzip\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Upgrade: foo\r\nConnection: Upgrade\r\n",
        "Upgrade: websocket\r\n",
        "Trailer: X-Vault-Token\r\n",
        "Expect: 100-continue\r\n",
        "Expect: 200-ok\r\n",
        "Max-Forwards: 0\r\n",
    ];
    for headers in HEADERS {
        for who in ["A", "B"] {
            let text = format!("X-Vault-Token: {{{who}}}\r\n{headers}");
            odds.push(get(&format!("K8 by {who}: {headers:?}"), X, &text));
        }
    }
}

/// K10: too long, too many, too deep.
fn sizes(odds: &mut Vec<Odd>) {
    let token = "X-Vault-Token: {A}\r\n";
    for size in [1000, 8000, 17_000, 65_000, 200_000, 1_500_000] {
        let long = "a".repeat(size);
        // The server's time for a path grows with the square of its length: 5 s at 65,000.
        if !(10_000..1_000_000).contains(&size) {
            odds.push(get(&format!("K10: path of {size}"), &format!("{X}{long}"), token));
        }
        odds.push(get(
            &format!("K10: query of {size}"),
            &format!("{X}?version={}1", "0".repeat(size)),
            token,
        ));
        odds.push(get(&format!("K10: header of {size}"), X, &format!("{token}X-Long: {long}\r\n")));
        odds.push(get(&format!("K10: token of {size}"), X, &format!("X-Vault-Token: {long}\r\n")));
        odds.push(get(
            &format!("K10: namespace of {size}"),
            X,
            &format!("{token}X-Vault-Namespace: {long}\r\n"),
        ));
    }
    for count in [90, 200, 1000, 20_000] {
        let many = "X-Many: 1\r\n".repeat(count);
        odds.push(get(&format!("K10: {count} headers"), X, &format!("{token}{many}")));
        odds.push(get(
            &format!("K10: {count} headers before the token"),
            X,
            &format!("{many}{token}"),
        ));
        let segments = "/d".repeat(count.min(1000));
        odds.push(get(&format!("K10: {count} segments"), &format!("{X}{segments}"), token));
        let parameters = "&version=1".repeat(count);
        odds.push(get(&format!("K10: {count} parameters"), &format!("{X}?a=b{parameters}"), token));
    }
    let post = |body: &str| {
        let length = body.len();
        format!(
            "POST /v1/secret/data/scratch HTTP/1.1\r\nHost: a\r\n{token}Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let strings = vec!["\"s\""; 1500].join(",");
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let bodies = [
        format!("{{\"data\":{{\"value\":[{strings}]}}}}"),
        format!("{{\"data\":{{\"value\":{deep}}}}}"),
        "{\"data\":{}}{\"data\":{\"second\":1}}".into(),
        "{\"data\":{}} trailing".into(),
        "{\"data\":{\"a\":1},\"data\":{\"a\":2}}".into(),
        "[]".into(),
        "null".into(),
        "{".into(),
    ];
    for body in bodies {
        odds.push(odd(
            &format!("K10: body {:?}", body.chars().take(60).collect::<String>()),
            post(&body),
            1,
        ));
    }
}
