//! What does a pod show for itself, where that is a service-account token?

use std::time::Duration;

use serde_json::Value;
use vaultlet::dev::Key;
use zeroize::Zeroizing;

use crate::cluster::Cluster;

/// Whose the service-account tokens are. Nobody is asked there: the key is in a file.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc";

/// The namespace of all service accounts.
pub(crate) const NAMESPACE: &str = "world";

/// The key of the cluster's service accounts. Not `Debug`.
pub(crate) struct Passes {
    key: Key,
    /// Of each token.
    life: Duration,
}

impl Passes {
    /// With a new key. Tokens should live longer than what is played with them.
    pub(crate) fn new(life: Duration) -> Result<Self, String> {
        Ok(Self { key: Key::new()?, life })
    }

    /// The public half, as vaultlet takes it.
    pub(crate) fn jwks(&self) -> Value {
        self.key.published()
    }

    /// The same, as OpenBao takes it.
    pub(crate) fn pem(&self) -> Result<String, String> {
        self.key.pem()
    }

    /// The service-account token of a pod.
    pub(crate) fn token(&self, cluster: &Cluster, pod: u32) -> Result<Zeroizing<String>, String> {
        let account = cluster.account_name(cluster.pods[pod as usize].account);
        let whose = (NAMESPACE, account.as_str());
        let claims = self.key.claims(ISSUER, whose, &format!("pod-{pod}"), self.life);
        self.key.sign(&claims)
    }
}
