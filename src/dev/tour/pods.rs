//! What does a pod need? The token of its service account, and no login of its own: the steps that
//! show it, by the proxy's own count of the logins it makes.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use serde_json::json;

use super::{Against, MANY, at, claim, line, many, note, refused, served};
use crate::dev::caller::{Caller, Seen};
use crate::dev::pods::Pods;
use crate::dev::samples::{PASSWORD, PODS_SECRET};
use crate::dial;
use crate::error::BoxError;

/// The pods, each with a connection of its own.
pub(super) struct PodCallers {
    api: [Caller; 2],
    shop: Caller,
    /// Logs in as it would without vaultlet.
    application: Caller,
    /// What it logs in with, and where.
    login: (serde_json::Value, String),
    /// Where the proxy's counts are.
    admin: SocketAddr,
}

impl PodCallers {
    pub(super) fn new(pods: &Pods, front: SocketAddr, admin: SocketAddr) -> Self {
        let caller = |name, token: &str| Caller::new(name, token, front);
        let body = json!({ "role": "payments-api", "jwt": &*pods.api[2].token });
        Self {
            api: [caller("api-1", &pods.api[0].token), caller("api-2", &pods.api[1].token)],
            shop: caller("shop-1", &pods.shop.token),
            application: caller("api-3", ""),
            login: (body, format!("auth/{}/login", pods.mount)),
            admin,
        }
    }

    /// So that no timing includes a connection's beginning. Without a credential: one that is
    /// presented here would be logged in here.
    pub(super) async fn connect(&mut self) -> Result<(), String> {
        let [first, second] = &mut self.api;
        for caller in [first, second, &mut self.shop, &mut self.application] {
            caller.connect_first().await?;
        }
        Ok(())
    }

    pub(super) async fn two_pods(&mut self) -> Result<Against, String> {
        let before = self.logins().await?;
        let [first, second] = &mut self.api;
        let seen = shown(first).await?;
        let mut against = served(&seen, PASSWORD);
        claim(&mut against, !seen.hit() && seen.cache.is_some(), "a miss", &seen);
        let seen = shown(second).await?;
        against.extend(served(&seen, PASSWORD));
        claim(&mut against, seen.hit(), "a hit", &seen);

        let right = |seen: &Seen| seen.hit() && served(seen, PASSWORD).is_empty();
        let (times, other) = many(second, PODS_SECRET, right).await?;
        let other = other.as_ref().map_or("", String::as_str);
        claim(&mut against, other.is_empty(), "hits only", other);
        note(format_args!("{MANY} more: median {} us", at(&times, 50)))?;
        let made = self.logins().await? - before;
        note(format_args!("logins upstream for both pods: {made}"))?;
        claim(&mut against, made == 1, "one login upstream", made);
        Ok(against)
    }

    pub(super) async fn other_team(&mut self) -> Result<Against, String> {
        let seen = shown(&mut self.shop).await?;
        let mut against = refused(&seen);
        claim(&mut against, seen.status == StatusCode::FORBIDDEN, "403", &seen);
        Ok(against)
    }

    pub(super) async fn unmodified(&mut self) -> Result<Against, String> {
        let before = self.logins().await?;
        let (application, (body, path)) = (&mut self.application, &self.login);
        let seen = application.write(path, body).await?;
        line(application.name, "logs in", &seen)?;
        let mut against = Against::new();
        let token = seen.body["auth"]["client_token"].as_str().unwrap_or_default();
        claim(&mut against, token.starts_with("vlt."), "a token of vaultlet's own", &seen);
        application.present(token);

        let seen = shown(application).await?;
        against.extend(served(&seen, PASSWORD));
        claim(&mut against, seen.hit(), "a hit", &seen);
        let seen = application.write("auth/token/revoke-self", &json!({})).await?;
        line(application.name, "revokes its token", &seen)?;
        claim(&mut against, seen.status == StatusCode::NO_CONTENT, "204", &seen);
        let seen = shown(application).await?;
        against.extend(refused(&seen));
        claim(&mut against, seen.status == StatusCode::FORBIDDEN, "403", &seen);

        let seen = shown(&mut self.api[0]).await?;
        against.extend(served(&seen, PASSWORD));
        let made = self.logins().await? - before;
        note(format_args!("logins upstream for all of this: {made}"))?;
        claim(&mut against, made == 0, "no login upstream", made);
        Ok(against)
    }

    /// With the server away.
    pub(super) async fn without_server(&mut self) -> Result<Against, String> {
        let seen = shown(&mut self.api[0]).await?;
        let mut against = served(&seen, PASSWORD);
        claim(&mut against, seen.hit(), "a hit", &seen);
        against.extend(refused(&shown(&mut self.shop).await?));
        Ok(against)
    }

    /// With another server in its place, which does not know the shared login.
    pub(super) async fn recovery(&mut self) -> Result<Seen, String> {
        self.api[0].read(PODS_SECRET).await
    }

    pub(super) fn recovered(&self, seen: &Seen) -> Result<(), String> {
        line(self.api[0].name, "reads, logged in anew", seen)
    }

    /// How often the proxy has logged a service account in.
    async fn logins(&self) -> Result<u64, String> {
        let metrics = metrics(self.admin).await;
        let metrics = metrics.map_err(|error| format!("the proxy's metrics: {error}"))?;
        Ok(count(&metrics))
    }
}

/// One read of [`PODS_SECRET`], as a line of the transcript.
async fn shown(caller: &mut Caller) -> Result<Seen, String> {
    let seen = caller.read(PODS_SECRET).await?;
    line(caller.name, "reads", &seen)?;
    Ok(seen)
}

async fn metrics(admin: SocketAddr) -> Result<Bytes, BoxError> {
    let admin = dial::reachable(admin);
    let mut connection = dial::connect(admin).await?;
    let request = Request::get("/metrics").header(HOST, admin.to_string()).body(Full::default())?;
    let answer = connection.send_request(request).await?;
    Ok(answer.into_body().collect().await?.to_bytes())
}

/// The logins upstream in the metrics, whatever came of them.
fn count(metrics: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(metrics);
    let logins = text.lines().filter(|line| {
        line.starts_with("vaultlet_upstream_requests_total{")
            && line.contains("operation=\"login\"")
    });
    logins.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_counted_whatever_came_of_them() {
        let metrics = b"# TYPE vaultlet_upstream_requests_total counter\n\
            vaultlet_upstream_requests_total{code=\"200\",operation=\"login\"} 3\n\
            vaultlet_upstream_requests_total{code=\"403\",operation=\"login\"} 2\n\
            vaultlet_upstream_requests_total{code=\"200\",operation=\"kv_read\"} 9\n\
            vaultlet_upstream_request_duration_seconds_sum{operation=\"login\"} 4\n";

        assert_eq!(count(metrics), 5);
        assert_eq!(count(b""), 0);
    }
}
