//! Connections to the upstream: TCP, TLS, and the authorities to trust.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::body::Incoming;
use hyper::{Request, Response, Uri};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tower::service_fn;
use tower::timeout::Timeout;
use tower::util::{BoxCloneSyncService, MapResponse};

use crate::body::Body;
use crate::config;
use crate::error::BoxError;
use crate::trust;

mod carrier;
mod names;
mod stream;

pub use carrier::Carrier;
use names::Names;
use stream::Stream;
pub(super) use stream::Switch;

/// Well below the five minutes Vault keeps an idle connection, and the minute many load balancers
/// do: a connection is given up before its other end closes it under a request.
const IDLE: Duration = Duration::from_secs(30);

/// What has been sent is acknowledged by then, or the other end has vanished. It is far more than a
/// network takes, as a server that takes an upload slowly may not read for a while.
#[cfg(target_os = "linux")]
const VANISHED: Duration = Duration::from_secs(10);

/// The connections, made anew when the authorities to trust change.
#[derive(Debug)]
pub(super) struct Pool {
    client: ArcSwap<Client<Connector, Body>>,
    /// What the client makes its connections with.
    connector: ArcSwap<Connector>,
    settings: Settings,
}

type Connector = BoxCloneSyncService<Uri, Stream, BoxError>;

#[derive(Debug)]
struct Settings {
    ca_file: Option<PathBuf>,
    server_name: Option<ServerName<'static>>,
    skip_verify: bool,
    connect_timeout: Duration,
    /// Takes the place of all that.
    carrier: Option<Carrier>,
}

impl Pool {
    pub(super) fn new(
        config: &config::Upstream,
        carrier: Option<Carrier>,
    ) -> Result<Self, BoxError> {
        let server_name = config.tls_server_name.clone().map(ServerName::try_from).transpose()?;
        let settings = Settings {
            ca_file: config.ca_file.clone(),
            server_name,
            skip_verify: config.tls_skip_verify,
            connect_timeout: config.connect_timeout,
            carrier,
        };
        let connector = settings.connector()?;
        let client = ArcSwap::from_pointee(client(connector.clone()));
        Ok(Self { client, connector: ArcSwap::from_pointee(connector), settings })
    }

    /// Trusts what the file holds now. Requests under way keep their connections.
    pub(super) fn reload(&self) -> Result<(), BoxError> {
        self.connector.store(Arc::new(self.settings.connector()?));
        self.renew();
        Ok(())
    }

    /// Makes new connections from now on, as those there are may lead nowhere. Requests under way
    /// keep theirs.
    pub(super) fn renew(&self) {
        self.client.store(Arc::new(client(Connector::clone(&self.connector.load()))));
    }

    pub(super) async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, ClientError> {
        let answer = self.client.load().request(request);
        answer.await
    }
}

fn client(connector: Connector) -> Client<Connector, Body> {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(connector)
}

impl Settings {
    fn connector(&self) -> Result<Connector, BoxError> {
        if let Some(carrier) = self.carrier.clone() {
            let carry = service_fn(move |_: Uri| carrier.connect());
            return Ok(BoxCloneSyncService::new(Timeout::new(carry, self.connect_timeout)));
        }
        let names = Names::new(GaiResolver::new(), self.connect_timeout / 2);
        let mut tcp = HttpConnector::new_with_resolver(names);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(self.connect_timeout));
        tcp.set_keepalive(Some(Duration::from_secs(15)));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(VANISHED));
        let tls = HttpsConnectorBuilder::new().with_tls_config(self.tls()?).https_or_http();
        let tls = match &self.server_name {
            Some(name) => tls.with_server_name_resolver(FixedServerNameResolver::new(name.clone())),
            None => tls,
        };
        // Vault's API gains nothing from HTTP/2 here, and a silent HTTP/2 peer is hard to notice.
        let tls = tls.enable_http1().wrap_connector(tcp);
        // The connector's own limit ends with TCP; a handshake that stalls must end too.
        let timed = Timeout::new(tls, self.connect_timeout);
        Ok(BoxCloneSyncService::new(MapResponse::new(timed, Stream::new)))
    }

    fn tls(&self) -> Result<ClientConfig, BoxError> {
        if !self.skip_verify {
            return trust::client(self.ca_file.as_deref());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let blind = Arc::new(Blind(provider));
        Ok(builder.dangerous().with_custom_certificate_verifier(blind).with_no_client_auth())
    }
}

/// `upstream.tls_skip_verify`: believes any certificate, and still checks that the peer holds its
/// key.
#[derive(Debug)]
struct Blind(Arc<CryptoProvider>);

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
