//! How do callers reach the servers: by address, with TLS, or through a unix socket?

use std::cell::Cell;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::At;
use super::{free_port, ground};
use crate::scenario::Transport;
use crate::wire::Address;

/// The name in the certificate.
const HOST: &str = "127.0.0.1";

/// What callers and servers of one target have agreed on.
pub(super) struct Edge {
    transport: Transport,
    /// Of sockets, and of the certificate.
    home: TempDir,
    places: Cell<u32>,
}

impl Edge {
    /// With TLS, with a certificate of its own.
    pub(super) fn new(transport: Transport) -> Result<Self, String> {
        let home = ground::directory()?;
        if transport == Transport::Tls {
            certify(&home)?;
        }
        Ok(Self { transport, home, places: Cell::new(0) })
    }

    /// A place where nobody listens yet.
    pub(super) fn place(&self) -> Result<At, String> {
        if self.transport != Transport::Unix {
            return free_port().map(At::Port);
        }
        let number = self.places.get();
        self.places.set(number + 1);
        Ok(At::Socket(self.home.path().join(format!("{number}.sock"))))
    }

    /// The same for who connects there.
    pub(super) fn address(&self, at: &At) -> Result<Address, String> {
        match at {
            At::Socket(path) => Ok(Address::unix(path)),
            At::Port(port) if self.tls() => {
                Address::url(&format!("https://{HOST}:{port}"), Some(&self.certificate_file()))
            }
            At::Port(port) => Address::url(&format!("http://{HOST}:{port}"), None),
        }
    }

    fn certificate_file(&self) -> PathBuf {
        self.home.path().join("certificate.pem")
    }

    fn key_file(&self) -> PathBuf {
        self.home.path().join("key.pem")
    }

    fn tls(&self) -> bool {
        self.transport == Transport::Tls
    }

    /// An entry of vaultlet's `listeners`.
    pub(super) fn vaultlet(&self, at: &At) -> Value {
        match at {
            At::Socket(path) => json!({"unix": path}),
            At::Port(port) if self.tls() => json!({
                "address": format!("127.0.0.1:{port}"),
                "tls": {"cert_file": self.certificate_file(), "key_file": self.key_file()},
            }),
            At::Port(port) => json!({"address": format!("127.0.0.1:{port}")}),
        }
    }

    /// A `listener` of OpenBao or of its proxy.
    pub(super) fn openbao(&self, at: &At) -> String {
        match at {
            At::Socket(path) => format!(
                "listener \"unix\" {{\n  address = \"{}\"\n  tls_disable = true\n}}\n",
                path.display()
            ),
            At::Port(port) if self.tls() => format!(
                "listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_cert_file = \"{}\"\n  \
                 tls_key_file = \"{}\"\n  cluster_address = \"127.0.0.1:0\"\n}}\n",
                self.certificate_file().display(),
                self.key_file().display(),
            ),
            At::Port(port) => format!(
                "listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n  \
                 cluster_address = \"127.0.0.1:0\"\n}}\n"
            ),
        }
    }

    /// What an nginx `server` listens on.
    pub(super) fn nginx(&self, at: &At) -> String {
        match at {
            At::Socket(path) => format!("listen unix:{};", path.display()),
            At::Port(port) if self.tls() => format!(
                "listen 127.0.0.1:{port} ssl;\n    ssl_certificate {};\n    \
                 ssl_certificate_key {};",
                self.certificate_file().display(),
                self.key_file().display(),
            ),
            At::Port(port) => format!("listen 127.0.0.1:{port};"),
        }
    }

    /// Arguments of the bare server.
    pub(super) fn bare(&self, at: &At) -> Vec<String> {
        let file = |path: PathBuf| path.display().to_string();
        match at {
            At::Socket(path) => vec!["--unix".to_owned(), file(path.clone())],
            At::Port(port) => {
                let mut arguments = vec!["--listen".to_owned(), format!("127.0.0.1:{port}")];
                if self.tls() {
                    arguments.extend(["--cert".to_owned(), file(self.certificate_file())]);
                    arguments.extend(["--key".to_owned(), file(self.key_file())]);
                }
                arguments
            }
        }
    }
}

/// A certificate for [`HOST`] that is its own authority.
fn certify(home: &TempDir) -> Result<(), String> {
    let problem = |e: &dyn std::fmt::Display| format!("no certificate can be made: {e}");
    let made =
        rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).map_err(|e| problem(&e))?;
    for (name, text) in
        [("certificate.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())]
    {
        std::fs::write(home.path().join(name), text).map_err(|e| problem(&e))?;
    }
    Ok(())
}
