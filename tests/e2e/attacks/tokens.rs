//! K5: service-account tokens. What counts is what the documents demand of them; whatever vaultlet
//! takes the server takes as well, from the same keys.

use std::time::Duration;

use aws_lc_rs::hmac;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::scene::{Audit, DB, VALUE, pods};
use super::{Tally, read};
use crate::client::{Call, Client};
use crate::cluster::Cluster;
use crate::mint::{Key, claims, encode, key_set, unix};
use crate::vaultlet::merge;
use crate::world::reads;

const CLASS: &str = "k05_tokens";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Input {
    name: String,
    good: bool,
    header: Map<String, Value>,
    header_text: Option<String>,
    claims: Map<String, Value>,
    claims_text: Option<String>,
    key: Signer,
    token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Signer {
    Cluster,
    ClusterP256,
    None,
    Public,
    Stranger,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            name: String::new(),
            good: false,
            header: Map::new(),
            header_text: None,
            claims: Map::new(),
            claims_text: None,
            key: Signer::Cluster,
            token: "{HEADER}.{CLAIMS}.{SIGNATURE}".into(),
        }
    }
}

/// Whose keys there are.
struct Keys {
    cluster: Key,
    p256: Key,
    stranger: Key,
    issuer: String,
}

impl Keys {
    /// The claims of a token that the server and vaultlet are both meant to take.
    fn claims(&self) -> Value {
        let mut claims = claims(&self.issuer, Duration::from_hours(1));
        claims["aud"] = json!(["vaultlet", "vault"]);
        claims
    }

    fn token(&self, input: &Input) -> String {
        let over = |base: Value, over: &Map<String, Value>| {
            let mut base = base;
            merge(&mut base, times(Value::Object(over.clone())));
            base.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            base.to_string()
        };
        let text = |text: &Option<String>, or: String| {
            text.as_ref().map_or(or, |text| text.replace("{ISSUER}", &self.issuer))
        };
        let header = over(json!({"alg": "RS256", "kid": "key-1"}), &input.header);
        let header = text(&input.header_text, header);
        let claims = text(&input.claims_text, over(self.claims(), &input.claims));
        let signed = match input.key {
            Signer::Cluster => self.cluster.sign(&header, &claims),
            Signer::ClusterP256 => self.p256.sign(&header, &claims),
            Signer::Stranger => self.stranger.sign(&header, &claims),
            Signer::None => format!("{}.{}.", encode(&header), encode(&claims)),
            Signer::Public => {
                let signed = format!("{}.{}", encode(&header), encode(&claims));
                let secret = self.cluster.jwk()["n"].to_string();
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
                format!("{signed}.{}", encode(hmac::sign(&key, signed.as_bytes())))
            }
        };
        let signature = signed.rsplit('.').next().unwrap();
        let first = if signature.starts_with('A') { "B" } else { "A" };
        let good = self.cluster.token(&self.claims());
        let parts = [
            ("{HEADER}", encode(&header)),
            ("{CLAIMS}", encode(&claims)),
            ("{SIGNATURE}", signature.to_owned()),
            ("{OTHER}", format!("{first}{}", signature.get(1..).unwrap_or_default())),
            ("{GOOD_SIGNATURE}", good.rsplit('.').next().unwrap().to_owned()),
        ];
        parts.iter().fold(input.token.clone(), |token, (from, to)| token.replace(from, to))
    }
}

/// `now+60` as seconds since 1970.
fn times(value: Value) -> Value {
    match value {
        Value::String(text) if text.starts_with("now") => {
            let shift: i64 = text[3..].parse().unwrap();
            json!(unix().saturating_add_signed(shift))
        }
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, times(value))).collect()
        }
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k05_tokens() {
    let (cluster, audit) = (Cluster::start().await, Audit::new());
    let keys = Keys {
        cluster: Key::rsa("key-1"),
        p256: Key::p256("key-2"),
        stranger: Key::rsa("key-1"),
        issuer: cluster.address(),
    };
    cluster.publish_instead(Some(&key_set([&keys.cluster, &keys.p256])));
    let (bao, vaultlet) = pods(&cluster, audit.settings(json!({}))).await;

    let good = keys.cluster.token(&keys.claims());
    let clean = vaultlet.client().token(&good);
    reads(&clean.get(DB).await, VALUE);
    let (mut tally, mut faults, mut seen) = (Tally::default(), Vec::new(), Vec::new());
    for input in read::<Input>(CLASS) {
        tally.spellings += 1;
        let jwt = keys.token(&input);
        let direct = Client::tcp(&bao.address());
        let login = json!({"role": "payments-api", "jwt": jwt});
        let truth = direct.post("auth/jwt/login", login.clone()).await.status;
        tally.accepted += usize::from(truth == 200);
        tally.refused += usize::from(truth >= 400);
        direct.token(&jwt).get(DB).await.expect(403);
        let bearer = format!("Bearer {jwt}");
        for call in [
            Call::get(DB).with("X-Vault-Token", &jwt),
            Call::get(DB).with("Authorization", &bearer),
            Call::get(DB).with("Authorization", &bearer),
            Call::new("POST", "auth/jwt/login").json(&login),
        ] {
            let answer = vaultlet.client().send(&call).await;
            let login = call.method == "POST";
            let served =
                answer.status == 200 && (login || answer.value().as_deref() == Some(VALUE));
            let fault = match input.good {
                true if served && truth == 200 => None,
                true => Some(format!("{} of vaultlet and {truth} of the server", answer.status)),
                false if [400, 403].contains(&answer.status) => None,
                // Meant for somebody else, and left to the server: no login of ours.
                false if login && answer.status == truth && !answer.text().contains("vlt.") => None,
                false => Some(format!("taken with {}", answer.status)),
            };
            let told = answer.text();
            // The header is no secret, and the same in all.
            let mut parts = jwt.split('.').skip(1).filter(|part| part.len() > 16);
            let repeats = parts.any(|part| told.contains(part)).then(|| "repeated".to_owned());
            let leak = (!served && told.contains(VALUE)).then(|| "the secret".to_owned());
            for fault in [fault, repeats, leak].into_iter().flatten() {
                faults.push(format!("{}: {fault}: {told}", input.name));
            }
        }
        tally.stricter += usize::from(truth == 200 && !input.good);
        reads(&clean.get(DB).await, VALUE);
        seen.push(jwt);
    }
    let parts = seen.iter().flat_map(|jwt| jwt.split('.').skip(1));
    let parts: Vec<&str> = parts.filter(|part| part.len() > 16).collect();
    faults.extend(audit.traces(&vaultlet, &parts).await);
    tally.judge(CLASS, &faults);
}
