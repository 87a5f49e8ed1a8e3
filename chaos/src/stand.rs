//! What does a run stand on? An OpenBao with a world in it, the injector, and vaultlet.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use vaultlet_loadtest::{Api, Ask, OpenBao, on_path};

pub(crate) use vaultlet::Vaultlet;

use crate::fault::Injector;

mod vaultlet;

/// Everything that was started; all of it ends when this is dropped.
pub(crate) struct Stand {
    pub(crate) vaultlet: Vaultlet,
    pub(crate) injector: Injector,
    pub(crate) openbao: OpenBao,
    /// With the root token, past vaultlet and the injector.
    pub(crate) api: Api,
    values: AtomicU32,
}

impl Stand {
    /// With `settings` laid over the configuration that all runs share.
    pub(crate) async fn start(settings: &Value) -> Result<Self, String> {
        let bao = on_path("bao", "BAO_BIN", "`make tools` installs it in a clone of vaultlet")?;
        let openbao = OpenBao::create(&bao, None).await?;
        let mut api = openbao.api();
        let mount = json!({"type": "kv", "options": {"version": "2"}});
        api.ask(&Ask::write("sys/mounts/secret", mount)).await?;
        // The mount becomes one with versions after that was answered.
        api.insist(&Ask::write("secret/data/first", json!({"data": {"nonce": "first"}}))).await?;
        let upstream = openbao.authority().parse();
        let injector = Injector::start(upstream.map_err(|e| format!("no address: {e}"))?)?;
        let vaultlet = Vaultlet::start(&injector.url(), settings).await?;
        Ok(Self { vaultlet, injector, openbao, api, values: AtomicU32::new(0) })
    }

    /// A policy of this name.
    pub(crate) async fn policy(&mut self, name: &str, rules: &str) -> Result<(), String> {
        let ask = Ask::write(format!("sys/policies/acl/{name}"), json!({"policy": rules}));
        self.api.ask(&ask).await.map(drop)
    }

    /// A token with these policies, that names itself when it is looked up.
    pub(crate) async fn token(&mut self, name: &str, policies: &[&str]) -> Result<Token, String> {
        let body = json!({"policies": policies, "meta": {"nonce": nonce(name)}, "no_parent": true});
        let made = self.api.ask(&Ask::write("auth/token/create", body)).await?;
        let token = made["auth"]["client_token"].as_str().unwrap_or_default().to_owned();
        Ok(Token { name: name.to_owned(), token })
    }

    /// Writes a secret that names its path.
    pub(crate) async fn put(&mut self, path: &str) -> Result<(), String> {
        let number = self.values.fetch_add(1, Ordering::Relaxed);
        let data = json!({"nonce": nonce(path), "number": number});
        let ask = Ask::write(format!("secret/data/{path}"), json!({"data": data}));
        self.api.ask(&ask).await.map(drop)
    }

    /// The file with vaultlet's audit records.
    pub(crate) fn audit(&self) -> PathBuf {
        self.vaultlet.home().join("audit.jsonl")
    }
}

/// A Vault token. Not `Debug`.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) name: String,
    pub(crate) token: String,
}

/// What stands in the value of `path`, and nowhere else.
pub(crate) fn nonce(path: &str) -> String {
    format!("[{path}]")
}
