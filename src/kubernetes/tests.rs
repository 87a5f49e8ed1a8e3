use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::{Issuers, Refusal, Verified};
use crate::clock::Clock;
use crate::config::{self, Keys};
use crate::metrics::Metrics;
use crate::secret::Fingerprinter;

#[path = "../../tests/e2e/cluster.rs"]
#[allow(unreachable_pub)]
mod cluster;
mod forged;
#[path = "../../tests/e2e/mint.rs"]
#[allow(unreachable_pub)]
mod mint;
mod remembered;
mod reviews;
mod rotation;

use mint::{Key, key_set};

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const HOUR: Duration = Duration::from_hours(1);
const W: Duration = Duration::from_mins(1);

/// What is tested, on a clock that the test moves.
struct World {
    issuers: Arc<Issuers>,
    clock: Clock,
    metrics: Arc<Metrics>,
    fingerprints: Fingerprinter,
}

impl World {
    fn new(config: &[config::Kubernetes]) -> Self {
        let (clock, metrics) = (Clock::manual(), Arc::new(Metrics::new().unwrap()));
        let issuers = Issuers::new(config, W, clock.clone(), Arc::clone(&metrics)).unwrap();
        let fingerprints = Fingerprinter::new().unwrap();
        Self { issuers: Arc::new(issuers), clock, metrics, fingerprints }
    }

    async fn verify(&self, token: impl AsRef<[u8]>) -> Result<Arc<Verified>, Refusal> {
        let token = token.as_ref();
        self.issuers.verify(token, self.fingerprints.of(token)).await
    }

    fn known(&self, token: &str) -> Option<Arc<Verified>> {
        self.issuers.known(self.fingerprints.of(token.as_bytes()))
    }

    /// A counter's value.
    fn counted(&self, series: &str) -> u64 {
        let text = self.metrics.render().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}")).trim().parse().unwrap()
    }
}

/// A cluster whose keys are there.
struct Local {
    keys: [Key; 2],
    file: PathBuf,
    _dir: TempDir,
}

impl Local {
    fn new() -> Self {
        let keys = [Key::rsa("key-1"), Key::p256("key-2")];
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.json");
        std::fs::write(&file, key_set(&keys)).unwrap();
        Self { keys, file, _dir: dir }
    }

    fn config(&self) -> config::Kubernetes {
        config(ISSUER, Keys::File(self.file.clone()))
    }

    fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = mint::claims(ISSUER, HOUR);
        change(&mut claims);
        self.keys[0].token(&claims)
    }
}

fn config(issuer: &str, keys: Keys) -> config::Kubernetes {
    config::Kubernetes {
        issuer: issuer.into(),
        audiences: vec!["vaultlet".into(), "vaultlet-too".into()],
        keys,
        ca_file: None,
        token_file: None,
        review: None,
        node: Some("node-1".into()),
        leeway: Duration::from_secs(10),
        answer_logins: true,
        login: config::KubernetesLogin {
            namespace: String::new(),
            mount: "kubernetes".into(),
            role: "{namespace}-{service_account}".into(),
            rules: vec![],
        },
    }
}

#[track_caller]
fn refused(verdict: Result<Arc<Verified>, Refusal>) -> &'static str {
    match verdict {
        Err(Refusal::Invalid(why) | Refusal::Foreign(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn unavailable(verdict: &Result<Arc<Verified>, Refusal>) {
    assert!(matches!(verdict, Err(Refusal::Unavailable(_))), "{verdict:?}");
}
