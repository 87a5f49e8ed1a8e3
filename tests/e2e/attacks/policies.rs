//! K6: policies that are easily misread, at the server and at vaultlet, which takes the server's word
//! for what a caller may read, or decides by the same texts itself.

use serde::Deserialize;
use serde_json::json;

use super::scene::{Audit, CANARIES, furnish, poisoned};
use super::{Tally, cut, read};
use crate::bao::Bao;
use crate::client::{Answer, Call, Client};
use crate::local_policies::{own_token, settings_with, settled};
use crate::vaultlet::{Vaultlet, merge};
use crate::world::{policy, prepare, token};

const CLASS: &str = "k06_policies";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    name: String,
    /// Each a policy of its own, and the only one of one token; but for the last of several, whose
    /// token holds all of them.
    policies: Vec<String>,
}

/// What is asked by each token.
fn questions() -> Vec<Call> {
    let get = Call::get;
    vec![
        get("secret/data/team-a/x"),
        get("secret/data/team-a/x?version=1"),
        get("secret/data/team-a/x?version=2"),
        get("secret/data/team-a/s/t"),
        get("secret/data/team-b/x"),
        get("kv1/team-a/x"),
        get("ns1/secret/data/team-a/x"),
        get("secret/data/team-a/x").with("X-Vault-Namespace", "ns1"),
        get("secret/data/team-a/x").with("X-Vault-Wrap-TTL", "60s"),
        get("secret/data/team-a/x?help=1"),
        get("secret/data/team-a/x/"),
        get("secret/metadata/team-a?list=true"),
        Call::new("LIST", "secret/metadata/team-a"),
        Call::new("LIST", "secret/metadata/team-b/"),
        Call::new("POST", "secret/data/scratch").json(&json!({"data": {"value": "w"}})),
    ]
}

/// One token and what it stands for.
struct Holder {
    name: String,
    token: String,
    /// Its policies.
    texts: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k06_policies() {
    let (bao, mut tally, mut faults) = (Bao::dev().await, Tally::default(), Vec::new());
    let root = bao.root();
    prepare(&root).await;
    let (a, b) = furnish(&root).await;
    let (home, own) = (tempfile::tempdir().unwrap(), own_token(&root).await);
    let audits = [Audit::new(), Audit::new()];
    let mut local = settings_with(&home, &own);
    merge(&mut local, audits[1].settings(json!({})));
    let upstream = audits[0].settings(json!({"cache": {"kv": {"ttl": "1h"}}}));
    let proxies = [
        Vaultlet::start(&bao.address(), upstream).await,
        Vaultlet::start(&bao.address(), local).await,
    ];

    let holders = holders(&root, &proxies[0], &mut tally, &mut faults).await;
    // Somebody who may have everything has had it: what others are answered with is at hand.
    policy(&root, "all", r#"path "*" { capabilities = ["read", "list"] }"#).await;
    let filler = token(&root, json!({"policies": ["all"]})).await;
    for proxy in &proxies {
        for call in questions() {
            proxy.client().token(&filler).send(&call).await;
        }
        for holder in &holders {
            proxy.client().token(&holder.token).get("secret/data/none").await;
        }
    }
    settled(&proxies[1]).await;

    for holder in &holders {
        let direct = Client::tcp(&bao.address()).token(&holder.token);
        for call in questions() {
            let truth = direct.send(&call).await;
            tally.count(truth.status);
            for (proxy, source) in proxies.iter().zip(["upstream", "local"]) {
                for _ in 0..2 {
                    let answer = proxy.client().token(&holder.token).send(&call).await;
                    tally.stricter += usize::from(answer.status != truth.status);
                    faults.extend(laxer(&answer, &truth).map(|fault| {
                        let (name, texts) = (&holder.name, &holder.texts);
                        format!("{name}, {source}: {fault}\n{call:?}\n{texts}")
                    }));
                }
            }
        }
        for proxy in &proxies {
            let (a, b) = (proxy.client().token(&a), proxy.client().token(&b));
            faults.extend(poisoned(&a, &b).await);
        }
    }
    let decided = [r#"source="local""#, r#"decision="allow""#];
    let decided = proxies[1].metric("vaultlet_policy_decisions_total", &decided).await;
    assert!(decided > 20.0, "vaultlet decided {decided} times by itself");
    for (proxy, audit) in proxies.iter().zip(&audits) {
        faults.extend(audit.traces(proxy, &[&a, &b, &own, &filler]).await);
    }
    tally.judge(CLASS, &faults);
}

/// Writes every policy, at the server and through vaultlet, and logs in with it.
async fn holders(
    root: &Client,
    proxy: &Vaultlet,
    tally: &mut Tally,
    faults: &mut Vec<String>,
) -> Vec<Holder> {
    root.post("sys/auth/userpass", json!({"type": "userpass"})).await.expect(204);
    let accessor = root.get("sys/auth").await.json()["data"]["userpass/"]["accessor"].clone();
    let metadata = json!({"team": "team-a", "star": "*"});
    let entity = json!({"name": "eve", "metadata": metadata});
    let entity =
        root.post("identity/entity", entity).await.expect(200).json()["data"]["id"].clone();
    let alias = json!({"name": "eve", "canonical_id": entity, "mount_accessor": accessor});
    root.post("identity/entity-alias", alias).await.expect(200);

    let inputs: Vec<Input> = read(CLASS);
    let mut holders = Vec::new();
    for (number, input) in inputs.iter().enumerate() {
        let mut names = Vec::new();
        for (index, text) in input.policies.iter().enumerate() {
            tally.spellings += 1;
            let name = format!("k06-{number}-{index}");
            let write = |name: &str| {
                Call::new("POST", &format!("sys/policies/acl/{name}"))
                    .json(&json!({"policy": text}))
            };
            let through = proxy.client().token("root").send(&write(&name)).await;
            let direct = root.send(&write(&format!("{name}-direct"))).await;
            tally.count(direct.status);
            faults.extend(laxer(&through, &direct).map(|fault| format!("{}: {fault}", input.name)));
            names.push(name);
            // Alone, and with those before it.
            let alone = vec![names[index].clone()];
            for held in [alone, names.clone()].into_iter().take(index + 1) {
                let user = json!({"password": "p", "token_policies": held});
                root.post("auth/userpass/users/eve", user).await.expect(204);
                let login = root.post("auth/userpass/login/eve", json!({"password": "p"})).await;
                let token = login.expect(200).json()["auth"]["client_token"].clone();
                let (name, token) = (input.name.clone(), token.as_str().unwrap().to_owned());
                holders.push(Holder { name, token, texts: format!("{held:?}\n{text}") });
            }
        }
    }
    holders
}

impl Tally {
    fn count(&mut self, status: u16) {
        self.accepted += usize::from(status < 300);
        self.refused += usize::from(status >= 400);
    }
}

/// In what way the answer is laxer than the server's own, if it is.
fn laxer(answer: &Answer, truth: &Answer) -> Option<String> {
    let (ours, theirs) = (answer.text(), truth.text());
    let leaked = CANARIES.iter().find(|it| ours.contains(**it) && !theirs.contains(**it));
    let same = answer.status == truth.status && answer.value() == truth.value();
    let stricter = same || (400..500).contains(&answer.status);
    let fault = match (leaked, stricter) {
        (Some(canary), _) => format!("{canary} came out"),
        (None, false) => format!("{}, not {}", answer.status, truth.status),
        (None, true) => return None,
    };
    Some(format!("{fault}\nvaultlet: {:?}\nserver: {:?}", cut(&ours), cut(&theirs)))
}
