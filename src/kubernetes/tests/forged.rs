//! Tokens that no cluster of ours has made, or not for us, or not for now.

use std::path::PathBuf;

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::mint::{Key, claims, encode, unix};
use super::{HOUR, ISSUER, Local, World, config, refused};
use crate::config::Keys;
use crate::kubernetes::{Issuers, Refusal};

/// Name and bytes. Each is a good token but for the one thing that its name says.
#[expect(clippy::too_many_lines, reason = "a table")]
#[rustfmt::skip]
fn forgeries(local: &Local) -> Vec<(&'static str, Vec<u8>)> {
    let [rsa, ec] = &local.keys;
    let good = local.token(|_| ());
    let text = claims(ISSUER, HOUR).to_string();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (head, body) = signed.split_once('.').unwrap();
    let other = local.token(|claims| claims["jti"] = json!("another"));
    let stranger = Key::rsa("key-1");
    let headed = |header: Value| rsa.sign(&header.to_string(), &text);
    let said = |pointer: &str, value: Value| local.token(|claims| *claims.pointer_mut(pointer).unwrap() = value);
    let without = |object: &str, key: &str| local.token(|claims| {
        claims.pointer_mut(object).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    });
    let named = |name: &str, place: &str| local.token(|claims| {
        claims["kubernetes.io"][place] = match place {
            "namespace" => json!(name),
            _ => json!({"name": name, "uid": "1"}),
        };
        let (namespace, account) = if place == "namespace" { (name, "api") } else { ("payments", name) };
        claims["sub"] = json!(format!("system:serviceaccount:{namespace}:{account}"));
    });
    let hmac = {
        let signed = format!("{}.{body}", encode(r#"{"alg":"HS256","kid":"key-1"}"#));
        let public = rsa.jwk()["n"].as_str().unwrap().to_owned();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public.as_bytes()), signed.as_bytes());
        format!("{signed}.{}", encode(tag))
    };
    let edited = text.replace("\"api\"", "\"adm\"").replace(":api\"", ":adm\"");
    let mut standard = good.clone().into_bytes();
    let last = standard.len() - signature.len();
    for byte in &mut standard[last..] {
        *byte = match *byte { b'-' => b'+', b'_' => b'/', byte => byte };
    }
    let value: Value = serde_json::from_str(&text).unwrap();
    let order = ["iss", "sub", "aud", "exp", "nbf", "iat", "kubernetes.io"];
    let listed: Vec<_> = order.iter().map(|claim| &value[claim]).collect();
    let listed = json!(listed);
    let longer = |count: usize| local.token(|claims| claims["pad"] = json!("x".repeat(count)));
    assert!(longer(3_000).len() < 8 * 1024 && longer(6_000).len() > 8 * 1024);

    let table: Vec<(&'static str, String)> = vec![
        ("alg none", format!("{}.{body}.", encode(r#"{"alg":"none","kid":"key-1"}"#))),
        ("alg none, signed", headed(json!({"alg": "none", "kid": "key-1"}))),
        ("HS256 under the public key", hmac),
        ("an unknown key id", headed(json!({"alg": "RS256", "kid": "key-3"}))),
        ("no key id", headed(json!({"alg": "RS256"}))),
        ("a key id that is a path", headed(json!({"alg": "RS256", "kid": "../keys/key-1"}))),
        ("a key id that is a number", headed(json!({"alg": "RS256", "kid": 1}))),
        ("another cluster's key under our key id", stranger.token(&claims(ISSUER, HOUR))),
        ("the EC key under the RSA key's id", ec.sign(r#"{"alg":"ES256","kid":"key-1"}"#, &text)),
        ("the RSA key under the EC key's id", rsa.sign(r#"{"alg":"RS256","kid":"key-2"}"#, &text)),
        ("an algorithm the key is not for", headed(json!({"alg": "RS384", "kid": "key-1"}))),
        ("a signature cut off", good[..good.len() - 8].to_owned()),
        ("no signature", format!("{signed}.")),
        ("the signature of another token", format!("{signed}.{}", other.rsplit_once('.').unwrap().1)),
        ("claims changed under their signature", format!("{head}.{}.{signature}", encode(edited))),
        ("half the token", good[..good.len() / 2].to_owned()),
        ("the token twice", format!("{good}.{good}")),
        ("no exp", without("", "exp")),
        ("exp as text", said("/exp", json!((unix() + 3600).to_string()))),
        ("exp null", said("/exp", Value::Null)),
        ("exp as a fraction", said("/exp", json!(4e9))),
        ("expired", local.token(|claims| {
            for (claim, ago) in [("exp", 11), ("nbf", 3600), ("iat", 3600)] {
                claims[claim] = json!(unix() - ago);
            }
        })),
        ("nbf to come", said("/nbf", json!(unix() + 30))),
        ("no nbf", without("", "nbf")),
        ("nbf as text", said("/nbf", json!("0"))),
        ("iat null", said("/iat", Value::Null)),
        ("iat after exp", said("/iat", json!(unix() + 7200))),
        ("another issuer", said("/iss", json!("https://kubernetes.example"))),
        ("the issuer and a slash", said("/iss", json!(format!("{ISSUER}/")))),
        ("no iss", without("", "iss")),
        ("another audience", said("/aud", json!(["vault"]))),
        ("the API server's audience", said("/aud", json!([ISSUER]))),
        ("our audience in capitals", said("/aud", json!(["VAULTLET"]))),
        ("our audience and a space", said("/aud", json!("vaultlet "))),
        ("no audience in the list", said("/aud", json!([]))),
        ("no aud", without("", "aud")),
        ("sub of another service account", said("/sub", json!("system:serviceaccount:payments:admin"))),
        ("sub of another namespace", said("/sub", json!("system:serviceaccount:kube-system:api"))),
        ("sub of a user", said("/sub", json!("payments:api"))),
        ("no kubernetes.io", without("", "kubernetes.io")),
        ("a namespace with a slash", named("payments/x", "namespace")),
        ("a namespace that is a parent", named("..", "namespace")),
        ("a namespace with a colon", named("payments:x", "namespace")),
        ("a namespace in capitals", named("Payments", "namespace")),
        ("a service account that is a glob", named("*", "serviceaccount")),
        ("a service account with a line end", named("api\n", "serviceaccount")),
        ("a pod that is a template", said("/kubernetes.io/pod/name", json!("{{x}}"))),
        ("no uid", without("/kubernetes.io/serviceaccount", "uid")),
        ("an empty uid", said("/kubernetes.io/serviceaccount/uid", json!(""))),
        ("a pod without a uid", without("/kubernetes.io/pod", "uid")),
        ("another node", said("/kubernetes.io/node/name", json!("node-2"))),
        ("claims said twice", rsa.sign(&rsa.header().to_string(),
            &text.replacen('{', r#"{"aud":["vaultlet"],"#, 1))),
        ("claims in a list", rsa.sign(&rsa.header().to_string(), &listed.to_string())),
        ("a header said twice", rsa.sign(r#"{"alg":"none","alg":"RS256","kid":"key-1"}"#, &text)),
        ("crit", headed(json!({"alg": "RS256", "kid": "key-1", "crit": ["exp"]}))),
        ("a key in the header", stranger.sign(
            &json!({"alg": "RS256", "kid": "key-9", "jwk": stranger.jwk()}).to_string(), &text)),
        ("a key's address in the header", headed(
            json!({"alg": "RS256", "kid": "key-1", "jku": "http://127.0.0.1/keys"}))),
        ("a type that is something else", headed(json!({"alg": "RS256", "kid": "key-1", "typ": "at+jwt"}))),
        ("nine kilobytes", longer(6_000)),
        ("a megabyte of dots", ".".repeat(1024 * 1024)),
        ("padding", format!("{good}=")),
        ("a space before", format!(" {good}")),
        ("a line end after", format!("{good}\n")),
        ("a line end within", format!("{signed}\n.{signature}")),
        ("a null byte after", format!("{good}\0")),
        ("nothing", String::new()),
        ("two dots", "..".into()),
    ];
    let mut table: Vec<_> = table.into_iter().map(|(name, token)| (name, token.into_bytes())).collect();
    table.push(("not text", [good.as_bytes(), b"\xff"].concat()));
    table.push(("the other base64", standard));
    table
}

#[tokio::test]
async fn a_forged_or_malformed_token_is_refused() {
    let local = Local::new();
    let world = World::new(&[local.config()]);
    world.verify(local.token(|_| ())).await.unwrap();

    let forgeries = forgeries(&local);
    assert!(forgeries.len() >= 24);
    let mut wrong = Vec::new();
    for (name, token) in &forgeries {
        match world.verify(token).await {
            Err(Refusal::Invalid(_) | Refusal::Foreign(_)) => (),
            other => wrong.push(format!("{name}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_refusal_holds_nothing_of_the_token() {
    let local = Local::new();
    let world = World::new(&[local.config()]);
    let parts = ["payments", "api-1", "key-", "kubernetes.default", "node-", "eyJ", "5d9d3cb5"];
    for (name, token) in forgeries(&local) {
        let shown = format!("{:?} {}", (), refused(world.verify(&token).await));
        let found = parts.iter().find(|part| shown.contains(**part));
        assert!(found.is_none(), "{name}: {shown}");
    }
}

#[tokio::test]
async fn a_good_token_may_differ_in_what_says_nothing() {
    let local = Local::new();
    let world = World::new(&[local.config()]);
    let [rsa, ec] = &local.keys;
    let text = claims(ISSUER, HOUR).to_string();
    for (name, token) in [
        ("an EC key", ec.token(&claims(ISSUER, HOUR))),
        ("a type", rsa.sign(r#"{"alg":"RS256","kid":"key-1","typ":"JWT"}"#, &text)),
        ("one audience", local.token(|claims| claims["aud"] = json!("vaultlet-too"))),
        ("more audiences", local.token(|claims| claims["aud"] = json!(["vault", "vaultlet"]))),
        ("clocks that differ", local.token(|claims| claims["nbf"] = json!(unix() + 5))),
        (
            "just expired",
            local.token(|claims| {
                claims["exp"] = json!(unix() - 5);
                claims["nbf"] = json!(unix() - 600);
                claims["iat"] = json!(unix() - 600);
            }),
        ),
        (
            "no pod and no node",
            local.token(|claims| {
                let bound = claims["kubernetes.io"].as_object_mut().unwrap();
                bound.remove("pod");
                bound.remove("node");
            }),
        ),
        (
            "a dotted name",
            local.token(|claims| {
                claims["kubernetes.io"]["serviceaccount"]["name"] = json!("api.v2");
                claims["sub"] = json!("system:serviceaccount:payments:api.v2");
            }),
        ),
    ] {
        let verdict = world.verify(&token).await;
        assert!(verdict.is_ok(), "{name}: {verdict:?}");
    }
}

#[tokio::test]
async fn what_is_verified_is_what_the_token_says() {
    let local = Local::new();
    let world = World::new(&[local.config()]);
    let token = local.token(|claims| claims["aud"] = json!(["vaultlet", "vault", "vault"]));

    let verified = world.verify(&token).await.unwrap();

    let account = &verified.account;
    assert_eq!((&*account.namespace, &*account.name), ("payments", "api"));
    assert_eq!(&*account.uid, "5d9d3cb5-6a9d-4c5e-8b5c-51a7ab6a2b0c");
    assert_eq!(*account.audiences, ["vault".into(), "vaultlet".into()]);
    assert_eq!(&*verified.pod.as_ref().unwrap().name, "api-1");
    let life = verified.expires.since(world.clock.now());
    assert!(life <= HOUR && life.as_secs() > 3_590, "{life:?}");
    assert_eq!(verified.token.expose(), token.as_bytes());
    assert!(!format!("{verified:?} {:?}", world.issuers).contains(&token[..8]));
}

#[tokio::test]
async fn a_token_belongs_to_the_first_cluster_it_names() {
    let (local, elsewhere) = (Local::new(), Local::new());
    let mut second = local.config();
    second.audiences = vec!["batch".into()];
    let other = config("https://other.example", Keys::File(elsewhere.file.clone()));
    let world = World::new(&[local.config(), second, other]);

    let cluster = async |token: String| world.verify(token).await.map(|v| v.account.cluster);
    assert_eq!(cluster(local.token(|_| ())).await.unwrap(), 0);
    assert_eq!(cluster(local.token(|c| c["aud"] = json!(["batch"]))).await.unwrap(), 1);
    assert_eq!(cluster(local.token(|c| c["aud"] = json!(["batch", "vaultlet"]))).await.unwrap(), 0);
    assert_eq!(
        cluster(elsewhere.token(|c| c["iss"] = json!("https://other.example"))).await.unwrap(),
        2
    );
    // A key is good for its own issuer only.
    refused(world.verify(local.token(|c| c["iss"] = json!("https://other.example"))).await);
    assert!(matches!(
        world.verify(local.token(|c| c["iss"] = json!("https://third.example"))).await,
        Err(Refusal::Foreign(_))
    ));
}

#[test]
fn a_token_is_told_from_a_vault_token_by_its_first_bytes() {
    let local = Local::new();
    let token = local.token(|_| ());

    for jwt in [&token[..], &token[..token.len() / 2], "ewogImFsZyI6Im5vbmUifQ.e30.", "eyJ."] {
        assert!(Issuers::shaped(jwt.as_bytes()), "{jwt}");
    }
    for other in ["hvs.CAESIJ", "s.abc.ns1", "root", "", "e", "eyJhbGciOiJub25lIn0", "vlt.eyJ.x"] {
        assert!(!Issuers::shaped(other.as_bytes()), "{other}");
    }
}

#[test]
fn keys_that_are_too_weak_or_secret_are_left_out() {
    let local = Local::new();
    let mut weak = local.keys[0].jwk();
    weak["n"] = json!(&weak["n"].as_str().unwrap()[..171]);
    for key in [
        json!({"kty": "oct", "kid": "key-1", "k": "c2VjcmV0"}),
        weak,
        {
            let mut key = local.keys[0].jwk();
            key["use"] = json!("enc");
            key
        },
        {
            let mut key = local.keys[0].jwk();
            key["alg"] = json!("RSA-OAEP");
            key
        },
        {
            let mut key = local.keys[0].jwk();
            key["kid"] = json!("");
            key
        },
        json!({"kty": "EC", "crv": "P-521", "kid": "key-1", "x": "AA", "y": "AA"}),
        json!("no key"),
    ] {
        std::fs::write(&local.file, json!({"keys": [key]}).to_string()).unwrap();
        let set = super::super::keys::KeySet::parse(&std::fs::read(&local.file).unwrap());
        assert!(set.is_err(), "{key}");
    }
    let missing = World::new(&[config(ISSUER, Keys::File(PathBuf::from("/nowhere/keys.json")))]);
    assert!(!missing.issuers.is_empty());
}
