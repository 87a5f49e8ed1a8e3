//! Which files are read again when they change?

use std::sync::Arc;

use super::parts::Parts;
use crate::config::Config;
use crate::server::Server;
use crate::watch::Watched;

/// Those that the configuration names, and what is done with each.
pub(super) fn watched(config: &Config, servers: &[Server], parts: &Parts) -> Vec<Watched> {
    let mut watched = parts.issuers.watched();
    if !parts.guardrails.files().is_empty() {
        let guardrails = Arc::clone(&parts.guardrails);
        let files = guardrails.files().to_vec();
        let reload = Box::new(move || guardrails.reload());
        watched.push(Watched { name: "guardrails", files, reload });
    }
    if let Some(file) = &config.upstream.ca_file {
        let upstream = Arc::clone(&parts.upstream);
        let reload = Box::new(move || upstream.reload());
        watched.push(Watched { name: "upstream authorities", files: vec![file.clone()], reload });
    }
    for certificates in servers.iter().filter_map(Server::certificates) {
        let files = certificates.files();
        let files = [Some(&files.cert_file), Some(&files.key_file), files.client_ca_file.as_ref()];
        let files = files.into_iter().flatten().cloned().collect();
        let reload = Box::new(move || certificates.reload());
        watched.push(Watched { name: "serving certificate", files, reload });
    }
    watched
}
