//! Do unmodified clients work, and read what is cached while the server is down?

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use crate::world::{World, policy};

/// Runs a program with the proxy as its Vault; its output, or what it complained about.
async fn run(
    program: &Path,
    arguments: &[&str],
    address: &str,
    token: &str,
) -> Result<String, String> {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("HOME", home.path());
    for prefix in ["BAO", "VAULT"] {
        command.env(format!("{prefix}_ADDR"), format!("http://{address}"));
        command.env(format!("{prefix}_TOKEN"), token);
        // Without a server each retry costs seconds; what is asserted is the first answer.
        command.env(format!("{prefix}_MAX_RETRIES"), "0");
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(Duration::from_mins(1), command.output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

async fn world() -> World {
    let world = World::new(json!({})).await;
    let root = world.server();
    let rules = r#"path "secret/*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }"#;
    policy(&root, "app", rules).await;
    for method in ["userpass", "approle"] {
        root.post(&format!("sys/auth/{method}"), json!({"type": method})).await.expect(204);
    }
    let user = json!({"password": "p", "token_policies": "app"});
    root.post("auth/userpass/users/u", user).await.expect(204);
    let role = json!({"token_policies": "app"});
    root.post("auth/approle/role/r", role).await.expect(204);
    world
}

#[tokio::test]
async fn the_command_line_client_works_and_reads_without_the_server() {
    let mut world = world().await;
    let (token, other) =
        (world.token(&["app", "default"]).await, world.token(&["app", "default"]).await);
    let address = world.vaultlet.address().to_owned();
    let binary = world.bao.binary().to_owned();
    let bao = async |line: &str, token: &str| {
        let arguments: Vec<&str> = line.split(' ').collect();
        run(&binary, &arguments, &address, token).await
    };

    bao("kv put -mount=secret cli password=first", &token).await.unwrap();
    bao("kv put secret/cli password=second", &token).await.unwrap();
    bao("kv patch secret/cli user=u", &token).await.unwrap();
    for caller in [&token, &other] {
        let password = bao("kv get -field=password secret/cli", caller).await;
        assert_eq!(password.as_deref(), Ok("second"));
    }
    let old = bao("kv get -version=1 -field=password secret/cli", &token).await;
    assert_eq!(old.as_deref(), Ok("first"));
    assert!(bao("kv list secret/", &token).await.unwrap().contains("cli"));
    assert!(bao("kv metadata get secret/cli", &token).await.unwrap().contains("current_version"));
    let login = bao("login -token-only -method=userpass username=u password=p", "").await.unwrap();
    assert_eq!(bao("kv get -field=user secret/cli", &login).await.as_deref(), Ok("u"));
    bao("kv delete secret/cli", &token).await.unwrap();
    assert!(bao("kv get -field=password secret/cli", &token).await.is_err());
    bao("kv undelete -versions=3 secret/cli", &token).await.unwrap();
    for caller in [&token, &other, &login] {
        bao("kv get -field=password secret/cli", caller).await.unwrap();
        bao("kv get -mount=secret -field=user cli", caller).await.unwrap();
    }

    world.bao.kill().await;
    for caller in [&token, &other, &login] {
        let password = bao("kv get -field=password secret/cli", caller).await;
        assert_eq!(password.as_deref(), Ok("second"), "with the server stopped");
        let mount = bao("kv get -mount=secret -field=user cli", caller).await;
        assert_eq!(mount.as_deref(), Ok("u"), "with the server stopped");
    }
    let refused = bao("kv get secret/never-read", &token).await.unwrap_err();
    assert!(refused.contains("vaultlet: "), "{refused}");
}

/// What the Python client does: `online` fills and reads, `offline` only reads.
const SCRIPT: &str = r#"
import os, sys
import hvac
client = hvac.Client(url=os.environ["VAULT_ADDR"], token=os.environ["VAULT_TOKEN"])
kv = client.secrets.kv.v2
def password():
    read = kv.read_secret_version(path="hvac", mount_point="secret", raise_on_deleted_version=True)
    return read["data"]["data"]["password"]
if sys.argv[1] == "online":
    kv.create_or_update_secret(path="hvac", secret={"password": "one"}, mount_point="secret")
    kv.create_or_update_secret(path="hvac", secret={"password": "two"}, mount_point="secret")
    assert password() == "two"
    old = kv.read_secret_version(path="hvac", version=1, mount_point="secret", raise_on_deleted_version=True)
    assert old["data"]["data"]["password"] == "one"
    assert "hvac" in kv.list_secrets(path="", mount_point="secret")["data"]["keys"]
    assert client.is_authenticated()
    login = hvac.Client(url=os.environ["VAULT_ADDR"])
    login.auth.approle.login(role_id=sys.argv[2], secret_id=sys.argv[3])
    assert login.secrets.kv.v2.read_secret_version(
        path="hvac", mount_point="secret", raise_on_deleted_version=True)["data"]["data"]["password"] == "two"
    try:
        kv.read_secret_version(path="missing", mount_point="secret", raise_on_deleted_version=True)
        raise SystemExit("a missing secret was found")
    except hvac.exceptions.InvalidPath:
        pass
print(password())
"#;

#[tokio::test]
async fn the_python_client_works_and_reads_without_the_server() {
    let mut world = world().await;
    let python = python();
    let root = world.server();
    let role = root.get("auth/approle/role/r/role-id").await.expect(200).json();
    let secret = root.post("auth/approle/role/r/secret-id", json!({})).await.expect(200).json();
    let (role, secret) = (&role["data"]["role_id"], &secret["data"]["secret_id"]);
    let token = world.token(&["app", "default"]).await;
    let address = world.vaultlet.address().to_owned();

    let online = ["-c", SCRIPT, "online", role.as_str().unwrap(), secret.as_str().unwrap()];
    for _ in 0..2 {
        assert_eq!(run(&python, &online, &address, &token).await.as_deref(), Ok("two"));
    }
    world.bao.kill().await;
    let offline = run(&python, &["-c", SCRIPT, "offline"], &address, &token).await;
    assert_eq!(offline.as_deref(), Ok("two"), "with the server stopped");
}

/// A Python that has hvac: named by the environment, installed by `make test`, or the system's.
fn python() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/python/bin/python3");
    let python = std::env::var_os("HVAC_PYTHON").map_or_else(
        || if installed.is_file() { installed } else { "python3".into() },
        PathBuf::from,
    );
    let check = std::process::Command::new(&python).args(["-c", "import hvac"]).output();
    assert!(
        check.is_ok_and(|output| output.status.success()),
        "this test needs a Python with hvac and {} has none: run `make test`, which installs it, \
         or name one in HVAC_PYTHON",
        python.display()
    );
    python
}
