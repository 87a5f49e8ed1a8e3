//! What does a pod show for itself?

use std::time::Duration;

use serde_json::{Value, json};
use vaultlet::dev::{AUDIENCE, Key};
use zeroize::Zeroizing;

use super::api::Ask;
use crate::cluster::Cluster;

/// Whose the service-account tokens are. Nobody is asked there: the key is in a file.
pub(super) const ISSUER: &str = "https://kubernetes.default.svc";

/// The namespace of all service accounts.
const NAMESPACE: &str = "world";

/// Longer than any run.
const LIFE: Duration = Duration::from_hours(24);

/// The key of the cluster's service accounts. Not `Debug`.
pub(super) struct Passes {
    key: Key,
}

impl Passes {
    pub(super) fn new() -> Result<Self, String> {
        Ok(Self { key: Key::new()? })
    }

    /// The public half, as vaultlet takes it.
    pub(super) fn jwks(&self) -> Value {
        self.key.published()
    }

    /// The service-account token of a pod.
    pub(super) fn token(&self, cluster: &Cluster, pod: u32) -> Result<Zeroizing<String>, String> {
        let account = cluster.account_name(cluster.pods[pod as usize].account);
        let claims = self.key.claims(ISSUER, (NAMESPACE, &account), &format!("pod-{pod}"), LIFE);
        self.key.sign(&claims)
    }

    /// Where they log in: `auth/jwt` with this key.
    pub(super) fn method(&self) -> Result<Ask, String> {
        let keys = json!({"jwt_validation_pubkeys": [self.key.pem()?], "bound_issuer": ISSUER});
        Ok(Ask::write("auth/jwt/config", keys))
    }

    /// The role of one service account, which has its name, as its policy does.
    pub(super) fn role(account: &str, token_ttl: Duration) -> Ask {
        let role = json!({
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": [AUDIENCE],
            "bound_subject": format!("system:serviceaccount:{NAMESPACE}:{account}"),
            "token_policies": [account],
            "token_ttl": token_ttl.as_secs(),
        });
        Ask::write(format!("auth/jwt/role/{account}"), role)
    }
}
