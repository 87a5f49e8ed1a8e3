//! Where does a server listen, and how does one know that it is the right one?

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::Uri;
use hyper::header::HeaderValue;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// A place to connect to.
#[derive(Clone, Debug)]
pub struct Address {
    pub(super) place: Place,
    /// As it is given to the server.
    host: HeaderValue,
}

#[derive(Clone, Debug)]
pub(super) enum Place {
    /// `HOST:PORT`.
    Tcp(String),
    Tls {
        authority: String,
        name: ServerName<'static>,
        config: Arc<ClientConfig>,
    },
    Unix(PathBuf),
}

impl Address {
    /// What `http://HOST:PORT` or `https://HOST:PORT` names; `ca_file` has the authorities that are
    /// believed (PEM), the system's without it.
    ///
    /// # Errors
    /// It is neither, or the file has no certificate.
    pub fn url(url: &str, ca_file: Option<&Path>) -> Result<Self, String> {
        names_nobody("--url", url)?;
        let wrong = || format!("{url}: not http://HOST:PORT or https://HOST:PORT");
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(format!("{}; paths are the scenario's", wrong()));
        }
        let named = uri.authority().ok_or_else(wrong)?;
        let (tls, port) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(wrong()),
        };
        let authority = format!("{}:{}", named.host(), named.port_u16().unwrap_or(port));
        let host = HeaderValue::from_str(named.as_str()).map_err(|_| wrong())?;
        if !tls {
            return Ok(Self { place: Place::Tcp(authority), host });
        }
        let name = named.host().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(|e| format!("{url}: {e}"))?;
        let config = vaultlet::trust::client(ca_file).map_err(|e| match ca_file {
            Some(file) => format!("--ca-file {}: {e}", file.display()),
            None => format!("the system's certificates: {e}"),
        })?;
        Ok(Self { place: Place::Tls { authority, name, config: Arc::new(config) }, host })
    }

    /// A unix socket.
    pub fn unix(path: &Path) -> Self {
        Self { place: Place::Unix(path.to_owned()), host: HeaderValue::from_static("localhost") }
    }

    pub(super) fn host(&self) -> HeaderValue {
        self.host.clone()
    }
}

/// Refuses a URL with a name or a password in it, which requests would not be sent with: `option` is
/// what it was given to. It is not part of what is said.
pub(crate) fn names_nobody(option: &str, url: &str) -> Result<(), String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(format!(
            "{option}: there is a name or a password before an `@`, which Vault knows nothing of: \
             leave it out; a token is read from VAULT_TOKEN or --token-file"
        ));
    }
    Ok(())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(authority) => write!(f, "http://{authority}"),
            Place::Tls { authority, .. } => write!(f, "https://{authority}"),
            Place::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_refused() {
        for url in ["", "127.0.0.1:8200", "ftp://a", "http://", "http://a:1/v1/x", "http://a/?b"] {
            let refused = Address::url(url, None).unwrap_err();

            assert!(refused.contains("HOST:PORT"), "{url}: {refused}");
        }
    }

    #[test]
    fn a_name_or_a_password_is_refused_without_being_told() {
        for url in ["http://me:hush@a:1", "https://hush@a", "me:hush@a:1", "http://me:hush@"] {
            let refused = Address::url(url, None).unwrap_err();

            assert!(refused.contains("before an `@`") && !refused.contains("hush"), "{refused}");
        }
        assert_eq!(names_nobody("--url", "http://a/v1/kv/me@b"), Ok(()));
    }

    #[test]
    fn ports_are_those_of_the_scheme() {
        for (url, shown) in [
            ("http://a", "http://a:80"),
            ("https://a", "https://a:443"),
            ("https://[::1]:8200/", "https://[::1]:8200"),
        ] {
            assert_eq!(Address::url(url, None).unwrap().to_string(), shown);
        }
    }
}
