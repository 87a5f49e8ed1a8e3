//! Who is there, and what do they want?

use std::ops::RangeInclusive;
use std::time::Duration;

use vaultlet::config::document::{Field, Section};

use super::name::{Needed as _, last, name, names, one_of, only_one};
use super::{Credential, Deployment, Engine, Popularity, Reads, Role, Secrets, Wanted, World};

const SOME: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// The least that holds a value and its version; the most that OpenBao stores in one entry.
const BYTES: RangeInclusive<u64> = 64..=1 << 20;
const MOST_PODS: u64 = 1_000_000;
const MOST_SECRETS: u32 = 10_000_000;

/// The section `world`.
pub(super) fn world(world: &Section<'_>) -> World {
    let credentials = [
        ("token", Credential::Token),
        ("login", Credential::Login),
        ("service-account", Credential::ServiceAccount),
    ];
    let (secrets, roles) = (world.field("secrets"), world.field("roles"));
    // What is wrong is taken for something that makes sense, so that it is not reported twice.
    let nodes = world.field("nodes");
    let nodes = nodes.number(1..=10_000).unwrap_or(if nodes.given() { 2 } else { 1 });
    let read = World {
        nodes,
        credential: world.field("credential").choice(&credentials).unwrap_or(Credential::Token),
        token_ttl: world.field("token_ttl").duration(SECOND).unwrap_or(Duration::from_hours(1)),
        secrets: secrets.some_list().iter().map(|set| set.section(set_of_secrets)).collect(),
        roles: roles.some_list().iter().map(|field| field.section(role)).collect(),
        deployments: vec![],
    };
    let (set_names, role_names) = (names(&secrets.list()), names(&roles.list()));
    let list = world.needed("deployments", "a world without pods asks for nothing").some_list();
    names(&list);
    let sets = Sets { names: &set_names, roles: &role_names, read: &read.secrets };
    let deployments = list.iter().map(|field| field.section(|it| deployment(it, &sets))).collect();
    let world_read = World { deployments, ..read };
    let pods: u64 = world_read.deployments.iter().map(|it| u64::from(it.pods)).sum();
    if pods * u64::from(nodes) > MOST_PODS {
        let what = format!("{} pods in all", pods * u64::from(nodes));
        world.complain(what, "1000000 at most: take fewer nodes, or fewer pods on each");
    }
    unread(&world_read, &secrets.list(), &roles.list());
    world_read
}

/// What a deployment may refer to.
struct Sets<'a> {
    names: &'a [String],
    roles: &'a [String],
    read: &'a [Secrets],
}

fn deployment(deployment: &Section<'_>, sets: &Sets<'_>) -> Deployment {
    let (reads, leases) = (deployment.field("reads"), deployment.field("leases"));
    if reads.empty() && leases.empty() {
        let hint = "give it `reads` or `leases`, or remove it";
        deployment.complain("its pods ask for nothing", hint);
    }
    Deployment {
        name: name(&deployment.needed("name", "add `name: api`, for example")),
        pods: deployment.field("pods").number(1..=10_000).unwrap_or(1),
        accounts: deployment.field("accounts").number(1..=10_000).unwrap_or(1),
        reads: reads.list().iter().map(|field| field.section(|it| reading(it, sets))).collect(),
        leases: leases.list().iter().map(|role| one_of(role, sets.roles, "role")).collect(),
    }
}

fn reading(reads: &Section<'_>, sets: &Sets<'_>) -> Reads {
    let every = reads.field("every");
    let what = [reads.field("secrets"), reads.field("role")];
    let what = only_one(reads, &what);
    if let Some(role) = what.filter(|what| last(what) == "role") {
        if !every.given() {
            reads.complain("`every` is missing", "add `every: 1s`, for example");
        }
        let of = Wanted::Role(one_of(role, sets.roles, "role"));
        return Reads { of, at_start: 0, every: every.duration(SOME), writes: 0.0 };
    }
    let index = what.map_or(0, |what| one_of(what, sets.names, "set of secrets"));
    let (at_start, writes) = (reads.field("at_start"), reads.field("writes"));
    let first = at_start.number(0..=MOST_SECRETS);
    let count = sets.read.get(index).map_or(MOST_SECRETS, |set| set.count);
    if first.is_some_and(|first| first > count) {
        at_start.complain(format!("the set has {count}"), "read fewer, or make its `count` larger");
    }
    if !every.given() && (first == Some(0) || !at_start.given()) {
        reads.complain("nothing is ever read", "add `every: 10s` or `at_start: 1`");
    }
    if !every.given() && writes.given() {
        writes.complain("has no effect without `every`", "it is a share of those reads");
    }
    Reads {
        of: Wanted::Secrets(index),
        at_start: first.unwrap_or(0),
        every: every.duration(SOME),
        writes: writes.share_in(0.0..=1.0).unwrap_or(0.0),
    }
}

fn set_of_secrets(set: &Section<'_>) -> Secrets {
    let engines = [("kv1", Engine::Kv1), ("kv2", Engine::Kv2)];
    let count = set.field("count");
    let count =
        count.number(1..=MOST_SECRETS).unwrap_or(if count.given() { MOST_SECRETS } else { 1 });
    Secrets {
        name: name(&set.needed("name", "add `name: app`, for example")),
        engine: set.field("engine").choice(&engines).unwrap_or(Engine::Kv2),
        count,
        bytes: bytes(&set.field("bytes")).unwrap_or((400, 400)),
        popularity: popularity(set, count),
    }
}

/// One size, or the smallest and the largest.
fn bytes(field: &Field<'_>) -> Option<(u64, u64)> {
    let list = field.plain_list();
    let sizes: Vec<Option<u64>> = list.iter().map(|size| size.size(BYTES)).collect();
    match sizes[..] {
        [one] => Some((one?, one?)),
        [from, to] if from? <= to? => Some((from?, to?)),
        [_, _] => {
            field.complain("the largest is smaller than the smallest", "write [400B, 4KiB]");
            None
        }
        _ => {
            if field.given() {
                field.complain("expected one size or two", "write 400B, or [400B, 4KiB]");
            }
            None
        }
    }
}

fn popularity(set: &Section<'_>, count: u32) -> Popularity {
    let (order, zipf, weights) = (set.field("order"), set.field("zipf"), set.field("weights"));
    let fields = [order, zipf, weights];
    if fields.iter().all(|field| !field.given()) {
        return Popularity::Uniform;
    }
    only_one(set, &fields);
    let [order, zipf, weights] = &fields;
    if zipf.given() {
        let hint = "1.1 is usual; 0 makes all alike";
        return Popularity::Zipf(zipf.decimal(0.0..=10.0, hint).unwrap_or(1.0));
    }
    if weights.given() {
        let hint = "any size: they are compared with each other, and with 1 for those not listed";
        let list = weights.some_list();
        let read = |weight: &Field<'_>| weight.decimal(0.0..=1e9, hint);
        let read: Vec<f64> = list.iter().filter_map(read).collect();
        if read.len() > count as usize {
            weights.complain("more weights than secrets", "make `count` larger, or list fewer");
        } else if read.len() == count as usize && read.iter().sum::<f64>() == 0.0 {
            weights.complain("all weights are 0", "give one of them a weight");
        }
        return Popularity::Listed(read);
    }
    let orders = [("by-lot", Popularity::Uniform), ("in-turn", Popularity::InTurn)];
    let words = [("by-lot", 0_usize), ("in-turn", 1)];
    orders[order.choice(&words).unwrap_or(0)].1.clone()
}

fn role(role: &Section<'_>) -> Role {
    let (field, name) = (role.field("ttl"), name(&role.needed("name", "add `name: orders`")));
    let max_ttl = role.field("max_ttl").duration(SECOND).unwrap_or(Duration::from_hours(24));
    let ttl = field.duration(SECOND).unwrap_or(Duration::from_hours(1).min(max_ttl));
    if ttl > max_ttl {
        field.complain("longer than `max_ttl`", "a lease cannot outlive its longest life");
    }
    Role { name, ttl, max_ttl }
}

/// Reports what nobody asks for: a reference to it must be missing.
fn unread(world: &World, secrets: &[Field<'_>], roles: &[Field<'_>]) {
    let wanted = || world.deployments.iter().flat_map(|it| &it.reads).map(|reads| reads.of);
    let hint = "name it in a deployment's `reads` or `leases`, or remove it";
    for (index, set) in secrets.iter().enumerate() {
        if !wanted().any(|of| of == Wanted::Secrets(index)) {
            set.complain("nobody reads these", hint);
        }
    }
    for (index, role) in roles.iter().enumerate() {
        let held = world.deployments.iter().any(|it| it.leases.contains(&index));
        if !held && !wanted().any(|of| of == Wanted::Role(index)) {
            role.complain("nobody asks for it", hint);
        }
    }
}
