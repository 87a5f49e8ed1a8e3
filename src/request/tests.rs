use hyper::{HeaderMap, Method, Request};
use proptest::prelude::*;

use super::headers::{Directive, Namespace};
use super::*;

fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(target).header("host", "vault.test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// What a `GET` of `target` with a token is read as: path and version.
fn read(target: &str, headers: &[(&str, &str)]) -> Option<(String, Option<u32>)> {
    let head = head("GET", target, headers);
    let read = Call::parse(&head).ok()?.read("")?;
    Some((read.path.into_owned(), read.version))
}

#[test]
fn plain_reads_are_exact() {
    for (target, path, version) in [
        ("/v1/secret/data/app", "secret/data/app", None),
        ("/v1/secret/data/app?version=3", "secret/data/app", Some(3)),
        ("/v1/kv/a.b-c_d~e!$&'()*,=:@+f", "kv/a.b-c_d~e!$&'()*,=:@+f", None),
        ("/v1/sys/internal/ui/mounts/secret/app", "sys/internal/ui/mounts/secret/app", None),
    ] {
        assert_eq!(read(target, &[]), Some((path.to_owned(), version)), "{target}");
    }
}

/// Each of these means something else to some part of the server than it seems to (SEMANTICS 5.6).
#[test]
fn what_may_be_read_in_two_ways_is_not() {
    for target in [
        "/v1/secret//data/app",
        "/v1/secret/data/app/",
        "/v1/secret/data/./app",
        "/v1/secret/data/../app",
        "/v1/secret/data/%61pp",
        "/v1/secret%2Fdata/app",
        "/v1/secret/data/a%20b",
        "/v1/secret/data/a;p=1",
        "/v1/secret/data/app?",
        "/v1/secret/data/app?version=",
        "/v1/secret/data/app?version=0",
        "/v1/secret/data/app?version=01",
        "/v1/secret/data/app?version=0x1",
        "/v1/secret/data/app?version=-1",
        "/v1/secret/data/app?version=99999999999",
        "/v1/secret/data/app?version=1&version=2",
        "/v1/secret/data/app?Version=1",
        "/v1/secret/data/app?help=1",
        "/v1/secret/data?list=true",
        "/%761/secret/data/app",
        "//v1/secret/data/app",
        "/v1/secret",
        "/v1/auth/token/lookup-self",
        "/v1/identity/entity/id/x",
        "/v1/cubbyhole/x",
        "/v1/sys/mounts",
        "/v1/sys/internal/ui/mounts/",
        "/v1/sys/internal/ui/mounts/secret?version=1",
        "/ui/",
    ] {
        assert_eq!(read(target, &[]), None, "{target}");
    }
}

#[test]
fn only_a_get_without_a_body_reads() {
    for method in ["HEAD", "LIST", "POST", "get", "OPTIONS"] {
        let head = head(method, "/v1/secret/data/app", &[]);
        assert!(Call::parse(&head).unwrap().read("").is_none(), "{method}");
    }
    for with_body in [("content-length", "2"), ("transfer-encoding", "chunked")] {
        assert_eq!(read("/v1/secret/data/app", &[with_body]), None, "{with_body:?}");
    }
    assert!(read("/v1/secret/data/app", &[("content-length", "0")]).is_some());
}

#[test]
fn headers_that_change_the_answer_keep_a_read_from_the_cache() {
    for header in [
        "x-vault-wrap-ttl",
        "x-vault-wrap-format",
        "x-vault-mfa",
        "x-vault-policy-override",
        "x-vault-index",
        "x-vault-inconsistent",
        "x-vault-inline-auth-path",
        "x-vault-forward",
        "x-vault-anything-new",
        "upgrade",
    ] {
        assert_eq!(read("/v1/secret/data/app", &[(header, "1")]), None, "{header}");
    }
    assert_eq!(read("/v1/secret/data/app", &[("authorization", "Negotiate x")]), None);
    for harmless in [
        ("x-vault-request", "true"),
        ("x-vault-role", "app"),
        ("user-agent", "x"),
        ("traceparent", "00-1"),
    ] {
        assert!(read("/v1/secret/data/app", &[harmless]).is_some(), "{harmless:?}");
    }
}

#[test]
fn ambiguous_requests_are_refused() {
    let refused = |target: &str, headers: &[(&str, &str)]| {
        Call::parse(&head("GET", target, headers)).is_err()
    };

    for target in ["/v1/a/%2e%2e/b", "/v1/a/..%2Fb", "/v1/%2E/b", "/v1/a%2f.."] {
        assert!(refused(target, &[]), "{target}");
    }
    for headers in [
        [("x-vault-token", "a"), ("x-vault-token", "b")],
        [("x-vault-namespace", "a"), ("x-vault-namespace", "a")],
        [("x-vault-role", "a"), ("x-vault-role", "a")],
        [("x-vault-role", ""), ("x-vault-role", "a")],
        [("connection", "x-vault-role"), ("x-vault-role", "a")],
        [("x-vault-wrap-ttl", "1"), ("x-vault-wrap-ttl", "2")],
        [("authorization", "Bearer a"), ("authorization", "Bearer b")],
        [("connection", "close, X-Vault-Namespace"), ("x-vault-namespace", "a")],
        [("connection", "authorization"), ("accept", "*/*")],
        [("transfer-encoding", "gzip, chunked"), ("accept", "*/*")],
        [("expect", "200-ok"), ("accept", "*/*")],
        [("host", "a"), ("accept", "*/*")],
        [("x_vault_token", "a"), ("accept", "*/*")],
        [("x-vault_namespace", "a"), ("accept", "*/*")],
        [("x-vault_role", "a"), ("accept", "*/*")],
    ] {
        assert!(refused("/v1/secret/data/app", &headers), "{headers:?}");
    }
    assert!(!refused("/v1/a/../b", &[]), "the server redirects a plain one");
    assert!(!refused("/v1/secret/data/app", &[("my_header", "1")]));
}

#[test]
fn the_credential_is_the_one_the_server_takes() {
    for (headers, token) in [
        (vec![("x-vault-token", "a")], Some("a")),
        (vec![("x-vault-token", " a ")], Some("a")),
        (vec![("authorization", "Bearer b")], Some("b")),
        (vec![("authorization", "bearer b")], None),
        (vec![("x-vault-token", "a"), ("authorization", "Bearer b")], Some("a")),
        (vec![("x-vault-token", ""), ("authorization", "Bearer b")], Some("b")),
        (vec![], None),
    ] {
        let head = head("GET", "/v1/x/y", &headers);
        let call = Call::parse(&head).unwrap();
        assert_eq!(call.headers.token, token.map(str::as_bytes), "{headers:?}");
    }
}

#[test]
fn a_role_is_named_or_not() {
    for (value, role) in [("app", Some("app")), (" app ", Some("app")), (" ", None), ("", None)] {
        let head = head("GET", "/v1/x/y", &[("x-vault-role", value)]);
        let call = Call::parse(&head).unwrap();
        assert_eq!(call.headers.role, role.map(str::as_bytes), "{value:?}");
    }
    assert_eq!(Call::parse(&head("GET", "/v1/x/y", &[])).unwrap().headers.role, None);
}

#[test]
fn a_namespace_has_one_spelling_or_none() {
    for (header, expected) in [
        ("ns1", Some("ns1/kv/x")),
        ("ns1/", Some("ns1/kv/x")),
        ("a/b", Some("a/b/kv/x")),
        ("/ns1", None),
        ("ns1//", None),
        ("a//b", None),
        ("a/../b", None),
        (".", None),
        ("root", None),
        ("", None),
        ("n s", None),
    ] {
        let path = read("/v1/kv/x", &[("x-vault-namespace", header)]).map(|(path, _)| path);
        assert_eq!(path.as_deref(), expected, "{header:?}");
    }
    let head = head("GET", "/v1/kv/x", &[]);
    assert_eq!(Call::parse(&head).unwrap().read("team").unwrap().path, "team/kv/x");
}

#[test]
fn the_strictest_wish_counts() {
    for (headers, directive) in [
        (vec![], Directive::Any),
        (vec![("cache-control", "no-cache")], Directive::Fresh),
        (vec![("cache-control", "foo, No-Cache")], Directive::Fresh),
        (vec![("x-vault-cache-control", "cache")], Directive::Any),
        (vec![("x-vault-cache-control", "recache")], Directive::Fresh),
        (vec![("x-vault-cache-control", "nocache")], Directive::Bypass),
        (vec![("x-vault-cache-control", "what")], Directive::Bypass),
        (vec![("cache-control", "no-cache"), ("x-vault-cache-control", "cache")], Directive::Fresh),
    ] {
        let head = head("GET", "/v1/x/y", &headers);
        assert_eq!(Call::parse(&head).unwrap().headers.directive, directive, "{headers:?}");
    }
}

proptest! {
    /// Two exact targets with one meaning here are one target to the server, byte for byte.
    #[test]
    fn the_canonical_form_is_injective(one in target(), other in target()) {
        let parse = |target: &str| {
            Target::parse(target.as_bytes()).ok().and_then(|target| {
                target.exact().map(|(path, version)| (path.to_owned(), version))
            })
        };
        if let (Some(canonical), Some(second)) = (parse(&one), parse(&other)) {
            prop_assert_eq!(canonical == second, one == other);
        }
    }

    /// What is exact is what the server's router will see: decoding and cleaning change nothing.
    #[test]
    fn an_exact_path_is_its_own_decoding(bytes in target()) {
        if let Ok(target) = Target::parse(bytes.as_bytes())
            && let Some((path, _)) = target.exact()
        {
            prop_assert_eq!(target.decoded().unwrap(), path.as_bytes());
            let segments = path.split('/');
            prop_assert!(segments.clone().all(|segment| !matches!(segment, "" | "." | "..")));
        }
    }

    /// No bytes whatever make the parsers fail in another way than by refusing.
    #[test]
    fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
        if let Ok(target) = Target::parse(&bytes) {
            target.decoded();
        }
        if let Ok(value) = hyper::header::HeaderValue::from_bytes(&bytes) {
            let mut map = HeaderMap::new();
            map.insert(NAMESPACE, value.clone());
            map.insert(TOKEN, value.clone());
            map.insert("connection", value);
            if let Ok(headers) = Headers::parse(&map)
                && let Namespace::Exact(path) = headers.namespace
            {
                prop_assert!(path.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
            }
        }
    }

    /// A namespace in the header and one in the path are the same to the server, and here.
    #[test]
    fn header_and_path_namespaces_join_alike(namespace in "[a-z]{1,3}(/[a-z]{1,3})?", path in "[a-z]{1,3}/[a-z]{1,3}") {
        let in_header = read(&format!("/v1/{path}"), &[("x-vault-namespace", &namespace)]);
        let in_path = read(&format!("/v1/{namespace}/{path}"), &[]);
        // Unless either begins as a system path does, which elsewhere in a path it is not.
        if !namespace.starts_with("sys") && !path.starts_with("sys") {
            prop_assert_eq!(in_header, in_path);
        }
    }
}

/// Few segments from a short list collide often; long random strings never would.
fn target() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec![
        "a", "b", "", ".", "..", "%61", "%2F", "%2e%2e", "a%", "a;b", "A", "\u{e9}", "secret",
    ]);
    let path = prop::collection::vec(segment, 1..4).prop_map(|segments| segments.join("/"));
    let query = prop::sample::select(vec![
        "",
        "?",
        "?version=1",
        "?version=01",
        "?version=2",
        "?version=",
        "?help=1",
        "?version=1&a",
    ]);
    (path, query).prop_map(|(path, query)| format!("/v1/{path}{query}"))
}

#[test]
fn connect_and_old_bodies_are_refused() {
    let mut old = head("POST", "/v1/x/y", &[("content-length", "2")]);
    old.version = Version::HTTP_10;
    assert!(Call::parse(&old).is_err());
    let mut connect = head("GET", "/v1/x/y", &[]);
    connect.method = Method::CONNECT;
    assert!(Call::parse(&connect).is_err());
}
