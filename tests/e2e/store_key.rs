//! Does the upstream's Transit engine open what it has closed?
//!
//! `vaultlet::store_key` against the real engine: what it needs a token for, what it makes of each
//! refusal, and that what cannot be opened is never replaced by accident.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;
use vaultlet::clock::Clock;
use vaultlet::config::{LeaseStore, Source, StoreKey};
use vaultlet::metrics::Metrics;
use vaultlet::sealed::{Directory, Reject, Sealed};
use vaultlet::store_key::{Failure, obtain};
use vaultlet::upstream::Upstream;

use crate::bao::{Bao, free_port};

/// All that the token may do.
const POLICY: &str = r#"
    path "transit/datakey/plaintext/vaultlet" { capabilities = ["update"] }
    path "transit/decrypt/vaultlet" { capabilities = ["update"] }
"#;

struct Bench {
    place: TempDir,
    upstream: Upstream,
}

impl Bench {
    fn new(address: &str) -> Self {
        let set = [("VAULT_ADDR".to_owned(), address.to_owned())];
        let source = Source { environment: BTreeMap::from(set), ..Source::default() };
        let metrics = Arc::new(Metrics::new().unwrap());
        let config = source.load().unwrap().upstream;
        let upstream = Upstream::new(&config, None, Clock::default(), metrics).unwrap();
        Self { place: tempfile::tempdir().unwrap(), upstream }
    }

    fn token_file(&self) -> PathBuf {
        self.place.path().join("token")
    }

    fn store(&self) -> PathBuf {
        self.place.path().join("store")
    }

    /// As a start of the program does it.
    async fn open(&self) -> Result<Sealed, Failure> {
        let (mount, key) = ("transit".to_owned(), "vaultlet".to_owned());
        let key = StoreKey::Transit { mount, key, token_file: self.token_file() };
        let store = LeaseStore { dir: self.store(), key, kv: false };
        let directory = Directory::open(&store.dir)?;
        let key = obtain(&store, &directory, &self.upstream, "").await?;
        Ok(Sealed::new(directory, key))
    }

    /// The file, which no failure may change.
    fn file(&self) -> Vec<u8> {
        fs::read(self.store().join("store.sealed")).unwrap()
    }
}

/// A server with the key, and a token that may use it and nothing else.
async fn prepare(bench: &Bench, bao: &Bao) {
    let root = bao.root();
    root.post("sys/mounts/transit", json!({"type": "transit"})).await.expect(204);
    root.post("transit/keys/vaultlet", json!({})).await.expect(200);
    root.post("sys/policies/acl/store", json!({"policy": POLICY})).await.expect(204);
    let token = json!({"policies": ["store"], "no_default_policy": true});
    let token = root.post("auth/token/create", token).await.expect(200).json();
    fs::write(bench.token_file(), token["auth"]["client_token"].as_str().unwrap()).unwrap();
}

#[tokio::test]
async fn transit_opens_what_it_has_closed_until_its_key_is_gone() {
    let bao = Bao::dev().await;
    let (bench, root) = (Bench::new(&bao.address()), bao.root());
    prepare(&bench, &bao).await;

    let sealed = bench.open().await.unwrap();
    assert!(matches!(sealed.load(), Err(Reject::NotThere)));
    sealed.replace(b"one").unwrap();
    drop(sealed);
    assert_eq!(**bench.open().await.unwrap().load().unwrap(), *b"one");

    // An older version of the key opens what it has closed, as long as it may.
    root.post("transit/keys/vaultlet/rotate", json!({})).await.expect(200);
    assert_eq!(**bench.open().await.unwrap().load().unwrap(), *b"one");
    let newer = json!({"min_decryption_version": 2});
    root.post("transit/keys/vaultlet/config", newer).await.expect(200);
    let sealed = bench.open().await.unwrap();
    assert!(matches!(sealed.load(), Err(Reject::Tampered)));
    sealed.replace(b"two").unwrap();
    drop(sealed);
    assert_eq!(**bench.open().await.unwrap().load().unwrap(), *b"two");

    let file = bench.file();
    let deletable = json!({"deletion_allowed": true});
    root.post("transit/keys/vaultlet/config", deletable).await.expect(200);
    root.delete("transit/keys/vaultlet").await.expect(204);
    let failure = bench.open().await.unwrap_err();
    assert!(matches!(&failure, Failure::Refused { said, .. } if said.contains("not found")));
    root.delete("sys/mounts/transit").await.expect(204);
    let failure = bench.open().await.unwrap_err();
    assert!(matches!(failure, Failure::Refused { .. }), "{failure}");
    assert_eq!(bench.file(), file);
}

#[tokio::test]
async fn without_a_token_or_an_upstream_the_store_stays_as_it_is() {
    let bao = Bao::dev().await;
    let bench = Bench::new(&bao.address());
    prepare(&bench, &bao).await;
    bench.open().await.unwrap().replace(b"one").unwrap();
    let file = bench.file();

    let token = fs::read(bench.token_file()).unwrap();
    for (held, why) in [(&b"s.unknown"[..], "permission denied"), (b" \n", "it holds no token")] {
        fs::write(bench.token_file(), held).unwrap();
        let failure = bench.open().await.unwrap_err().to_string();
        assert!(failure.contains(why), "{failure}");
    }
    fs::remove_file(bench.token_file()).unwrap();
    assert!(matches!(bench.open().await, Err(Failure::TokenFile { .. })));

    fs::write(bench.token_file(), token).unwrap();
    let nowhere = Bench::new(&format!("http://127.0.0.1:{}", free_port()));
    let away = Bench { upstream: nowhere.upstream, ..bench };
    assert!(matches!(away.open().await, Err(Failure::Lost(_))));
    bao.seal().await;
    let sealed = Bench { upstream: Bench::new(&bao.address()).upstream, ..away };
    assert!(matches!(sealed.open().await, Err(Failure::Lost(_))));
    assert_eq!(sealed.file(), file);
}
