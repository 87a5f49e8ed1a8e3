//! What does vaultlet's own log say?

use std::process::Command;

use serde_json::Value;

use super::record::{Audited, History};
use crate::stand::Stand;

/// Below the mount.
const DATA: &str = "secret/data/";

/// Adds what was recorded of reads that were answered with a secret, and what is wrong with the log.
pub(super) fn read(stand: &Stand, history: &mut History) -> Result<(), String> {
    let file = stand.audit();
    let problem = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    let mut verify = Command::new(stand.vaultlet.program());
    let verified =
        verify.arg("audit").arg("verify").arg(&file).output().map_err(|e| problem(&e))?;
    if !verified.status.success() {
        let said = [verified.stdout, verified.stderr].concat();
        history.broken_chain = Some(String::from_utf8_lossy(&said).into_owned());
    }
    let text = std::fs::read(&file).map_err(|e| problem(&e))?;
    history.audited = String::from_utf8_lossy(&text).lines().filter_map(record).collect();
    Ok(())
}

fn record(line: &str) -> Option<Audited> {
    let record: Value = serde_json::from_str(line).ok()?;
    let path = record["request"]["path"].as_str()?.strip_prefix(DATA)?.to_owned();
    let read = record["type"] == "response" && record["vaultlet"]["method"] == "GET";
    let told = record["vaultlet"]["status"] == 200;
    let port = u16::try_from(record["request"]["remote_port"].as_u64()?).ok()?;
    (read && told).then_some(Audited { port, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_secrets_that_were_told_count() {
        let line = |method: &str, status: u16| {
            format!(
                "{{\"type\":\"response\",\"request\":{{\"path\":\"secret/data/g1/2\",\
                 \"remote_port\":7}},\"vaultlet\":{{\"method\":\"{method}\",\"status\":{status}}}}}"
            )
        };

        let told = Audited { port: 7, path: "g1/2".to_owned() };
        assert_eq!(record(&line("GET", 200)), Some(told));
        for other in [line("GET", 404), line("PUT", 200), "{\"type\":\"start\"}".to_owned()] {
            assert_eq!(record(&other), None);
        }
    }
}
