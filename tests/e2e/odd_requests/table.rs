//! Odd paths, namespaces, credentials and queries (classes K1, K2, K3 and K7 of the threat model).

use super::Odd;

const HOST: &str = "Host: vault.test\r\n";
const X: &str = "/v1/secret/data/team-a/x";

pub fn odds() -> Vec<Odd> {
    let mut odds = Vec::new();
    paths(&mut odds);
    namespaces(&mut odds);
    credentials(&mut odds);
    queries(&mut odds);
    odds
}

/// A GET with these header lines, each ending in CRLF.
pub fn get(name: &str, target: &str, headers: &str) -> Odd {
    let text = format!("GET {target} HTTP/1.1\r\n{HOST}{headers}\r\n");
    Odd { name: name.into(), text, answers: 1 }
}

/// The same request by the token that may read the target and by the one that may not.
fn by_both(odds: &mut Vec<Odd>, class: &str, target: &str, headers: &str) {
    for who in ["A", "B"] {
        let headers = format!("X-Vault-Token: {{{who}}}\r\n{headers}");
        odds.push(get(&format!("{class} by {who}: {target} {headers:?}"), target, &headers));
    }
}

/// K1: every way to spell a path, or something that looks like one.
fn paths(odds: &mut Vec<Odd>) {
    const TARGETS: [&str; 72] = [
        "/v1/secret%2Fdata/team-a/x",
        "/v1/secret%2fdata%2fteam-a%2fx",
        "/v1/secret/data/team-a%2Fx",
        "/v1/secret/data/team-a/%78",
        "/v1/secret/data/%74eam-a/x",
        "/v1/secret/data/team%2da/x",
        "/v1/secret/data/team%2Da/x",
        "/%761/secret/data/team-a/x",
        "/%76%31/secret/data/team-a/x",
        "/v1%2fsecret/data/team-a/x",
        "/v1/secret/data/team-a/%2578",
        "/v1/secret/data/team-a%252Fx",
        "/v1/secret/data//team-a/x",
        "/v1/secret//data/team-a/x",
        "/v1//secret/data/team-a/x",
        "//v1/secret/data/team-a/x",
        "/v1/secret/data/team-a//x",
        "/v1/secret/data/team-a/x/",
        "/v1/secret/data/team-a/x//",
        "/v1/secret/data/team-a%2F%2Fx",
        "/v1/secret/data%2F%2Fteam-a/x",
        "/v1/secret/data/team-a/x%2F",
        "/v1/secret/data/team-a/x%2f%2f",
        "/v1/secret/data/./team-a/x",
        "/v1/secret/data/team-a/./x",
        "/v1/secret/data/team-b/../team-a/x",
        "/v1/secret/data/team-a/../team-b/x",
        "/v1/secret/data/team-b/%2e%2e/team-a/x",
        "/v1/secret/data/team-b/%2E%2E/team-a/x",
        "/v1/secret/data/team-b/..%2fteam-a/x",
        "/v1/secret/data/team-b%2f..%2fteam-a%2fx",
        "/v1/secret/data/team-b/.%2e/team-a/x",
        "/v1/secret/data/team-a/%2e/x",
        "/v1/secret/data/team-a/x/.",
        "/v1/secret/data/team-a/x/..",
        "/v1/secret/data/team-a/x/%2e",
        "/v1/../v1/secret/data/team-a/x",
        "/ui/../v1/secret/data/team-a/x",
        "/v1/sys/health/../../secret/data/team-a/x",
        "/v1/secret/data/team-a/x;a=b",
        "/v1/secret/data/team-a;/x",
        "/v1/secret/data/..;/data/team-a/x",
        "/v1/secret/data/team-a/x#fragment",
        "/v1/secret/data/team-a/x%23",
        "/v1/secret/data/team-a/x%3Fversion=1",
        "/v1/secret/data/team-a/x+",
        "/v1/secret/data/team-a/+x",
        "/v1/secret/data/team-a/x%20",
        "/v1/secret/data/team-a/%20x",
        "/v1/secret/data/team-a/x%00",
        "/v1/secret/data/team-a/x%0a",
        "/v1/secret/data/team-a/x%0d%0aX-Vault-Token:root",
        "/v1/secret/data/team-a/x%7f",
        "/v1/secret/data/team-a/x%ff",
        "/v1/secret/data/team-a/%c3%28",
        "/v1/secret/data/team-a/%c0%afx",
        "/v1/secret/data/team-a/%",
        "/v1/secret/data/team-a/%7",
        "/v1/secret/data/team-a/%zz",
        "/v1/secret/data/team-a/%u0078",
        "/v1/secret/data/team-a\\x",
        "/v1\\secret\\data\\team-a\\x",
        "/v1/secret/data/TEAM-A/x",
        "/v1/Secret/data/team-a/x",
        "/V1/secret/data/team-a/x",
        "/v1/secret/data/team-a/\u{ff58}",
        "/v1/secret/data/team-a/x\u{301}",
        "http://vault.test/v1/secret/data/team-a/x",
        "http://elsewhere.test/v1/secret/data/team-a/x",
        "/v1/kv1//team-a/x",
        "/v1/kv1%2F%2Fteam-a/x",
        "/v1/kv1/team-a/x%2f..%2fx",
    ];
    for target in TARGETS {
        by_both(odds, "K1", target, "");
    }
    for target in ["*", "v1/secret/data/team-a/x", "", "/v1", "/v1/", "/", "vault.test:80", "?x"] {
        by_both(odds, "K1", target, "");
    }
}

/// K2: every way to name a namespace.
fn namespaces(odds: &mut Vec<Odd>) {
    const SPELLINGS: [&str; 30] = [
        "ns1",
        "ns1/",
        "/ns1",
        "/ns1/",
        "//ns1",
        "ns1//",
        "ns1/.",
        "./ns1",
        "ns1/..",
        "ns1/../ns1",
        "ns2/../ns1",
        "../ns1",
        "..",
        ".",
        "/",
        "//",
        "root",
        "root/",
        "/root",
        "ROOT",
        "NS1",
        "ns2",
        "ns1,ns2",
        "ns1 ",
        "ns%31",
        "ns1%2f",
        "ns1\\",
        "*",
        "ns1;",
        "\"ns1\"",
    ];
    for spelling in SPELLINGS {
        by_both(odds, "K2", X, &format!("X-Vault-Namespace: {spelling}\r\n"));
    }
    let doubles = [
        ("ns1", "root"),
        ("root", "ns1"),
        ("", "ns1"),
        ("ns1", ""),
        ("ns1", "ns1"),
        ("ns2", "ns1"),
    ];
    for (first, second) in doubles {
        let headers = format!("X-Vault-Namespace: {first}\r\nx-vault-namespace: {second}\r\n");
        by_both(odds, "K2", X, &headers);
    }
    let both = [
        "/v1/ns1/secret/data/team-a/x",
        "/v1/ns1//secret/data/team-a/x",
        "/v1/ns1%2Fsecret/data/team-a/x",
        "/v1/NS1/secret/data/team-a/x",
        "/v1/root/secret/data/team-a/x",
        "/v1/ns1/../secret/data/team-a/x",
    ];
    for target in both {
        for header in ["", "X-Vault-Namespace: ns1\r\n", "X-Vault-Namespace: root\r\n"] {
            by_both(odds, "K2", target, header);
        }
    }
}

/// K3: duplicate, conflicting, misspelt and misplaced credentials.
fn credentials(odds: &mut Vec<Odd>) {
    const HEADERS: [&str; 38] = [
        "",
        "X-Vault-Token:\r\n",
        "X-Vault-Token: \r\n",
        "X-Vault-Token: root \r\n",
        "X-Vault-Token:\troot\r\n",
        "X-Vault-Token : {A}\r\n",
        " X-Vault-Token: {A}\r\n",
        "X-Vault-Token\r\n",
        "X-Vault-Token: {A}\r\nX-Vault-Token: {B}\r\n",
        "X-Vault-Token: {B}\r\nX-Vault-Token: {A}\r\n",
        "X-Vault-Token: {A}\r\nX-Vault-Token: {A}\r\n",
        "X-Vault-Token:\r\nX-Vault-Token: {A}\r\n",
        "X-Vault-Token: {A}, {B}\r\n",
        "X-Vault-Token: {B},{A}\r\n",
        "X-Vault-Token: {A} {B}\r\n",
        "x-vault-token: {A}\r\n",
        "X-VAULT-TOKEN: {A}\r\n",
        "X_Vault_Token: {A}\r\n",
        "Authorization: Bearer {A}\r\n",
        "Authorization: bearer {A}\r\n",
        "Authorization: BEARER {A}\r\n",
        "Authorization: Bearer  {A}\r\n",
        "Authorization: Bearer\t{A}\r\n",
        "Authorization: Bearer{A}\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: {A}\r\n",
        "Authorization: Basic {A}\r\n",
        "Authorization: Token {A}\r\n",
        "Authorization: Basic eDp5\r\nAuthorization: Bearer {A}\r\n",
        "Authorization: Bearer {A}\r\nAuthorization: Bearer {B}\r\n",
        "Authorization: Bearer {B}\r\nAuthorization: Bearer {A}\r\n",
        "X-Vault-Token: {B}\r\nAuthorization: Bearer {A}\r\n",
        "X-Vault-Token: {A}\r\nAuthorization: Bearer {B}\r\n",
        "X-Vault-Token:\r\nAuthorization: Bearer {A}\r\n",
        "Cookie: X-Vault-Token={A}\r\n",
        "Proxy-Authorization: Bearer {A}\r\n",
        "X-Vault-Token: {A}\u{e9}\r\n",
        "X-Vault-Token: \"{A}\"\r\n",
    ];
    for headers in HEADERS {
        odds.push(get(&format!("K3: {headers:?}"), X, headers));
    }
    for target in
        ["/v1/secret/data/team-a/x?token={A}", "/v1/secret/data/team-a/x?X-Vault-Token={A}"]
    {
        odds.push(get(&format!("K3: {target}"), target, ""));
    }
    let inline = "X-Vault-Inline-Auth-Path: auth/userpass/login/u\r\n";
    odds.push(get("K3: inline login", X, inline));
    by_both(odds, "K3", X, inline);
    by_both(odds, "K3", X, "X-Forwarded-For: 127.0.0.1\r\n");
    by_both(odds, "K3", X, "X-Vault-Forward: active-node\r\n");
    by_both(odds, "K3", X, "X-Vault-Role: root\r\n");
}

/// K7: every way to write a query.
fn queries(odds: &mut Vec<Odd>) {
    const QUERIES: [&str; 62] = [
        "",
        "version",
        "version=",
        "version=1",
        "version=2",
        "version=0",
        "version=-1",
        "version=3",
        "version=01",
        "version=0x1",
        "version=0b1",
        "version=1_0",
        "version=1.0",
        "version=1e0",
        "version=+1",
        "version=%31",
        "version=1%20",
        "version=%201",
        "version=abc",
        "version=99999999999999999999",
        "version=1&version=1",
        "version=1&version=99",
        "version=2&version=1",
        "version=&version=1",
        "version[]=1",
        "version=1;version=2",
        "Version=1",
        "VERSION=1",
        "v%65rsion=1",
        "version=1#2",
        "version=1?",
        "version==1",
        "&version=1",
        "version=1&",
        "&&",
        "=",
        "help",
        "help=",
        "help=0",
        "help=1",
        "help=false",
        "Help=1",
        "h%65lp=1",
        "list",
        "list=",
        "list=1",
        "list=t",
        "list=T",
        "list=true",
        "list=TRUE",
        "list=True",
        "list=yes",
        "list=false",
        "list=true&list=false",
        "l%69st=true",
        "scan=true",
        "after=x&limit=1",
        "depth=1",
        "read_snapshot_id=1",
        "unknown=1",
        "%",
        "x=%zz",
    ];
    for query in QUERIES {
        by_both(odds, "K7", &format!("{X}?{query}"), "");
    }
    for query in ["version=1", "x=1", "ttl=1"] {
        by_both(odds, "K7", &format!("/v1/kv1/team-a/x?{query}"), "");
    }
}
