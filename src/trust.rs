//! Whose certificates do we believe? The authorities of every TLS connection made from here.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::error::BoxError;

/// The authorities in a PEM bundle; without one, the system's.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub fn authorities(ca_file: Option<&Path>) -> Result<RootCertStore, BoxError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            for authority in CertificateDer::pem_file_iter(file)? {
                roots.add(authority?)?;
            }
            if roots.is_empty() {
                return Err(format!("{} holds no certificate", file.display()).into());
            }
        }
        // A system store may hold what rustls does not take; the rest is still good.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

/// The client's side of a connection that believes them and brings no certificate.
///
/// # Errors
/// Those of [`authorities`].
pub fn client(ca_file: Option<&Path>) -> Result<ClientConfig, BoxError> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(authorities(ca_file)?).with_no_client_auth())
}
