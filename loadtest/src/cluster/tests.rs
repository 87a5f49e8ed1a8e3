use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use tempfile::TempDir;
use vaultlet::policy::{self, Acl, Dialect, Selectors};

use super::*;
use crate::scenario;

const TEXT: &str = "
name: c
world:
  nodes: 3
  secrets:
    - {name: app, count: 50, bytes: [100B, 4KiB]}
    - {name: flags, engine: kv1, count: 4, bytes: 64B}
  roles: [{name: orders}, {name: reports}]
  deployments:
    - {name: api, pods: 5, accounts: 4, leases: [orders],
       reads: [{secrets: app, at_start: 2, every: 1s, writes: 0.1}, {secrets: flags, at_start: 4}]}
    - {name: job, pods: 2, accounts: 9, reads: [{secrets: flags, every: 1s}]}
    - {name: report, reads: [{role: reports, every: 1s}]}
phases:
  - {name: one, duration: 1s}
";

fn of(text: &str) -> Cluster {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("s.yaml");
    fs::write(&file, text).unwrap();
    Cluster::new(&scenario::read(&file).unwrap())
}

fn drained() -> Cluster {
    of(&TEXT.replace("duration: 1s", "duration: 1s, happens: {what: drain}"))
}

#[test]
fn pods_are_on_nodes_and_have_accounts() {
    let cluster = of(TEXT);

    assert_eq!((cluster.seats(), cluster.pods.len()), (24, 24));
    assert_eq!(cluster.seats_on_first_node(), 8);
    for (number, pod) in (0..).zip(&cluster.pods) {
        assert_eq!(pod.node, number / 8);
        let name = ["api", "job", "report"][pod.deployment];
        assert!(cluster.account_name(pod.account).starts_with(name), "{pod:?}");
    }
    // Nine accounts for six pods: three are nobody's.
    let names: Vec<String> = (0..cluster.accounts()).map(|it| cluster.account_name(it)).collect();
    assert_eq!(names.len(), 4 + 6 + 1);
    assert_eq!((names[0].as_str(), names[9].as_str()), ("api-0", "job-5"));
    let used: BTreeSet<u32> = cluster.pods.iter().map(|pod| pod.account).collect();
    assert_eq!(used, (0..cluster.accounts()).collect());
    let of_first = cluster.pods.iter().filter(|pod| pod.account == 0).count();
    assert!((3..=4).contains(&of_first), "15 pods share 4 accounts: {of_first}");
}

#[test]
fn each_seat_is_one_deployment_s() {
    let cluster = of(TEXT);
    let mut seats = Vec::new();
    for deployment in 0..3 {
        for number in 0..cluster.seats_of(deployment) {
            let seat = cluster.seat_of(deployment, number);
            assert_eq!(cluster.pods[seat as usize].deployment, deployment);
            seats.push(seat);
        }
    }
    seats.sort_unstable();
    assert_eq!(seats, (0..24).collect::<Vec<_>>());
}

#[test]
fn whoever_takes_a_seat_is_elsewhere_and_otherwise_the_same() {
    let cluster = drained();

    assert_eq!((cluster.seats(), cluster.pods.len()), (24, 32));
    let mut nodes = [0, 0, 0];
    for seat in 0..cluster.seats_on_first_node() {
        let (old, new) =
            (cluster.pods[seat as usize], cluster.pods[cluster.successor(seat) as usize]);
        assert_eq!((old.node, old.deployment, old.account), (0, new.deployment, new.account));
        nodes[new.node as usize] += 1;
    }
    assert_eq!(nodes, [0, 4, 4]);
}

#[test]
fn a_pod_needs_the_most_popular_of_each_set() {
    let cluster = of(TEXT);
    let needs: Vec<String> = cluster.needs(0).map(|secret| cluster.secret_path(secret)).collect();

    let expected = ["kv2/data/app/000000", "kv2/data/app/000001", "kv1/flags/000000"];
    assert_eq!(needs[..3], expected);
    assert_eq!((needs.len(), cluster.leases(0)), (6, &[0][..]));
    assert_eq!((cluster.needs(5).count(), cluster.leases(5)), (0, &[][..]));
    assert_eq!(cluster.needs(7).count(), 0, "a role is not a set");
    assert_eq!(cluster.role_path(1), "database/creds/reports");
}

#[test]
fn values_have_their_size_and_nobody_else_s_text() {
    let cluster = of(TEXT);
    let mut seen = BTreeSet::new();
    let mut total = 0;
    for secret in cluster.secrets() {
        let bytes = cluster.bytes(secret);
        for version in [0, 1, 9_999_999] {
            let value = cluster.value(secret, version);
            assert_eq!(value, cluster.value(secret, version));
            assert_eq!(value.to_string().len() as u64, bytes, "{secret:?}");
            assert!(seen.insert(value["value"].as_str().unwrap().to_owned()));
        }
        total += if secret.set == 0 { bytes } else { 0 };
        assert!(if secret.set == 0 { (100..=4096).contains(&bytes) } else { bytes == 64 });
    }
    assert_eq!(cluster.secrets().count(), 54);
    let mean = total / 50;
    assert!((1950..2250).contains(&mean), "evenly spread from 100 to 4096: {mean}");
    let other = of(&TEXT.replace("name: c", "name: c\nseed: 2"));
    let secret = Secret { set: 0, index: 0 };
    assert_ne!(cluster.value(secret, 0), other.value(secret, 0), "another seed");
}

/// What the policy of an account lets it do, as vaultlet's own evaluation has it.
fn may(cluster: &Cluster, account: u32, changes: u32, path: &str) -> String {
    let policy = policy::parse("p", "", &cluster.policy(account, changes));
    assert!(policy.opaque().is_none());
    let acl = Acl::new(&[Arc::new(policy)], Selectors::NoIdentity, Dialect::Current, 0);
    acl.capabilities(path, 0).unwrap().join(" ")
}

#[test]
fn policies_allow_what_is_asked_for_and_nothing_else() {
    let cluster = of(TEXT);
    let rotated = "duration: 1s, happens: {what: rotate, secrets: flags}";
    let rotated = of(&TEXT.replace("duration: 1s", rotated));
    for (cluster, account, path, expected) in [
        (&cluster, 0, "kv2/data/app/000001", "create read update"),
        (&cluster, 0, "kv1/flags/000001", "read"),
        (&cluster, 0, "database/creds/orders", "read"),
        (&cluster, 0, "database/creds/reports", "deny"),
        (&cluster, 4, "kv1/flags/000001", "read"),
        (&rotated, 4, "kv1/flags/000001", "create read update"),
        (&cluster, 4, "kv2/data/app/000001", "deny"),
        (&cluster, 4, "database/creds/orders", "deny"),
        (&cluster, 10, "database/creds/reports", "read"),
        (&cluster, 10, "kv2/data/more-1/a", "deny"),
    ] {
        assert_eq!(may(cluster, account, 0, path), expected, "{account} {path}");
    }
    assert_eq!(may(&cluster, 10, 2, "kv2/data/more-1/a"), "read");
    assert_eq!(may(&cluster, 10, 2, "kv2/data/more-3/a"), "deny");
    assert_eq!(may(&cluster, 10, 2, "database/creds/reports"), "read", "the rest stays");
}
