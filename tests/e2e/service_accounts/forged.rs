//! Tokens that no API server has signed so: refused, at nobody's cost, and not repeated to anybody.

use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::{DB, LOGIN, Node, VALUE, presented, received};
use crate::client::{Answer, Call};
use crate::mint::{Key, claims, encode, unix};
use crate::world::reads;

/// How a token comes about: from the cluster, a token of it that is good, and claims that are.
type Forge = fn(&Forger<'_>) -> String;

struct Forger<'a> {
    node: &'a Node,
    good: &'a str,
    /// Somebody else's key, with the id of the cluster's.
    key: &'a Key,
}

impl Forger<'_> {
    fn claims(&self) -> Value {
        claims(&self.node.cluster.address(), Duration::from_hours(1))
    }

    /// Signed by the cluster, whatever it says.
    fn says(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims();
        change(&mut claims);
        self.node.cluster.sign(&claims)
    }

    /// The good token with another of its three parts.
    fn with(&self, part: usize, text: &str) -> String {
        let mut parts: Vec<&str> = self.good.split('.').collect();
        parts[part] = text;
        parts.join(".")
    }

    fn part(&self, part: usize) -> &str {
        self.good.split('.').nth(part).unwrap()
    }

    /// The good token with a header that names this algorithm, and this signature.
    fn algorithm(&self, name: &str, signature: &str) -> String {
        let header = encode(json!({"alg": name, "kid": "key-1"}).to_string());
        format!("{header}.{}.{signature}", self.part(1))
    }
}

/// Whether the token is meant for somebody else, as far as it says: a login with it on a mount that
/// vaultlet answers is left to the server, which refuses it.
const FOREIGN: [&str; 4] =
    ["another audience", "two audiences of others", "another issuer", "issuer with a slash"];

const FORGERIES: [(&str, Forge); 34] = [
    ("unsigned", |it| it.algorithm("none", "")),
    ("unsigned, in capitals", |it| it.algorithm("NONE", "")),
    ("signed with the public key", |it| {
        let header = encode(json!({"alg": "HS256", "kid": "key-1"}).to_string());
        let signed = format!("{header}.{}", it.part(1));
        let key = hmac::Key::new(hmac::HMAC_SHA256, it.key.jwk()["n"].to_string().as_bytes());
        format!("{signed}.{}", encode(hmac::sign(&key, signed.as_bytes())))
    }),
    ("of another algorithm", |it| it.algorithm("RS512", it.part(2))),
    ("of another family", |it| it.algorithm("ES256", it.part(2))),
    ("of an unknown algorithm", |it| it.algorithm("XX999", it.part(2))),
    ("another's key under the same id", |it| it.key.token(&it.claims())),
    ("another's key under an id nobody has", |it| Key::p256("nobody").token(&it.claims())),
    ("without a key id", |it| it.with(0, &encode(r#"{"alg":"RS256"}"#))),
    ("a path for a key id", |it| it.with(0, &encode(r#"{"alg":"RS256","kid":"../../key-1"}"#))),
    ("brings its own key", |it| {
        let header = json!({"alg": "RS256", "kid": "key-1", "jwk": it.key.jwk()});
        it.key.sign(&header.to_string(), &it.claims().to_string())
    }),
    ("names where its key is", |it| {
        let address = it.node.cluster.address();
        let header = json!({"alg": "RS256", "kid": "key-1", "jku": address});
        it.key.sign(&header.to_string(), &it.claims().to_string())
    }),
    ("asks for an extension", |it| {
        it.with(0, &encode(r#"{"alg":"RS256","kid":"key-1","crit":["b64"],"b64":false}"#))
    }),
    ("says two algorithms", |it| {
        it.with(0, &encode(r#"{"alg":"RS256","alg":"none","kid":"key-1"}"#))
    }),
    ("one bit of the signature", |it| {
        let first = if it.part(2).starts_with('A') { "B" } else { "A" };
        it.with(2, &format!("{first}{}", &it.part(2)[1..]))
    }),
    ("half a signature", |it| it.with(2, &it.part(2)[..100])),
    ("no signature", |it| it.with(2, "")),
    ("a signature with padding", |it| it.with(2, &format!("{}==", it.part(2)))),
    ("another's claims", |it| {
        let mut claims = it.claims();
        claims["sub"] = json!("system:serviceaccount:web:shop");
        it.with(1, &encode(claims.to_string()))
    }),
    ("two parts", |it| it.good.rsplit_once('.').unwrap().0.to_owned()),
    ("four parts", |it| format!("{}.{}", it.good, it.part(2))),
    ("expired", |it| {
        it.says(|claims| {
            claims["nbf"] = json!(unix() - 7200);
            claims["iat"] = json!(unix() - 7200);
            claims["exp"] = json!(unix() - 3600);
        })
    }),
    ("not valid yet", |it| it.says(|claims| claims["nbf"] = json!(unix() + 600))),
    ("without an end", |it| it.says(|claims| drop(claims.as_object_mut().unwrap().remove("exp")))),
    ("an end in letters", |it| it.says(|claims| claims["exp"] = json!("4102444800"))),
    ("another audience", |it| it.says(|claims| claims["aud"] = json!(["vault"]))),
    ("two audiences of others", |it| {
        it.says(|claims| claims["aud"] = json!(["vaultlet2", "Vaultlet"]))
    }),
    ("no audience", |it| it.says(|claims| drop(claims.as_object_mut().unwrap().remove("aud")))),
    ("another issuer", |it| it.says(|claims| claims["iss"] = json!("https://elsewhere.test"))),
    ("issuer with a slash", |it| {
        let issuer = it.node.cluster.address();
        it.says(|claims| claims["iss"] = json!(format!("{issuer}/")))
    }),
    ("a subject that is no service account", |it| {
        it.says(|claims| claims["sub"] = json!("system:node:node-1"))
    }),
    ("two subjects", |it| {
        it.says(|claims| claims["sub"] = json!("system:serviceaccount:web:shop"))
    }),
    ("a namespace that is a path", |it| {
        it.says(|claims| {
            claims["kubernetes.io"]["namespace"] = json!("payments/../web");
            claims["sub"] = json!("system:serviceaccount:payments/../web:api");
        })
    }),
    ("none of Kubernetes' claims", |it| {
        it.says(|claims| drop(claims.as_object_mut().unwrap().remove("kubernetes.io")))
    }),
];

#[tokio::test]
async fn nobody_is_taken_for_a_pod_and_the_server_hears_nothing_of_it() {
    let node = Node::new(json!({}), json!({"log": {"level": "debug"}})).await;
    let (good, key) = (node.jwt(1), Key::rsa("key-1"));
    reads(&node.pod(1).get(DB).await, VALUE);
    let forger = Forger { node: &node, good: &good, key: &key };
    let client = node.vaultlet.client();

    let mut seen = Vec::new();
    for (name, forge) in FORGERIES {
        let jwt = forge(&forger);
        let before = node.asked().len();
        for bearer in [true, false] {
            let answer = client.send(&presented(DB, &jwt, bearer)).await;
            refused(name, &jwt, &answer.expect_own_error(&[400, 403]));
        }
        let cubbyhole = presented("cubbyhole/x", &jwt, true).json(&json!({}));
        refused(name, &jwt, &client.send(&cubbyhole).await.expect_own_error(&[400, 403]));
        let write = Call::new("POST", DB).with("X-Vault-Token", &jwt);
        refused(name, &jwt, &client.send(&write).await.expect_own_error(&[400, 403]));
        assert_eq!(node.asked().len(), before, "{name}: asked of the server");

        let body = json!({"role": "payments-api", "jwt": jwt});
        let answer = client.post(LOGIN, body).await.expect_any(&[400, 403]);
        refused(name, &jwt, &answer);
        let passed = usize::from(FOREIGN.contains(&name));
        assert_eq!(node.asked().len() - before, passed, "{name}: logins passed on");
        seen.push((name, jwt));
    }
    let log = node.vaultlet.log();
    assert!(log.contains("request refused"), "there is a log at all");
    for (name, jwt) in seen {
        for part in jwt.split('.').skip(1).filter(|part| part.len() > 16) {
            assert!(!log.contains(part), "{name} is in the log");
        }
    }
    reads(&node.pod(1).get(DB).await, VALUE);
    reads(&node.pod(2).get(DB).await, VALUE);
}

/// Fails the test if an answer repeats any part of the token, or tells a secret.
#[track_caller]
fn refused(name: &str, jwt: &str, answer: &Answer) {
    let text = received(answer);
    assert!(!text.contains(VALUE), "{name}: {text}");
    for part in jwt.split('.').filter(|part| part.len() > 16) {
        assert!(!text.contains(part), "{name}: {text}");
    }
}

const BEARER: &str = "Authorization";

#[tokio::test]
async fn one_token_at_a_time_and_none_too_long() {
    let node = Node::new(json!({}), json!({})).await;
    let (jwt, client) = (node.jwt(1), node.vaultlet.client());
    let shop = node.cluster.token("web", "shop", "shop-1");
    // The server takes `X-Vault-Token` where there are both.
    let both = |first: &str, second: &str| presented(DB, first, false).with(BEARER, second);
    let bearer = |jwt: &str| format!("Bearer {jwt}");
    reads(&client.send(&both(&jwt, &bearer(&shop))).await, VALUE);
    client.send(&both(&shop, &bearer(&jwt))).await.expect(403);

    let before = node.asked().len();
    for call in [
        presented(DB, &jwt, false).with("X-Vault-Token", &node.jwt(2)),
        presented(DB, &jwt, true).with(BEARER, &bearer(&jwt)),
        presented(DB, &jwt, true).with(BEARER, "Basic cm9vdDpyb290"),
    ] {
        client.send(&call).await.expect_own_error(&[400]);
    }
    let long = node.cluster.sign(&{
        let mut claims = claims(&node.cluster.address(), Duration::from_hours(1));
        claims["padding"] = json!("x".repeat(12_000));
        claims
    });
    let dots = format!("{}{}", &jwt[..100], ".".repeat(20_000));
    for huge in [&long, &dots] {
        client.send(&presented(DB, huge, true)).await.expect_own_error(&[400, 403]);
        let body = json!({"role": "payments-api", "jwt": huge});
        client.post(LOGIN, body).await.expect_own_error(&[400, 403]);
    }
    assert_eq!(node.asked().len(), before);
}
