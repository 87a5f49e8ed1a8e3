//! How does the server come to take the tokens of the sample service accounts?
//!
//! By an auth method of the kind that clusters use, with a role for each of them.

use std::time::Duration;

use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;
use vaultrs::api::auth::kubernetes::requests::{
    ConfigureKubernetesAuthRequest, CreateKubernetesRoleRequest,
};
use vaultrs::api::sys::requests::EnableAuthRequest;
use vaultrs::error::ClientError;
use vaultrs::{auth, sys, token};
use zeroize::Zeroizing;

use super::{MADE_BY, Samples, describe, refused};
use crate::dev::issuer::{AUDIENCE, ServiceAccount};
use crate::dev::pods::{API, Pods, SHOP, WORKER};

/// The server wants to be told one; over plain HTTP it is never asked for.
const NO_AUTHORITY: &str = "none: the issuer speaks plain HTTP";

/// How long a login lasts unless it is renewed.
const LIFE: Duration = Duration::from_hours(1);

impl Samples {
    /// The path of the auth method, below `auth/`: the usual one, or one that is nobody else's.
    pub(in crate::dev) fn mount(&self) -> &'static str {
        if self.own { "kubernetes" } else { "vaultlet-dev" }
    }

    /// Lets the pods' service accounts log in; again as often as one likes. The inner result says
    /// whether the server can ask their issuer: one that is elsewhere cannot.
    ///
    /// # Errors
    /// The server refuses, or what is there is somebody else's.
    pub(in crate::dev) async fn admit(&self, pods: &Pods) -> Result<Result<(), String>, String> {
        let admitted = async {
            self.auth_method(pods).await?;
            for account in [API, WORKER, SHOP] {
                self.role(&account).await?;
            }
            match self.try_login(pods).await {
                Ok(()) => Ok(Ok(())),
                Err(error) if self.own => Err(refused("the login of a service account", &error)),
                Err(error) => {
                    let disabled = sys::auth::disable(&self.client, self.mount()).await;
                    disabled.map_err(|error| refused("the auth method", &error))?;
                    Ok(Err(describe(&error)))
                }
            }
        };
        admitted.with_subscriber(NoSubscriber::default()).await
    }

    async fn auth_method(&self, pods: &Pods) -> Result<(), String> {
        let mount = self.mount();
        let what = |error| refused(&format!("auth method auth/{mount}"), &error);
        let there = sys::auth::list(&self.client).await.map_err(what)?;
        match there.get(&format!("{mount}/")) {
            Some(there) if there.description == MADE_BY => (),
            Some(_) => {
                return Err(format!(
                    "the server has an auth method auth/{mount} that `vaultlet dev` has not made, \
                     and would write over; use another server, or start one by leaving --upstream \
                     out"
                ));
            }
            None => {
                let mut request = EnableAuthRequest::builder();
                request.description(MADE_BY);
                let enabled =
                    sys::auth::enable(&self.client, mount, "kubernetes", Some(&mut request)).await;
                enabled.map_err(what)?;
            }
        }
        let mut request = ConfigureKubernetesAuthRequest::builder();
        // The key as well: whoever listens at the issuer's address after us vouches for nobody.
        request
            .pem_keys(vec![pods.issuer.key()?])
            .kubernetes_ca_cert(NO_AUTHORITY)
            .disable_local_ca_jwt(true);
        let uri = pods.issuer.uri();
        let configured =
            auth::kubernetes::configure(&self.client, mount, &uri, Some(&mut request)).await;
        configured.map_err(what)
    }

    async fn role(&self, account: &ServiceAccount) -> Result<(), String> {
        let ServiceAccount { namespace, name, policy } = *account;
        let role = role(account);
        let mut request = CreateKubernetesRoleRequest::builder();
        request
            .bound_service_account_namespaces(vec![namespace.to_owned()])
            .bound_service_account_names(vec![name.to_owned()])
            .audience(AUDIENCE)
            .token_ttl(format!("{}s", LIFE.as_secs()))
            .token_policies(vec![policy.to_owned()]);
        let made =
            auth::kubernetes::role::create(&self.client, self.mount(), &role, Some(&mut request));
        made.await.map_err(|error| refused(&format!("role {role}"), &error))
    }

    /// Whether the server reaches the issuer: it logs a pod in.
    async fn try_login(&self, pods: &Pods) -> Result<(), ClientError> {
        let (mount, jwt) = (self.mount(), &pods.shop.token);
        let made = auth::kubernetes::login(&self.client, mount, &role(&SHOP), jwt).await?;
        let made = Zeroizing::new(made.client_token);
        token::revoke(&self.client, &made).await
    }
}

/// The role of a service account, as vaultlet finds it unless it is told otherwise.
fn role(account: &ServiceAccount) -> String {
    format!("{}-{}", account.namespace, account.name)
}
