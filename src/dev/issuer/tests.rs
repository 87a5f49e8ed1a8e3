//! The issuer as the proxy sees it: its tokens through `kubernetes`, its reviews by hand.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{AUDIENCE, Issuer, ServiceAccount};
use crate::clock::Clock;
use crate::config::KubernetesLogin;
use crate::kubernetes::{Issuers, Refusal, Verified};
use crate::metrics::Metrics;
use crate::secret::Fingerprinter;

const API: ServiceAccount =
    ServiceAccount { namespace: "payments", name: "api", policy: "payments-read" };
const SHOP: ServiceAccount = ServiceAccount { namespace: "web", name: "shop", policy: "no-access" };

/// What the proxy makes of a token, with the settings that the issuer gives it.
async fn verified(issuer: &Issuer, token: &str) -> Result<Arc<Verified>, Refusal> {
    let login = KubernetesLogin {
        namespace: String::new(),
        mount: "kubernetes".to_owned(),
        role: "{namespace}-{service_account}".to_owned(),
        rules: Vec::new(),
    };
    let settings = [issuer.settings(login)];
    let metrics = Arc::new(Metrics::new().unwrap());
    let window = Duration::from_mins(1);
    let issuers = Arc::new(Issuers::new(&settings, window, Clock::default(), metrics).unwrap());
    let own = Fingerprinter::new().unwrap().of(token.as_bytes());
    issuers.verify(token.as_bytes(), own).await
}

fn reviewed(issuer: &Issuer, token: &str, audience: &str) -> Value {
    issuer.cluster.review(&json!({ "spec": { "token": token, "audiences": [audience] } }))
}

#[tokio::test]
async fn the_proxy_knows_pods_by_their_tokens() {
    let issuer = Issuer::start().await.unwrap();
    let [first, second] = ["api-1", "api-2"].map(|pod| issuer.token(&API, pod).unwrap());
    let other = issuer.token(&SHOP, "shop-1").unwrap();

    let first = verified(&issuer, &first).await.unwrap();
    let second = verified(&issuer, &second).await.unwrap();
    let other = verified(&issuer, &other).await.unwrap();

    assert_eq!((&*first.account.namespace, &*first.account.name), ("payments", "api"));
    assert_eq!(&*first.pod.as_ref().unwrap().name, "api-1");
    assert_eq!(first.account, second.account);
    assert_ne!(first.pod, second.pod);
    assert_eq!((&*other.account.namespace, &*other.account.name), ("web", "shop"));
    assert_ne!(other.account.uid, first.account.uid);
}

#[tokio::test]
async fn neither_side_knows_what_another_cluster_has_made() {
    let (ours, theirs) = (Issuer::start().await.unwrap(), Issuer::start().await.unwrap());
    let foreign = theirs.token(&API, "api-1").unwrap();
    // With our name in it, and a signature that is not ours.
    let claims = theirs.cluster.key.claims(
        &ours.uri(),
        (API.namespace, API.name),
        "api-1",
        Duration::from_hours(1),
    );
    let forged = theirs.cluster.key.sign(&claims).unwrap();
    // Signed with our key, and not made by us.
    let unknown = ours.cluster.key.sign(&claims).unwrap();

    let foreign = verified(&ours, &foreign).await;
    assert!(matches!(foreign, Err(Refusal::Foreign(_))), "{foreign:?}");
    for token in [&forged, &unknown] {
        let refused = verified(&ours, token).await;
        assert!(matches!(refused, Err(Refusal::Invalid(_))), "{refused:?}");
        assert_eq!(reviewed(&ours, token, AUDIENCE)["authenticated"], false);
    }
}

#[tokio::test]
async fn a_review_is_for_the_audience_of_the_token() {
    let issuer = Issuer::start().await.unwrap();
    let token = issuer.token(&API, "api-1").unwrap();

    let review = reviewed(&issuer, &token, AUDIENCE);
    assert_eq!(review["authenticated"], true);
    assert_eq!(review["user"]["username"], "system:serviceaccount:payments:api");
    assert_eq!(review["audiences"], json!([AUDIENCE]));
    assert_eq!(reviewed(&issuer, &token, "others")["authenticated"], false);
}

#[tokio::test]
async fn a_token_that_is_over_is_not_vouched_for() {
    let issuer = Issuer::start().await.unwrap();
    let token = issuer.token(&API, "api-1").unwrap();
    issuer.cluster.made.lock().unwrap()[0].claims["exp"] = json!(super::unix());

    assert_eq!(reviewed(&issuer, &token, AUDIENCE)["authenticated"], false);
}
