//! How is OpenBao's own proxy started on a node, and what must be asked through it?

use std::process::Command;

use rustix::process::Signal;

use hyper::Request;
use hyper::body::Bytes;
use zeroize::Zeroizing;

use super::edge::Edge;
use super::openbao::OpenBao;
use super::server::Spec;
use super::{Ground, fill, ground};
use crate::scenario::Credential;
use crate::wire::Pool;

/// With its cache, which holds leased credentials and logins that were made through it, and no
/// secret of a KV engine.
pub(super) fn spec(ground: &Ground, edge: &Edge, upstream: &OpenBao) -> Result<Spec, String> {
    let home = ground::directory()?;
    let at = edge.place()?;
    let config = format!(
        "vault {{ address = \"{}\" }}\ncache {{}}\nlog_level = \"warn\"\n{}",
        upstream.url(),
        edge.openbao(&at),
    );
    let file = home.path().join("proxy.hcl");
    std::fs::write(&file, config).map_err(|e| format!("{}: {e}", file.display()))?;
    let (program, directory) = (ground.places().bao.clone(), home.path().to_owned());
    let command = Box::new(move || {
        let mut command = Command::new(&program);
        command.arg("proxy").arg(format!("-config={}", file.display()));
        command.env_clear().env("HOME", &directory).current_dir(&directory);
        command
    });
    Ok(Spec { name: "OpenBao's proxy", command, at, home, ending: Signal::KILL, kept: None })
}

/// Tokens of the pods that it will keep credentials for: it does so only for tokens that were made
/// through it. `None` where pods log in, which is through it anyway, or lease nothing.
pub(super) async fn tokens(
    ground: &Ground,
    pool: &Pool,
) -> Result<Option<Vec<Zeroizing<String>>>, String> {
    let (scenario, cluster) = (ground.scenario(), ground.cluster());
    if scenario.world.credential != Credential::Token || scenario.world.roles.is_empty() {
        return Ok(None);
    }
    let problem = |why: String| format!("OpenBao's proxy made no token: {why}");
    let mut tokens = Vec::new();
    for pod in &cluster.pods {
        let ask = fill::token_of(scenario, cluster, pod);
        let body = ask.body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = Request::post(format!("/v1/{}", ask.path))
            .header("x-vault-token", ground.keys().root.as_str())
            .body(body)
            .map_err(|e| problem(e.to_string()))?;
        let answer = pool.send(pod.node, request).await;
        let answer = answer.map_err(|failure| problem(format!("{failure:?}")))?;
        let made = serde_json::from_slice(&answer.body).map_err(|e| problem(e.to_string()))?;
        tokens.push(fill::token(&made)?);
    }
    Ok(Some(tokens))
}
