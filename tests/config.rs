//! The program from outside: exit codes, what goes where, and that it refuses what is wrong.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use vaultlet::audit::Audit;
use vaultlet::clock::Clock;
use vaultlet::config::{self, AuditPaths, AuditSink};
use vaultlet::metrics::Metrics;

const DEFAULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/vaultlet.example.yaml");

/// Runs `vaultlet` with these arguments and an empty environment but for `variables`.
fn vaultlet(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet"));
    command.args(arguments).env_clear().envs(variables.iter().copied()).output().unwrap()
}

fn outcome(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// A wrong file, and everything that is said about it.
fn wrong(directory: &Path) -> (String, String) {
    let file = directory.join("vaultlet.yaml").display().to_string();
    std::fs::write(&file, "cache:\n  kv: {ttl: 0s}\nlog: {levle: debug}\n").unwrap();
    let said = format!(
        "{file}:2:13: cache.kv.ttl: 0s is out of range; at least 1ms, at most 3650d\n\
         {file}:3:7: log.levle: unknown key; did you mean `level`?\n"
    );
    (file, said)
}

#[test]
fn check_accepts_what_is_right() {
    let output = vaultlet(&["check", "--config", DEFAULTS], &[]);
    assert_eq!(outcome(&output), (0, format!("{DEFAULTS}: ok\n"), String::new()));

    let output = vaultlet(&["check"], &[("VAULT_ADDR", "http://127.0.0.1:8200")]);
    assert_eq!(outcome(&output), (0, "defaults and environment: ok\n".to_owned(), String::new()));
}

#[test]
fn check_says_everything_that_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let (file, said) = wrong(directory.path());

    let output = vaultlet(&["check", "--config", &file], &[]);

    assert_eq!(outcome(&output), (2, String::new(), said));
}

#[test]
fn check_refuses_what_would_let_in_anybody() {
    let cluster = "auth.kubernetes.issuer=https://kubernetes.default.svc";
    let check = |audience: &str| {
        let audience = format!("auth.kubernetes.audiences={audience}");
        outcome(&vaultlet(&["check", "--set", cluster, "--set", &audience], &[]))
    };

    let (code, _, stderr) = check("vaultlet");
    assert_eq!((code, stderr.as_str()), (0, ""));
    let (code, stdout, stderr) = check("https://kubernetes.default.svc");
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("auth.kubernetes.audiences.0: is the API server's own"), "{stderr}");
    let (code, _, stderr) = check("[]");
    assert_eq!(code, 2);
    assert!(stderr.contains("`audiences` is missing"), "{stderr}");
    let missing = ["check", "--set", "policy.source=local"];
    let (code, _, stderr) = outcome(&vaultlet(&missing, &[]));
    assert_eq!(code, 2);
    assert!(stderr.contains("`local` needs `identity`"), "{stderr}");
}

#[test]
fn serve_does_not_start_with_a_wrong_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let (file, said) = wrong(directory.path());

    let output = vaultlet(&["serve", "--config", &file], &[]);

    assert_eq!(outcome(&output), (2, String::new(), said));
}

#[test]
fn overrides_and_variables_are_checked_too() {
    let variables = [("VAULTLET_CACHE__KV__TTL", "0s"), ("VAULT_SKIP_VERIFY", "yes")];
    let arguments = ["check", "--config", DEFAULTS, "--set", "log.levle=debug", "--set", "nothing"];

    let (code, stdout, stderr) = outcome(&vaultlet(&arguments, &variables));

    assert_eq!((code, stdout.as_str()), (2, ""));
    let lines: Vec<_> = stderr.lines().collect();
    // The file has `tls_skip_verify`, so nobody asks for the variable.
    assert_eq!(lines.len(), 3, "{stderr}");
    assert!(lines[0].starts_with("VAULTLET_CACHE__KV__TTL: cache.kv.ttl: "), "{stderr}");
    assert!(lines[1].starts_with("--set expected KEY=VALUE"), "{stderr}");
    assert!(lines[2].starts_with("--set log.levle: unknown key"), "{stderr}");
}

#[test]
fn schema_is_json_that_closes_every_section() {
    let (code, stdout, stderr) = outcome(&vaultlet(&["schema"], &[]));

    assert_eq!((code, stderr.as_str()), (0, ""));
    let schema: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let mut sections = 0;
    let mut open = vec![&schema];
    while let Some(form) = open.pop() {
        let fields = form["properties"].as_object();
        if fields.is_some() {
            assert_eq!(form["additionalProperties"], false, "{form}");
            sections += 1;
        }
        open.extend(fields.into_iter().flat_map(|fields| fields.values()));
        open.extend(form["anyOf"].as_array().into_iter().flatten());
        open.extend(form.get("items"));
    }
    // Those below `auth.kubernetes` twice: it may be one section or a list of them.
    assert_eq!(sections, 20 + 2 * 5);
}

#[test]
fn a_command_line_that_is_wrong_exits_2() {
    for arguments in [&["sreve"][..], &["check", "--confg", "x"], &["dev", "--token", "t"], &[]] {
        let (code, stdout, stderr) = outcome(&vaultlet(arguments, &[]));
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(stderr.contains("--help"), "{stderr}");
    }
}

#[test]
fn help_of_every_command_shows_an_example() {
    for command in ["serve", "check", "audit", "schema", "dev"] {
        let (code, stdout, stderr) = outcome(&vaultlet(&[command, "--help"], &[]));
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(stdout.contains(&format!("Example:\n  vaultlet {command}")), "{stdout}");
    }
}

#[tokio::test]
async fn an_audit_log_is_whole_until_somebody_changes_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let sink = AuditSink::File { path: path.clone(), mode: 0o600 };
    let settings =
        config::Audit { sink, paths: AuditPaths::Plain, key_file: None, fail_open: false };
    let metrics = Arc::new(Metrics::new().unwrap());
    Audit::start(&settings, Clock::default(), metrics).unwrap().stop().await;
    let file = path.to_str().unwrap();
    let verify = |file: &str| outcome(&vaultlet(&["audit", "verify", file], &[]));

    let (code, stdout, stderr) = verify(file);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert!(stdout.starts_with("whole; records of answers: 0, starts: 1, seq: 1 to 2, end: "));
    let start = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, start.replace("\"file\"", "\"pipe\"")).unwrap();
    let (code, stdout, stderr) = verify(file);
    assert_eq!((code, stdout.as_str()), (1, ""));
    let expected = format!("{file}:2: this record and {file}:1 do not belong together");
    assert!(stderr.starts_with("vaultlet: the audit log is not whole; "), "{stderr}");
    assert!(stderr.contains(&expected), "{stderr}");

    let (code, stdout, stderr) = verify("none.jsonl");
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.starts_with("none.jsonl: No such file"), "{stderr}");
}
