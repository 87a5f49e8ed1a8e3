//! TLS: versions, ALPN, client certificates, and certificates that change on disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;

use crate::client::{Call, Client};
use crate::world::{World, reads};

/// A certificate authority made for one test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

struct Leaf {
    der: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Self { issuer: Issuer::new(params, key), der, pem }
    }

    fn leaf(&self) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { der: certificate.der().clone(), pem: certificate.pem(), key }
    }

    /// Trusts this authority, and shows `own` where asked for a certificate.
    fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Leaf>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match own {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let key = PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![leaf.der.clone()], key).unwrap()
            }
        }
    }
}

/// Replaces a file as careful operators do: whole, or not at all.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}

struct Scene {
    authority: Authority,
    leaf: Leaf,
    home: TempDir,
    world: World,
}

impl Scene {
    async fn new(more: Value) -> Self {
        let (home, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let leaf = authority.leaf();
        let at = |name: &str| home.path().join(name);
        replace(&at("tls.crt"), &leaf.pem);
        replace(&at("tls.key"), &leaf.key.serialize_pem());
        replace(&at("clients.pem"), &authority.pem);
        let mut tls = json!({"cert_file": at("tls.crt"), "key_file": at("tls.key")});
        if more["clients"] == true {
            tls["client_ca_file"] = json!(at("clients.pem"));
        }
        let http2 = more["http2"] == true;
        let mut listener = json!([{"address": "127.0.0.1:0", "tls": tls, "http2": http2}]);
        if let Some(limits) = more.get("limits") {
            listener[0]["limits"] = limits.clone();
        }
        let world = World::new(json!({"listeners": listener})).await;
        Self { authority, leaf, home, world }
    }

    /// Version, protocol and certificate that a new connection gets.
    async fn shake(&self, config: ClientConfig) -> std::io::Result<Shaken> {
        let tcp = TcpStream::connect(self.world.vaultlet.address()).await?;
        let connector = TlsConnector::from(Arc::new(config));
        let name = "localhost".try_into().unwrap();
        let stream = connector.connect(name, tcp).await?;
        let session = stream.get_ref().1;
        Ok(Shaken {
            version: session.protocol_version().unwrap(),
            alpn: session.alpn_protocol().map(<[u8]>::to_vec),
            leaf: session.peer_certificates().unwrap()[0].clone().into_owned(),
        })
    }

    async fn serves(&self, leaf: &Leaf) -> bool {
        let shaken = self.shake(self.authority.client(&[&TLS13], None)).await;
        shaken.is_ok_and(|shaken| shaken.leaf == leaf.der)
    }
}

#[derive(Debug)]
struct Shaken {
    version: ProtocolVersion,
    alpn: Option<Vec<u8>>,
    leaf: CertificateDer<'static>,
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken() {
    let scene = Scene::new(json!({})).await;

    for (version, name) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        let config = scene.authority.client(&[version], None);
        assert_eq!(scene.shake(config.clone()).await.unwrap().version, name);
        let client = Client::tls(scene.world.vaultlet.address(), Arc::new(config)).token("root");
        client.get("sys/mounts").await.expect(200);
    }
    // Plain HTTP on a TLS listener gets no answer that could be taken for one.
    assert!(scene.world.vaultlet.client().try_send(&Call::get("sys/health")).await.is_err());
}

#[tokio::test]
async fn alpn_offers_what_is_configured() {
    for (http2, expected) in [(false, "http/1.1"), (true, "h2")] {
        let scene = Scene::new(json!({"http2": http2})).await;
        let mut config = scene.authority.client(&[&TLS13], None);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

        let alpn = scene.shake(config).await.unwrap().alpn;
        assert_eq!(alpn.as_deref(), Some(expected.as_bytes()));
    }
}

#[tokio::test]
async fn http2_is_served_like_http1() {
    let scene = Scene::new(json!({"http2": true})).await;
    scene.world.put("app", "one").await;
    let mut config = scene.authority.client(&[&TLS13], None);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(scene.world.vaultlet.address()).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);

    for (method, path, body, status, cache) in [
        ("GET", "sys/mounts", "", 200, None),
        ("GET", "secret/data/app", "", 200, Some("MISS")),
        ("GET", "secret/data/app", "", 200, Some("HIT")),
        ("POST", "secret/data/app", r#"{"data":{"value":"two"}}"#, 200, None),
        ("GET", "secret/data/app", "", 200, Some("MISS")),
    ] {
        let request = hyper::Request::builder()
            .method(method)
            .uri(format!("https://localhost/v1/{path}"))
            .header("X-Vault-Token", scene.world.bao.root_token())
            .body(Full::new(bytes::Bytes::from(body)))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), status, "{method} {path}: {answer:?}");
        let found = answer.headers().get("x-cache").map(|value| value.to_str().unwrap());
        assert_eq!(found, cache, "{method} {path}");
        answer.into_body().collect().await.unwrap();
    }
}

#[tokio::test]
async fn a_peer_that_promises_http2_and_says_nothing_is_cut() {
    let limits = json!({"header_timeout": "1s", "idle_timeout": "1s"});
    let scene = Scene::new(json!({"http2": true, "limits": limits})).await;
    let mut config = scene.authority.client(&[&TLS13], None);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(scene.world.vaultlet.address()).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();

    stream.write_all(b"PRI * HTTP/2.0").await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(6), stream.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "still open");
}

#[tokio::test]
async fn a_client_certificate_is_demanded_where_configured() {
    let scene = Scene::new(json!({"clients": true})).await;
    let stranger = Authority::new();
    let (known, unknown) = (scene.authority.leaf(), stranger.leaf());
    let client = |own: Option<&Leaf>| {
        let config = scene.authority.client(&[&TLS12, &TLS13], own);
        Client::tls(scene.world.vaultlet.address(), Arc::new(config)).token("root")
    };

    client(Some(&known)).get("sys/mounts").await.expect(200);
    let call = Call::get("sys/mounts");
    assert!(client(None).try_send(&call).await.is_err(), "no certificate was needed");
    assert!(client(Some(&unknown)).try_send(&call).await.is_err(), "anybody's was enough");
}

#[tokio::test]
async fn a_new_certificate_on_disk_is_served_and_a_broken_one_is_not() {
    let scene = Scene::new(json!({})).await;
    assert!(scene.serves(&scene.leaf).await);
    let at = |name: &str| scene.home.path().join(name);
    let renewed = scene.authority.leaf();

    replace(&at("tls.key"), &renewed.key.serialize_pem());
    replace(&at("tls.crt"), &renewed.pem);
    let began = Instant::now();
    while !scene.serves(&renewed).await {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "not picked up: {}",
            scene.world.vaultlet.log()
        );
        sleep(Duration::from_millis(100)).await;
    }

    let lines = scene.world.vaultlet.log().lines().count();
    replace(&at("tls.crt"), "not a certificate");
    let began = Instant::now();
    let said =
        || scene.world.vaultlet.log().lines().skip(lines).any(|line| line.contains("tls.crt"));
    while !said() {
        assert!(began.elapsed() < Duration::from_secs(20), "nothing said about the broken file");
        assert!(scene.serves(&renewed).await, "the old certificate went");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(scene.serves(&renewed).await);

    replace(&at("tls.key"), &scene.leaf.key.serialize_pem());
    replace(&at("tls.crt"), &scene.leaf.pem);
    let began = Instant::now();
    while !scene.serves(&scene.leaf).await {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "not recovered: {}",
            scene.world.vaultlet.log()
        );
        sleep(Duration::from_millis(100)).await;
    }
}

/// Whoever is connected stays so; whoever connects gets the certificate of before or the new one.
#[tokio::test]
async fn certificates_change_under_load_without_a_failed_handshake() {
    let scene = Arc::new(Scene::new(json!({})).await);
    scene.world.put("app", "fine").await;
    let config = Arc::new(scene.authority.client(&[&TLS12, &TLS13], None));
    let (over, shaken) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let callers: Vec<_> = (0..4)
        .map(|place| {
            let address = scene.world.vaultlet.address().to_owned();
            let client = move |config| Client::tls(&address, config).token("root");
            let (config, over, shaken) = (config.clone(), over.clone(), shaken.clone());
            tokio::spawn(async move {
                let open = client(config.clone());
                while !over.load(Ordering::SeqCst) {
                    let caller = if place == 0 { open.clone() } else { client(config.clone()) };
                    reads(&caller.get("secret/data/app").await, "fine");
                    shaken.fetch_add(usize::from(place > 0), Ordering::SeqCst);
                    sleep(Duration::from_millis(5)).await;
                }
            })
        })
        .collect();

    let at = |name: &str| scene.home.path().join(name);
    for _ in 0..5 {
        let (renewed, before) = (scene.authority.leaf(), shaken.load(Ordering::SeqCst));
        // In between they do not belong together, and the pair of before is served.
        replace(&at("tls.key"), &renewed.key.serialize_pem());
        scene.world.vaultlet.signal(Signal::HUP);
        sleep(Duration::from_millis(100)).await;
        replace(&at("tls.crt"), &renewed.pem);
        scene.world.vaultlet.signal(Signal::HUP);
        let began = Instant::now();
        while !scene.serves(&renewed).await || shaken.load(Ordering::SeqCst) < before + 20 {
            assert!(began.elapsed() < Duration::from_secs(20), "not picked up");
            sleep(Duration::from_millis(50)).await;
        }
    }
    over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
}
