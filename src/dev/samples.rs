//! What the server is filled with: secrets, policies and callers that a tour can be made of.

use std::collections::HashMap;
use std::error::Error as _;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;
use vaultrs::api::auth::userpass::requests::CreateUserRequest;
use vaultrs::api::sys::requests::EnableEngineRequestBuilder;
use vaultrs::api::token::requests::CreateTokenRequest;
use vaultrs::client::{VaultClient, VaultClientSettingsBuilder};
use vaultrs::error::ClientError;
use vaultrs::{auth, kv1, kv2, sys, token};
use zeroize::Zeroizing;

use crate::config;

mod accounts;

/// The secret that the callers read, in a KV v2 mount.
pub(super) const SECRET: &str = "secret/data/payments/db";
/// The same in a KV v1 mount.
pub(super) const LEGACY: &str = "legacy/payments/smtp";
/// A secret beside it that the tour leaves alone: what nobody has read is not cached.
pub(super) const UNREAD: &str = "secret/data/payments/card-processor";
/// What the pods of service accounts read.
pub(super) const PODS_SECRET: &str = "secret/data/payments/api";
/// What [`SECRET`] and the others beside it hold at first.
pub(super) const PASSWORD: &str = "first-value";
/// Whom a password lets in, on a server that is started here.
pub(super) const USER: &str = "dana";

/// Says whose a secret is, so that nobody else's is written over.
const MADE_BY: &str = "vaultlet dev";

const POLICIES: [(&str, &str); 3] = [
    (
        "payments-read",
        r#"# Made by vaultlet dev.
path "secret/data/payments/*" { capabilities = ["read"] }
path "secret/metadata/payments/*" { capabilities = ["read", "list"] }
path "legacy/payments/*" { capabilities = ["read", "list"] }
"#,
    ),
    (
        "payments-write",
        r#"# Made by vaultlet dev.
path "secret/data/payments/*" { capabilities = ["create", "read", "update", "patch"] }
path "legacy/payments/*" { capabilities = ["create", "read", "update"] }
"#,
    ),
    (
        "no-access",
        r#"# Made by vaultlet dev. Reads, but nothing of payments.
path "secret/data/public/*" { capabilities = ["read"] }
"#,
    ),
];

/// The server, as the one who fills it.
pub(super) struct Samples {
    client: VaultClient,
    /// Nobody else uses the server, and it forgets everything when it ends.
    own: bool,
}

/// The callers' tokens. Not `Debug`.
pub(super) struct Tokens {
    /// Two pods whose tokens have one policy.
    pub(super) pods: [Zeroizing<String>; 2],
    /// May write what they read.
    pub(super) writer: Zeroizing<String>,
    /// May not read it.
    pub(super) intern: Zeroizing<String>,
    /// The password of [`USER`], where there is one.
    pub(super) user: Option<&'static str>,
}

impl Samples {
    /// # Errors
    /// The address or token cannot be used.
    pub(super) fn new(upstream: &config::Upstream, root: &str, own: bool) -> Result<Self, String> {
        // vaultrs panics on these, and takes what is not set here from VAULT_* by rules of its own.
        if !root.trim().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("--token has characters that no Vault token has".to_owned());
        }
        let namespace = Some(upstream.namespace.clone()).filter(|name| !name.is_empty());
        let authorities = upstream.ca_file.iter().map(|file| file.display().to_string());
        let settings = VaultClientSettingsBuilder::default()
            .address(upstream.addresses[0].to_string())
            .token(root.trim())
            .namespace(namespace)
            .ca_certs(authorities.collect())
            .identity(None)
            .timeout(Some(Duration::from_secs(30)))
            .verify(!upstream.tls_skip_verify)
            .build()
            .map_err(|error| format!("the server cannot be talked to: {error}"))?;
        let client = VaultClient::new(settings).map_err(|error| describe(&error))?;
        Ok(Self { client, own })
    }

    /// Writes everything; again as often as one likes.
    ///
    /// # Errors
    /// The server refuses, or what is there is somebody else's.
    pub(super) async fn fill(&self) -> Result<Tokens, String> {
        // vaultrs logs at `error` what is returned here, and at `debug` more than anybody should.
        let filled = async {
            if !self.own {
                self.leave_others_alone().await?;
            }
            self.mounts().await?;
            for (name, rules) in POLICIES {
                let set = sys::policy::set(&self.client, name, rules).await;
                set.map_err(|error| refused(&format!("policy {name}"), &error))?;
            }
            self.secrets().await?;
            self.callers().await
        };
        filled.with_subscriber(NoSubscriber::default()).await
    }

    async fn mounts(&self) -> Result<(), String> {
        let there = sys::mount::list(&self.client).await;
        let there = there.map_err(|error| refused("the list of mounts", &error))?;
        for (path, version) in [("secret", "2"), ("legacy", "1")] {
            if let Some(mount) = there.get(&format!("{path}/")) {
                let options = mount.options.as_ref().and_then(|options| options.get("version"));
                if mount.mount_type != "kv" || options.map_or("1", String::as_str) != version {
                    return Err(format!(
                        "the server's mount {path}/ is not a KV version {version} mount, which the \
                         samples need; use another server, or start one by leaving --upstream out"
                    ));
                }
                continue;
            }
            let options = HashMap::from([("version".to_owned(), version.to_owned())]);
            let mut request = EnableEngineRequestBuilder::default();
            let enabled =
                sys::mount::enable(&self.client, path, "kv", Some(request.options(options))).await;
            enabled.map_err(|error| refused(&format!("mount {path}/"), &error))?;
        }
        Ok(())
    }

    async fn secrets(&self) -> Result<(), String> {
        let begun = Instant::now();
        for path in [SECRET, UNREAD, PODS_SECRET] {
            let (mount, path) = path.split_once("/data/").unwrap_or_default();
            // A KV v2 mount that is new upgrades itself first, and refuses meanwhile.
            while let Err(error) = kv2::set(&self.client, mount, path, &sample(PASSWORD)).await {
                if !upgrading(&error) || begun.elapsed() > Duration::from_secs(15) {
                    return Err(refused(&format!("secret {mount}/{path}"), &error));
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
        let (mount, path) = LEGACY.split_once('/').unwrap_or_default();
        let data = HashMap::from([("password", "of-the-mail-server"), ("made_by", MADE_BY)]);
        let set = kv1::set(&self.client, mount, path, &data).await;
        set.map_err(|error| refused(&format!("secret {LEGACY}"), &error))
    }

    /// On a server of our own the tokens are their names, so that what was printed stays true when
    /// it is started again. On another one nobody may guess them, and they last an hour.
    async fn callers(&self) -> Result<Tokens, String> {
        let user = if self.own { Some(self.user().await?) } else { None };
        Ok(Tokens {
            pods: [
                self.token("pod-a", "payments-read").await?,
                self.token("pod-b", "payments-read").await?,
            ],
            writer: self.token("writer", "payments-write").await?,
            intern: self.token("intern", "no-access").await?,
            user,
        })
    }

    async fn token(&self, name: &str, policy: &str) -> Result<Zeroizing<String>, String> {
        let mut request = CreateTokenRequest::builder();
        request.display_name(name).policies(vec![policy.to_owned()]);
        if self.own {
            request.id(name).ttl("24h");
        } else {
            request.ttl("1h");
        }
        let made = token::new(&self.client, Some(&mut request)).await;
        let made = made.map_err(|error| refused(&format!("token {name}"), &error))?;
        Ok(Zeroizing::new(made.client_token))
    }

    async fn user(&self) -> Result<&'static str, String> {
        const PASSWORD: &str = "dana-password";

        let what = |error| refused(&format!("user {USER}"), &error);
        sys::auth::enable(&self.client, "userpass", "userpass", None).await.map_err(what)?;
        let mut request = CreateUserRequest::builder();
        request.token_policies(vec!["payments-read".to_owned()]);
        let (client, request) = (&self.client, Some(&mut request));
        auth::userpass::user::set(client, "userpass", USER, PASSWORD, request)
            .await
            .map_err(what)?;
        Ok(PASSWORD)
    }

    /// That a policy or secret of our names is ours.
    async fn leave_others_alone(&self) -> Result<(), String> {
        let theirs = |what: &str| {
            Err(format!(
                "the server has a {what} that `vaultlet dev` has not made, and would write over; \
                 use another server, or start one by leaving --upstream out"
            ))
        };
        for (name, rules) in POLICIES {
            let there = sys::policy::read(&self.client, name).await;
            let there =
                absent(there).map_err(|error| refused(&format!("policy {name}"), &error))?;
            if there.is_some_and(|there| there.rules.trim() != rules.trim()) {
                return theirs(&format!("policy {name}"));
            }
        }
        for path in [SECRET, UNREAD, PODS_SECRET, LEGACY] {
            let there: Result<Value, _> = if let Some((mount, path)) = path.split_once("/data/") {
                kv2::read(&self.client, mount, path).await
            } else {
                let (mount, path) = path.split_once('/').unwrap_or_default();
                kv1::get(&self.client, mount, path).await
            };
            let there =
                absent(there).map_err(|error| refused(&format!("secret {path}"), &error))?;
            if there.is_some_and(|there| there["made_by"] != MADE_BY) {
                return theirs(&format!("secret {path}"));
            }
        }
        Ok(())
    }
}

/// What a sample holds.
pub(super) fn sample(password: &str) -> Value {
    json!({ "username": "payments", "password": password, "made_by": MADE_BY })
}

fn absent<T>(read: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match read {
        Ok(there) => Ok(Some(there)),
        Err(ClientError::APIError { code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn upgrading(error: &ClientError) -> bool {
    matches!(error, ClientError::APIError { code: 400, errors }
        if errors.iter().any(|error| error.contains("Upgrading")))
}

fn refused(what: &str, error: &ClientError) -> String {
    format!("the server cannot be filled with samples, at {what}: {}", describe(error))
}

/// With the server's own words, or with what is at the bottom of it.
fn describe(error: &ClientError) -> String {
    if let ClientError::APIError { code, errors } = error {
        return format!("it answered {code}: {}", errors.join("; "));
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
