//! The serving certificate, and who may connect.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::config::Tls;
use crate::error::BoxError;

/// The current certificate and the authorities of clients.
///
/// Handshakes read it without a lock. [`reload`](Self::reload) loads everything before it replaces
/// anything, so a half-written file leaves what works in place.
#[derive(Debug)]
pub struct Certificates {
    current: ArcSwap<ServerConfig>,
    files: Tls,
    http2: bool,
}

impl Certificates {
    /// Fails if there is no usable certificate to start with.
    ///
    /// # Errors
    /// The message names the file.
    pub fn load(files: Tls, http2: bool) -> Result<Self, BoxError> {
        let current = ArcSwap::from_pointee(read(&files, http2)?);
        Ok(Self { current, files, http2 })
    }

    /// Switches to what the files hold now. Open connections keep what they have.
    ///
    /// # Errors
    /// A file cannot be used; nothing has changed.
    pub fn reload(&self) -> Result<(), BoxError> {
        self.current.store(Arc::new(read(&self.files, self.http2)?));
        Ok(())
    }

    /// What the next handshake uses.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Where it is read from.
    pub fn files(&self) -> &Tls {
        &self.files
    }
}

fn read(files: &Tls, http2: bool) -> Result<ServerConfig, BoxError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates(&files.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&files.key_file)
        .map_err(|error| format!("{}: {error}", files.key_file.display()))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match &files.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(file)? {
                roots.add(authority).map_err(|error| format!("{}: {error}", file.display()))?;
            }
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    // Also checks that key and certificate belong together.
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("{}: {error}", files.cert_file.display()))?;
    let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, BoxError> {
    let problem = |error| format!("{}: {error}", file.display());
    let chain = CertificateDer::pem_file_iter(file).map_err(problem)?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(problem)?;
    if chain.is_empty() {
        return Err(format!("{}: holds no certificate", file.display()).into());
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_never_replaces_a_working_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let files = Tls {
            cert_file: dir.path().join("tls.crt"),
            key_file: dir.path().join("tls.key"),
            client_ca_file: None,
        };
        let write = || {
            let issued = rcgen::generate_simple_self_signed(["node.test".to_owned()]).unwrap();
            std::fs::write(&files.cert_file, issued.cert.pem()).unwrap();
            std::fs::write(&files.key_file, issued.signing_key.serialize_pem()).unwrap();
        };
        write();
        let certificates = Certificates::load(files.clone(), false).unwrap();
        let before = certificates.current();

        std::fs::write(&files.cert_file, "-----BEGIN CERTIFI").unwrap();
        assert!(certificates.reload().is_err());
        assert!(Arc::ptr_eq(&before, &certificates.current()));

        write();
        certificates.reload().unwrap();
        assert!(!Arc::ptr_eq(&before, &certificates.current()));
    }
}
