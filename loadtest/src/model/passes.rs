//! What does a pod show for itself, where nobody but the model is asked?

use std::time::Duration;

use serde_json::Value;
use vaultlet::dev::Key;
use zeroize::Zeroizing;

use super::tokens::{Account, Tokens};
use crate::cluster::Cluster;
use crate::scenario::{Credential, Scenario};

/// Whose the service-account tokens are. Nobody is asked there: the key is in a file.
pub(super) const ISSUER: &str = "https://kubernetes.default.svc";

/// The namespace of all service accounts.
const NAMESPACE: &str = "world";

/// Longer than any scenario: these ends are of the wall clock, which a simulation outruns.
const LIFE: Duration = Duration::from_hours(24 * 365);

/// Tokens of pods live at least so long: nobody renews them.
const TOKEN_LIFE: Duration = Duration::from_hours(24);

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

    /// What each pod shows, which `tokens` takes.
    pub(super) fn all(
        &self,
        scenario: &Scenario,
        cluster: &Cluster,
        tokens: &mut Tokens,
    ) -> Result<Vec<Zeroizing<String>>, String> {
        let life = scenario.world.token_ttl.max(TOKEN_LIFE);
        let mut all = Vec::with_capacity(cluster.pods.len());
        for (number, pod) in cluster.pods.iter().enumerate() {
            let account = Account { name: cluster.account_name(pod.account), number: pod.account };
            all.push(match scenario.world.credential {
                Credential::Token => tokens.create(account, life),
                Credential::Login | Credential::ServiceAccount => {
                    let whose = (NAMESPACE, account.name.as_str());
                    let claims = self.key.claims(ISSUER, whose, &format!("pod-{number}"), LIFE);
                    let jwt = self.key.sign(&claims)?;
                    tokens.admit(&jwt, account);
                    jwt
                }
            });
        }
        Ok(all)
    }
}
