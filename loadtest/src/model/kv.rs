//! What is in the secrets?

use std::collections::HashMap;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::said::{self, Frame, Said};
use crate::cluster::Cluster;
use crate::scenario::{Engine, Scenario};
use crate::schedule::Secret;

/// What a version 1 secret says about how long it may be used, unless it is told (768 h).
const ADVICE: Duration = Duration::from_hours(768);

/// The mounts, their secrets as the world has them at first, and what was written since.
#[derive(Debug)]
pub(super) struct Kv {
    cluster: Cluster,
    /// By name: set, engine and how many there are.
    sets: HashMap<String, (usize, Engine, u32)>,
    written: HashMap<Secret, (u64, Value)>,
}

impl Kv {
    pub(super) fn new(scenario: &Scenario, cluster: &Cluster) -> Self {
        let sets = scenario.world.secrets.iter().enumerate();
        let sets = sets.map(|(set, it)| (it.name.clone(), (set, it.engine, it.count))).collect();
        Self { cluster: cluster.clone(), sets, written: HashMap::new() }
    }

    /// Answers a read or a write of `path`, which is below `/v1/`.
    pub(super) fn answer(&mut self, method: &Method, path: &str, body: &Value, id: u64) -> Said {
        let Some((secret, engine)) = self.find(path) else {
            return if *method == Method::GET {
                said::nothing()
            } else {
                said::no(StatusCode::BAD_REQUEST, "the model has no such secret")
            };
        };
        if *method == Method::GET {
            let (version, data) = self.value(secret);
            return match engine {
                Engine::Kv1 => said::ok(&Frame { advice: ADVICE, ..Frame::of(data) }.body(id)),
                Engine::Kv2 => {
                    let data = json!({ "data": data, "metadata": metadata(version) });
                    said::ok(&Frame::of(data).body(id))
                }
            };
        }
        let version = self.written.get(&secret).map_or(1, |(version, _)| *version) + 1;
        let data = if engine == Engine::Kv2 { &body["data"] } else { body };
        self.written.insert(secret, (version, data.clone()));
        match engine {
            Engine::Kv1 => said::no_content(),
            Engine::Kv2 => said::ok(&Frame::of(metadata(version)).body(id)),
        }
    }

    fn value(&self, secret: Secret) -> (u64, Value) {
        let written = self.written.get(&secret).cloned();
        written.unwrap_or_else(|| (1, self.cluster.value(secret, 1)))
    }

    /// `kv2/data/NAME/000017` or `kv1/NAME/000017`.
    fn find(&self, path: &str) -> Option<(Secret, Engine)> {
        let (rest, expected) = match path.strip_prefix("kv2/data/") {
            Some(rest) => (rest, Engine::Kv2),
            None => (path.strip_prefix("kv1/")?, Engine::Kv1),
        };
        let (name, index) = rest.split_once('/')?;
        let (set, engine, count) = *self.sets.get(name)?;
        let index = index.parse().ok().filter(|index| *index < count)?;
        (engine == expected).then_some((Secret { set, index }, engine))
    }
}

fn metadata(version: u64) -> Value {
    json!({
        "created_time": "2026-01-01T00:00:00.123456789Z",
        "custom_metadata": null,
        "deletion_time": "",
        "destroyed": false,
        "version": version,
    })
}

/// `sys/internal/ui/mounts/PATH`.
pub(super) fn mount(path: &str, id: u64) -> Said {
    let (name, kind, version) = match path.split('/').next().unwrap_or_default() {
        "kv1" => ("kv1/", "kv", Some("1")),
        "kv2" => ("kv2/", "kv", Some("2")),
        "database" => ("database/", "database", None),
        _ => {
            let why = format!(
                "preflight capability check returned 403, please ensure client's policies grant \
                 access to path \"{path}/\""
            );
            return said::no(StatusCode::FORBIDDEN, &why);
        }
    };
    let mut data = json!({
        "accessor": format!("{kind}_0{}", version.unwrap_or("0")),
        "config": { "default_lease_ttl": 0, "force_no_cache": false, "max_lease_ttl": 0 },
        "description": "",
        "external_entropy_access": false,
        "local": false,
        "options": version.map_or_else(|| json!({}), |version| json!({ "version": version })),
        "path": name,
        "plugin_version": "",
        "running_plugin_version": "v2.7.2+builtin.bao",
        "running_sha256": "",
        "seal_wrap": false,
        "type": kind,
        "uuid": said::uuid(version.map_or(9, |version| version.len() as u64) + (1 << 41)),
    });
    if kind == "kv" {
        data["deprecation_status"] = json!("supported");
    }
    said::ok(&Frame::of(data).body(id))
}
