//! Where the audit records go, and what they say.

use std::path::PathBuf;

use super::reader::{Field, Section};

/// A record of each answer that involved a secret or a refusal, accepted before the answer leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// Where the records go.
    pub sink: AuditSink,
    /// How they name what was asked for.
    pub paths: AuditPaths,
    /// Key of the digests that stand for tokens and paths; `None`: a new one in each process.
    pub key_file: Option<PathBuf>,
    /// Whether answers leave although their records are not accepted.
    pub fail_open: bool,
}

/// Where audit records go.
#[derive(Clone, Debug, PartialEq)]
pub enum AuditSink {
    /// Appended to a file, which is opened again on SIGHUP.
    File {
        /// Path of the file.
        path: PathBuf,
        /// Its permission bits where it is made.
        mode: u32,
    },
    /// Standard output.
    Stdout,
    /// A stream socket that somebody listens on.
    Unix(PathBuf),
}

/// How audit records name what was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuditPaths {
    /// As it is.
    Plain,
    /// By a digest under the audit key.
    Hmac,
}

const DEFAULT_MODE: u32 = 0o600;
/// The one sink that has no name, as Vault's own file device calls it.
const STDOUT: &str = "stdout";

/// `None`: no records. `audit: stdout` is short for `audit: {stdout: true}`.
pub(super) fn audit(field: &Field<'_>) -> Option<Audit> {
    if !field.given() {
        return None;
    }
    if field.says(STDOUT) {
        let (sink, paths) = (AuditSink::Stdout, AuditPaths::Plain);
        return Some(Audit { sink, paths, key_file: None, fail_open: false });
    }
    field.section(|audit| {
        let sink = sink(audit);
        let paths = [("plain", AuditPaths::Plain), ("hmac", AuditPaths::Hmac)];
        let paths = audit.field("paths").choice(&paths).unwrap_or(AuditPaths::Plain);
        let key_file = audit.field("key_file").readable_file();
        let fail_open = audit.field("fail_open").flag().unwrap_or(false);
        Some(Audit { sink: sink?, paths, key_file, fail_open })
    })
}

/// The one sink that is named.
fn sink(audit: &Section<'_>) -> Option<AuditSink> {
    let (file, stdout, unix) = (audit.field("file"), audit.field("stdout"), audit.field("unix"));
    let mode = audit.field("mode");
    let bits = mode.mode();
    let on = stdout.flag();

    let standard = stdout.given() && on != Some(false);
    let mut named = [(&file, file.given()), (&stdout, standard), (&unix, unix.given())]
        .into_iter()
        .filter_map(|(field, named)| named.then_some(field));
    if named.next().is_none() {
        let hint = "add `file: audit.jsonl`, `stdout: true` or `unix: audit.sock`";
        audit.complain("does not say where the records go", hint);
    }
    for second in named {
        let hint = "leave one of `file`, `stdout` and `unix`: a chain of records has one place";
        second.complain("given beside another place for the records", hint);
    }
    let plain_file = file.given() && !file.says(STDOUT);
    if mode.given() && !plain_file {
        mode.complain("only a file has a mode", "remove it, or give `file` a path");
    }
    if plain_file {
        let (path, mode) = (file.new_file()?, bits.unwrap_or(DEFAULT_MODE));
        return Some(AuditSink::File { path, mode });
    }
    if unix.given() { unix.path().map(AuditSink::Unix) } else { Some(AuditSink::Stdout) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Given;
    use super::*;

    #[test]
    fn an_audit_goes_to_one_place() {
        let sink = |yaml: &str| Given::new(&format!("audit: {yaml}")).config().audit.unwrap().sink;
        for yaml in ["stdout", "{stdout: true}", "{file: stdout}"] {
            assert_eq!(sink(yaml), AuditSink::Stdout, "{yaml}");
        }
        let given =
            Given::new("audit: {file: a.jsonl, stdout: false, paths: hmac, key_file: f.yaml}");
        let (path, key) = (given.file().with_file_name("a.jsonl"), given.file());
        let audit = given.config().audit.unwrap();
        assert_eq!(audit.sink, AuditSink::File { path, mode: 0o600 });
        assert_eq!(
            (audit.paths, audit.key_file, audit.fail_open),
            (AuditPaths::Hmac, Some(key), false)
        );

        let config = given.set("audit.unix=a.sock").set("audit.fail_open=true").config();
        assert_eq!(config.audit.unwrap().sink, AuditSink::Unix("a.sock".into()));
        let config = Given::new("").set("audit.file=a.jsonl").set("audit.mode=0640").config();
        let path = "a.jsonl".into();
        assert_eq!(config.audit.unwrap().sink, AuditSink::File { path, mode: 0o640 });
        let config = Given::new("").variable("VAULTLET_AUDIT", "stdout").config();
        assert_eq!(config.audit.unwrap().paths, AuditPaths::Plain);
        assert_eq!(Given::new("").config().audit, None);
    }
}
