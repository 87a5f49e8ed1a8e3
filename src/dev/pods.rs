//! Which pods run here? Those of two teams, each with the token of its service account in a file.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::issuer::{Issuer, ServiceAccount};
use crate::config::{Kubernetes, KubernetesLogin};

/// Reads, in several pods.
pub(super) const API: ServiceAccount = account("payments", "api", "payments-read");
/// Writes what it reads.
pub(super) const WORKER: ServiceAccount = account("payments", "worker", "payments-write");
/// Another team's, which may read nothing of theirs.
pub(super) const SHOP: ServiceAccount = account("web", "shop", "no-access");

/// The cluster and its pods. Not `Debug`: it holds tokens.
pub(super) struct Pods {
    pub(super) issuer: Issuer,
    /// Path of the server's auth method, below `auth/`.
    pub(super) mount: &'static str,
    pub(super) api: [Pod; 3],
    pub(super) worker: Pod,
    pub(super) shop: Pod,
    directory: Directory,
}

/// A pod, as far as it asks for secrets.
pub(super) struct Pod {
    pub(super) token: Zeroizing<String>,
    /// Where the token is.
    pub(super) file: PathBuf,
}

/// Removed when dropped.
struct Directory(PathBuf);

impl Pods {
    /// Starts the issuer and writes the pods' tokens. `mount`: where the server takes them.
    ///
    /// # Errors
    /// No port is free, or nothing can be written to the directory for temporary files.
    pub(super) async fn start(mount: &'static str) -> Result<Self, String> {
        let issuer = Issuer::start().await?;
        let directory = Directory::new()?;
        let pod = |account, name| Pod::new(&issuer, &directory, account, name);
        Ok(Self {
            mount,
            api: [pod(&API, "api-1")?, pod(&API, "api-2")?, pod(&API, "api-3")?],
            worker: pod(&WORKER, "worker-1")?,
            shop: pod(&SHOP, "shop-1")?,
            issuer,
            directory,
        })
    }

    /// What the proxy has to know of them. `namespace`: the Vault namespace of the auth method.
    pub(super) fn settings(&self, namespace: &str) -> Kubernetes {
        self.issuer.settings(KubernetesLogin {
            namespace: namespace.to_owned(),
            mount: self.mount.to_owned(),
            role: "{namespace}-{service_account}".to_owned(),
            rules: Vec::new(),
        })
    }

    /// Where the tokens are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory.0
    }
}

impl Pod {
    fn new(
        issuer: &Issuer,
        Directory(directory): &Directory,
        account: &ServiceAccount,
        name: &str,
    ) -> Result<Self, String> {
        let token = issuer.token(account, name)?;
        let file = directory.join(format!("{}-{name}", account.namespace));
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
        let written = opened.and_then(|mut opened| opened.write_all(token.as_bytes()));
        written.map_err(|error| unwritable(&file, &error))?;
        Ok(Self { token, file })
    }
}

impl Directory {
    /// A new one, which nobody else may read.
    fn new() -> Result<Self, String> {
        let name = format!("vaultlet-dev-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        // Fails if it is there already, whoever made it.
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| unwritable(&path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Its tokens mean nothing any more: their issuer has ended.
        drop(fs::remove_dir_all(&self.0));
    }
}

const fn account(
    namespace: &'static str,
    name: &'static str,
    policy: &'static str,
) -> ServiceAccount {
    ServiceAccount { namespace, name, policy }
}

fn unwritable(path: &Path, error: &std::io::Error) -> String {
    format!(
        "the pods' tokens cannot be written to {}: {error}; name another directory with TMPDIR",
        path.display()
    )
}
