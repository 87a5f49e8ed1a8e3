//! How are a cluster's servers asked? Two kinds of request, to addresses that an operator named,
//! with a credential and authorities that are files and change.

use std::path::PathBuf;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use zeroize::Zeroizing;

use crate::error::BoxError;
use crate::identity::sensitive;
use crate::trust;
use crate::watch::Watched;

/// For a connection, and for the whole of an exchange.
const CONNECT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);

/// The second is what an API server calls its keys; to a request that takes JSON only it answers 406
/// (`pkg/routes/openidmetadata.go` of Kubernetes 1.36).
const ACCEPTED: &str = "application/json, application/jwk-set+json";

/// A projected token is one or two kilobytes.
const LONGEST_TOKEN: usize = 16 * 1024;

type Connector = HttpsConnector<HttpConnector>;

/// A client with its own authorities and its own credential. It follows no redirect.
#[derive(Debug)]
pub(super) struct Web {
    client: ArcSwap<Client<Connector, Full<Bytes>>>,
    ca_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
}

/// Why there is no answer, for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0} did not answer within {PATIENCE:?}")]
    Late(Uri),
    #[error("{0} answered with more than {1} bytes")]
    Long(Uri, usize),
    #[error("{0} cannot be asked")]
    Lost(Uri, #[source] BoxError),
    #[error(
        "{0} answered {1}: it does not take vaultlet's own credential there, which is what the \
         `token_file` beside that address holds; name one that may do this"
    )]
    Refused(Uri, StatusCode),
    #[error("{0} answered {1}")]
    Status(Uri, StatusCode),
    #[error("{path} cannot be used as a credential", path = .0.display())]
    Token(PathBuf, #[source] BoxError),
}

impl Web {
    pub(super) fn new(
        ca_file: Option<PathBuf>,
        token_file: Option<PathBuf>,
    ) -> Result<Self, BoxError> {
        let client = ArcSwap::from_pointee(client(ca_file.as_ref())?);
        Ok(Self { client, ca_file, token_file })
    }

    /// The file whose change makes another client; the credential is read for every request.
    pub(super) fn watched(self: &std::sync::Arc<Self>) -> Option<Watched> {
        let file = self.ca_file.clone()?;
        let web = std::sync::Arc::clone(self);
        let reload = Box::new(move || {
            web.client.store(client(web.ca_file.as_ref())?.into());
            Ok(())
        });
        Some(Watched { name: "the cluster's authorities", files: vec![file], reload })
    }

    /// Whether only servers that an operator's own authorities vouch for can be reached at `uri`.
    pub(super) fn vouched_for(&self, uri: &Uri) -> bool {
        self.ca_file.is_some() && uri.scheme_str() == Some("https")
    }

    /// What is at `uri`, up to `limit` bytes; with the credential only if `known` says so.
    pub(super) async fn get(
        &self,
        uri: &Uri,
        known: bool,
        limit: usize,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let request = Request::builder().method(Method::GET).body(Full::default());
        self.exchange(uri, request, known, limit).await
    }

    /// What `uri` answers to a JSON body, up to `limit` bytes.
    pub(super) async fn post(
        &self,
        uri: &Uri,
        body: Bytes,
        limit: usize,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let json = HeaderValue::from_static("application/json");
        let request = Request::builder().method(Method::POST).header(CONTENT_TYPE, json);
        self.exchange(uri, request.body(Full::new(body)), true, limit).await
    }

    async fn exchange(
        &self,
        uri: &Uri,
        request: hyper::http::Result<Request<Full<Bytes>>>,
        with_credential: bool,
        limit: usize,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let lost = |error: BoxError| Failure::Lost(uri.clone(), error);
        let mut request = request.map_err(|error| lost(error.into()))?;
        *request.uri_mut() = uri.clone();
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        if let Some(file) = self.token_file.as_ref().filter(|_| with_credential) {
            let bearer = bearer(file).await.map_err(|e| Failure::Token(file.clone(), e))?;
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        let asked = async {
            let answer =
                self.client.load().request(request).await.map_err(|error| lost(error.into()))?;
            match answer.status() {
                StatusCode::OK | StatusCode::CREATED => (),
                status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                    return Err(Failure::Refused(uri.clone(), status));
                }
                status => return Err(Failure::Status(uri.clone(), status)),
            }
            let mut body = answer.into_body();
            let mut whole = Zeroizing::new(Vec::new());
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| lost(error.into()))?;
                let data = frame.into_data().unwrap_or_default();
                if whole.len() + data.len() > limit {
                    return Err(Failure::Long(uri.clone(), limit));
                }
                whole.extend_from_slice(&data);
            }
            Ok(whole)
        };
        let late = |_| Failure::Late(uri.clone());
        tokio::time::timeout(PATIENCE, asked).await.map_err(late)?
    }
}

fn client(ca_file: Option<&PathBuf>) -> Result<Client<Connector, Full<Bytes>>, BoxError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    let tls = trust::client(ca_file.map(PathBuf::as_path))?;
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .build(connector))
}

/// The credential as it is on disk now: the kubelet replaces it every hour.
async fn bearer(file: &PathBuf) -> Result<HeaderValue, BoxError> {
    let token = Zeroizing::new(tokio::fs::read(file).await?);
    let token = token.trim_ascii();
    if token.is_empty() || token.len() > LONGEST_TOKEN {
        return Err("it is empty or longer than 16 KiB".into());
    }
    let mut header = Zeroizing::new(b"Bearer ".to_vec());
    header.extend_from_slice(token);
    Ok(sensitive(&header)?)
}
