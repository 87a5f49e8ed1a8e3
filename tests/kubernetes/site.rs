//! What do these tests start from? A cluster, an OpenBao that trusts it, and vaultlet before both.

use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::bao::Bao;
use crate::client::{Answer, Call, Client};
use crate::vaultlet::{Vaultlet, merge};
use crate::world::{policy, put};

/// `aud` of the tokens that pods bring.
pub const AUDIENCE: &str = "vault";

/// In namespace `shop`: service account `app`, which may read `secret/shop/*`, with the pods
/// `app-1` and `app-2`; and service account `other`, which may read nothing, with pod `other-1`.
pub struct Site {
    pub api: ApiServer,
    pub bao: Bao,
}

impl Site {
    pub async fn new() -> Self {
        let (api, bao) = tokio::join!(ApiServer::start(), Bao::dev());
        api.namespace("shop").await;
        for (account, pods) in [("app", &["app-1", "app-2"][..]), ("other", &["other-1"])] {
            api.service_account("shop", account).await;
            for pod in pods {
                api.pod("shop", pod, account).await;
            }
        }
        api.namespace("vault").await;
        let site = Self { api, bao };
        site.configure_bao().await;
        site
    }

    /// As an administrator would: a reviewer of its own, and a role for each account.
    async fn configure_bao(&self) {
        let root = self.bao.root();
        policy(&root, "shop", r#"path "secret/data/shop/*" { capabilities = ["read"] }"#).await;
        put(&root, "shop/db", "one").await.expect(200);
        put(&root, "shop/api", "two").await.expect(200);
        root.post("sys/auth/kubernetes", json!({"type": "kubernetes"})).await.expect(204);
        let config = json!({
            "kubernetes_host": self.api.address(),
            "kubernetes_ca_cert": std::fs::read_to_string(self.api.ca_file()).unwrap(),
            "token_reviewer_jwt": self.api.reviewer("vault", "openbao").await,
            "disable_local_ca_jwt": true,
        });
        root.post("auth/kubernetes/config", config).await.expect(204);
        self.role("app", json!({"token_policies": ["shop"]})).await;
        self.role("other", json!({"token_policies": []})).await;
    }

    /// Writes the role `shop-ACCOUNT`; `settings` is laid over what the roles have in common.
    pub async fn role(&self, account: &str, settings: Value) {
        let mut role = json!({
            "bound_service_account_names": account,
            "bound_service_account_namespaces": "shop",
            "audience": AUDIENCE,
            "token_ttl": "5m",
        });
        merge(&mut role, settings);
        let path = format!("auth/kubernetes/role/shop-{account}");
        self.bao.root().post(&path, role).await.expect(204);
    }

    /// vaultlet with a service account of its own, which may review; `settings` is laid over that.
    pub async fn vaultlet(&self, settings: Value) -> Vaultlet {
        let address = format!("{}/openid/v1/jwks", self.api.address());
        let mut all = json!({"auth": {"kubernetes": {"jwks": {"url": address}}}});
        merge(&mut all, settings);
        self.vaultlet_by_discovery(all).await
    }

    /// The same, told the issuer only.
    pub async fn vaultlet_by_discovery(&self, settings: Value) -> Vaultlet {
        let token_file = self.api.home().join("vaultlet.token");
        std::fs::write(&token_file, self.api.reviewer("vault", "vaultlet").await).unwrap();
        let (address, ca_file) = (self.api.address(), self.api.ca_file());
        let mut all = json!({"auth": {"kubernetes": {
            "issuer": address,
            "audiences": [AUDIENCE],
            "jwks": {"ca_file": ca_file, "token_file": token_file},
            "token_review": {"address": address, "ca_file": ca_file, "token_file": token_file},
        }}});
        merge(&mut all, settings);
        Vaultlet::start(&self.bao.address(), all).await
    }

    /// The token of one of the site's pods, for vaultlet.
    pub async fn token(&self, pod: &str) -> String {
        self.api.pod_token("shop", pod, AUDIENCE).await
    }

    /// How many logins OpenBao has given out with this auth method and that still live.
    pub async fn logins(&self) -> usize {
        let list = Call::new("LIST", "sys/leases/lookup/auth/kubernetes/login");
        let answer = self.bao.root().send(&list).await;
        if answer.status == 404 {
            return 0;
        }
        answer.expect(200).json()["data"]["keys"].as_array().unwrap().len()
    }
}

/// Asks with a JWT as programs do that know Kubernetes and not Vault.
pub fn bearer(path: &str, token: &str) -> Call {
    Call::get(path).with("authorization", &format!("Bearer {token}"))
}

/// An unmodified application's login, wherever this client leads.
pub async fn log_in(client: &Client, role: &str, token: &str) -> Answer {
    client.post("auth/kubernetes/login", json!({"role": role, "jwt": token})).await
}

/// The token of a login's answer.
#[track_caller]
pub fn client_token(login: Answer) -> String {
    login.expect(200).json()["auth"]["client_token"].as_str().unwrap().to_owned()
}
