//! How is a vaultlet started on a node?

use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use super::edge::Edge;
use super::openbao::OpenBao;
use super::server::Spec;
use super::{Ground, LOGIN, ground};
use crate::passes;

/// As it comes, with the scenario's settings.
pub(super) fn spec(ground: &Ground, edge: &Edge, upstream: &OpenBao) -> Result<Spec, String> {
    let home = ground::directory()?;
    let file = |name: &str| home.path().join(name);
    let written = |name: &str, text: String| {
        std::fs::write(file(name), text).map_err(|e| format!("{}: {e}", file(name).display()))
    };
    written("jwks.json", ground.passes().jwks().to_string())?;
    let at = edge.place()?;
    let config = json!({
        "upstream": {"address": upstream.url()},
        "listeners": [edge.vaultlet(&at)],
        "admin": {"address": "127.0.0.1:0"},
        "auth": {"kubernetes": {
            "issuer": passes::ISSUER,
            "audiences": [::vaultlet::dev::AUDIENCE],
            "jwks": {"file": file("jwks.json")},
            "login": {
                "mount": LOGIN.trim_end_matches("/login"),
                "role": "{service_account}",
            },
        }},
    });
    // Every JSON text is YAML.
    written("vaultlet.yaml", config.to_string())?;
    let program = ground.places().vaultlet.clone().unwrap_or_else(|| "vaultlet".into());
    let config = file("vaultlet.yaml");
    let settings: Vec<String> =
        ground.scenario().settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let command = Box::new(move || {
        let mut command = Command::new(&program);
        command.arg("serve").arg("--config").arg(&config);
        for setting in &settings {
            command.arg("--set").arg(setting);
        }
        // The environment configures too.
        command.env_clear();
        command
    });
    Ok(Spec { name: "vaultlet", command, at, home, ending: Signal::KILL, kept: None })
}
