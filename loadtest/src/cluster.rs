//! Who exactly is in a scenario's world: each pod, service account and secret?
//!
//! All of it follows from the scenario, so that whoever fills a server and whoever asks it agree.

use std::fmt::Write as _;
use std::iter;

use serde_json::{Value, json};

use crate::lot;
use crate::scenario::{Deployment, Engine, Happening, Scenario, Wanted, World};
use crate::schedule::Secret;

#[cfg(test)]
mod tests;

/// A world made concrete.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// Those that run at first, node after node and on each in the order of the deployments; then
    /// those that a drained node's pods become on other nodes.
    pub(crate) pods: Vec<Pod>,
    seats: u32,
    accounts: Vec<Account>,
    world: World,
    /// Sets of secrets that are written in some phase besides what pods write.
    rotated: Vec<usize>,
    seed: u64,
}

/// One pod.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Pod {
    pub(crate) node: u32,
    /// Index into the world's deployments.
    pub(crate) deployment: usize,
    /// As [`Cluster::account_name`] takes it.
    pub(crate) account: u32,
}

/// One service account: the number of its deployment, and its own among that one's.
#[derive(Clone, Copy, Debug)]
struct Account {
    deployment: usize,
    number: u32,
}

impl Cluster {
    /// The world of `scenario`.
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let world = &scenario.world;
        let mut accounts = Vec::new();
        let mut first = Vec::new();
        for (index, deployment) in world.deployments.iter().enumerate() {
            first.push(count(accounts.len()));
            let used = deployment.accounts.min(deployment.pods.saturating_mul(world.nodes));
            accounts.extend((0..used).map(|number| Account { deployment: index, number }));
        }
        let pod = |node: u32, index: usize, deployment: &Deployment, number: u32| {
            let used = deployment.accounts.min(deployment.pods.saturating_mul(world.nodes));
            let account = first[index] + (node * deployment.pods + number) % used;
            Pod { node, deployment: index, account }
        };
        let on_node = |node: u32| {
            let deployments = world.deployments.iter().enumerate();
            deployments.flat_map(move |(index, deployment)| {
                (0..deployment.pods).map(move |number| pod(node, index, deployment, number))
            })
        };
        let mut pods: Vec<Pod> = (0..world.nodes).flat_map(on_node).collect();
        let seats = count(pods.len());
        let happenings = || scenario.phases.iter().map(|phase| phase.happening);
        if happenings().any(|it| matches!(it, Happening::Drain { .. })) {
            // No scenario drains its only node, but `plan` plays it on smaller clusters too: there
            // the pods come back to the node.
            let elsewhere = (1.min(world.nodes - 1)..world.nodes).cycle();
            let moved = on_node(0).zip(elsewhere).map(|(pod, node)| Pod { node, ..pod });
            pods.extend(moved.collect::<Vec<_>>());
        }
        let rotated = happenings().filter_map(|happening| match happening {
            Happening::Rotate { secrets, .. } => Some(secrets),
            _ => None,
        });
        let rotated = rotated.collect();
        Self { pods, seats, accounts, world: world.clone(), rotated, seed: scenario.seed }
    }

    /// How many pods run at the same time. A seat is one of their places: pod `n` has seat `n`,
    /// until its node is drained and another pod takes it.
    pub(crate) fn seats(&self) -> u32 {
        self.seats
    }

    /// The pod that takes a seat of the first node when that is drained.
    pub(crate) fn successor(&self, seat: u32) -> u32 {
        self.seats + seat
    }

    /// How many of the seats are on the first node: they come first.
    pub(crate) fn seats_on_first_node(&self) -> u32 {
        self.seats / self.world.nodes
    }

    /// Seat `number`, counted over all nodes, of a deployment; `number` below
    /// [`seats_of`](Self::seats_of).
    pub(crate) fn seat_of(&self, deployment: usize, number: u32) -> u32 {
        let before = self.world.deployments[..deployment].iter().map(|it| it.pods).sum::<u32>();
        let pods = self.world.deployments[deployment].pods;
        number / pods * self.seats_on_first_node() + before + number % pods
    }

    /// How many seats a deployment has on all nodes.
    pub(crate) fn seats_of(&self, deployment: usize) -> u32 {
        self.world.deployments[deployment].pods * self.world.nodes
    }

    /// How many service accounts there are: their numbers are those below it.
    pub(crate) fn accounts(&self) -> u32 {
        count(self.accounts.len())
    }

    /// Fit for a service account of Kubernetes, a role and a policy.
    pub(crate) fn account_name(&self, account: u32) -> String {
        let Account { deployment, number } = self.accounts[account as usize];
        format!("{}-{number}", self.world.deployments[deployment].name)
    }

    /// What a pod reads as it starts, in this order: of each set the most popular ones.
    pub(crate) fn needs(&self, pod: u32) -> impl Iterator<Item = Secret> {
        let reads = &self.deployment(pod).reads;
        reads.iter().flat_map(|reads| {
            let (set, most) = match reads.of {
                Wanted::Secrets(set) => (set, reads.at_start),
                Wanted::Role(_) => (0, 0),
            };
            (0..most).map(move |index| Secret { set, index })
        })
    }

    /// The roles of which a pod holds a credential while it runs.
    pub(crate) fn leases(&self, pod: u32) -> &[usize] {
        &self.deployment(pod).leases
    }

    fn deployment(&self, pod: u32) -> &Deployment {
        &self.world.deployments[self.pods[pod as usize].deployment]
    }

    /// Every secret, set after set.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = Secret> {
        let sets = self.world.secrets.iter().enumerate();
        sets.flat_map(|(set, secrets)| (0..secrets.count).map(move |index| Secret { set, index }))
    }

    /// The engine that holds a secret; mounted at `kv1` or `kv2`.
    pub(crate) fn engine(&self, secret: Secret) -> Engine {
        self.world.secrets[secret.set].engine
    }

    /// Where a secret is read and written: below `/v1/`.
    pub(crate) fn secret_path(&self, secret: Secret) -> String {
        format!("{}/{:06}", self.folder(secret.set), secret.index)
    }

    fn folder(&self, set: usize) -> String {
        let set = &self.world.secrets[set];
        match set.engine {
            Engine::Kv1 => format!("kv1/{}", set.name),
            Engine::Kv2 => format!("kv2/data/{}", set.name),
        }
    }

    /// How large a secret's value is as JSON. The sizes of a set are spread evenly between its
    /// smallest and its largest, and have nothing to do with popularity.
    pub(crate) fn bytes(&self, secret: Secret) -> u64 {
        let (least, most) = self.world.secrets[secret.set].bytes;
        // Weyl's sequence: any run of neighbours covers the range.
        let place = (f64::from(secret.index) * 0.618_033_988_749_894_9).fract();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "at most 1 MiB"
        )]
        let more = (place * (most - least + 1) as f64) as u64;
        least + more.min(most - least)
    }

    /// A secret's value, an object. Each version has another one of the same size.
    pub(crate) fn value(&self, secret: Secret, version: u64) -> Value {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let name = [3, secret.set as u64, secret.index.into(), version];
        let mut rng = lot::stream(self.seed, &name);
        let frame = json!({"value": "", "version": version}).to_string().len() as u64;
        let length = self.bytes(secret).saturating_sub(frame);
        let letters = iter::repeat_with(|| rng.u64(..)).flat_map(u64::to_le_bytes);
        let letters = letters.map(|byte| char::from(LETTERS[usize::from(byte & 63)]));
        let text: String = letters.take(usize::try_from(length).unwrap_or(usize::MAX)).collect();
        json!({"value": text, "version": version})
    }

    /// What a service account's policy says, in HCL, after the policies have changed so often:
    /// read, and write where that happens, what its deployment does; nothing else.
    pub(crate) fn policy(&self, account: u32, changes: u32) -> String {
        let deployment = &self.world.deployments[self.accounts[account as usize].deployment];
        let mut policy = String::new();
        let mut allow = |path: &str, capabilities: &str| {
            let _ = writeln!(policy, "path \"{path}\" {{\n  capabilities = [{capabilities}]\n}}");
        };
        let wanted = |of: Wanted| deployment.reads.iter().filter(move |reads| reads.of == of);
        for set in 0..self.world.secrets.len() {
            let mut reads = wanted(Wanted::Secrets(set)).peekable();
            if reads.peek().is_none() {
                continue;
            }
            let writes = reads.any(|reads| reads.writes > 0.0) || self.rotated.contains(&set);
            let capabilities = if writes { r#""create", "read", "update""# } else { r#""read""# };
            allow(&format!("{}/*", self.folder(set)), capabilities);
        }
        for role in 0..self.world.roles.len() {
            if deployment.leases.contains(&role) || wanted(Wanted::Role(role)).next().is_some() {
                allow(&self.role_path(role), r#""read""#);
            }
        }
        for change in 1..=changes {
            allow(&format!("kv2/data/more-{change}/*"), r#""read""#);
        }
        policy
    }

    /// Where credentials of a role are read: below `/v1/`.
    pub(crate) fn role_path(&self, role: usize) -> String {
        format!("database/creds/{}", self.world.roles[role].name)
    }
}

/// A scenario has a million pods at most, and no more accounts.
fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
