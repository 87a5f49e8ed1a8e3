//! What does the process give away to its neighbours on the machine, and what does it need?

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use rustix::process::{Signal, geteuid};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::bao::Bao;
use crate::vaultlet::Vaultlet;
use crate::world::{self, World};

/// What `/proc/PID/FILE` says after `name`.
fn line(vaultlet: &Vaultlet, file: &str, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/{file}", vaultlet.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
}

#[tokio::test]
async fn a_crash_leaves_no_core_file() {
    let bao = Bao::dev().await;
    let by = ["sh", "-c", r#"ulimit -c unlimited; exec "$0" "$@""#];
    let mut vaultlet = Vaultlet::start_by(&by, &bao.address(), json!({})).await;

    let bounds = line(&vaultlet, "limits", "Max core file size");
    assert!(bounds.starts_with("0 "), "{bounds}");
    vaultlet.signal(Signal::ABORT);
    let ended = vaultlet.ended().await;

    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false), "{ended}");
}

/// Whether memory is locked depends on who starts it, and is said where operators look.
#[tokio::test]
async fn locked_memory_is_said_to_be() {
    let vaultlet = World::new(json!({})).await.vaultlet;

    let locked = line(&vaultlet, "status", "VmLck:") != "0 kB";

    assert_eq!(vaultlet.metric("vaultlet_memory_locked", &[]).await != 0.0, locked);
    if geteuid().is_root() {
        assert!(locked, "root may lock as much as there is");
    }
}

/// Leaves its arguments to the program whose path is the first, as nobody, with nothing to write to.
const AS_NOBODY: &str = r#"
chmod 755 "$(dirname "$4")"
mount -o remount,bind,ro /
shift
exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all "$0" "$@"
"#;

#[tokio::test]
async fn it_needs_no_root_no_capability_and_no_file_to_write_to() {
    if !geteuid().is_root() {
        return println!("skipped: only root can start a process with less than it has");
    }
    let bao = Bao::dev().await;
    world::prepare(&bao.root()).await;
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = place.path().join("vaultlet");
    // The original may lie where only root can look.
    fs::copy(env!("CARGO_BIN_EXE_vaultlet"), &program).unwrap();

    let by = ["unshare", "--mount", "sh", "-ec", AS_NOBODY, program.to_str().unwrap()];
    let vaultlet = Vaultlet::start_by(&by, &bao.address(), json!({})).await;
    let world = World { bao, vaultlet };
    world.put("app", "x").await;
    let caller = world.caller_with(&["reader"]).await;
    world::reads(&caller.get("secret/data/app").await, "x");
    world::hit(&caller, "secret/data/app", "x").await;

    assert_eq!(line(&world.vaultlet, "status", "Uid:").split('\t').next(), Some("65534"));
    assert_eq!(line(&world.vaultlet, "status", "CapEff:"), "0000000000000000");
    assert_eq!(line(&world.vaultlet, "status", "NoNewPrivs:"), "1");
    // Not dumpable: its memory and environment are root's, and closed to others of its own user.
    let environment = fs::metadata(format!("/proc/{}/environ", world.vaultlet.pid())).unwrap();
    assert_eq!(environment.uid(), 0);
}

#[tokio::test]
async fn it_takes_as_many_descriptors_as_it_may() {
    let bao = Bao::dev().await;
    let by = ["sh", "-c", r#"ulimit -Sn 300; ulimit -Hn 4000; exec "$0" "$@""#];
    let vaultlet = Vaultlet::start_by(&by, &bao.address(), json!({})).await;

    let bounds = line(&vaultlet, "limits", "Max open files");
    assert_eq!(bounds.split_whitespace().take(2).collect::<Vec<_>>(), ["4000", "4000"]);
}

/// What is connected is served; who comes when there is no descriptor left waits until there is.
#[tokio::test]
async fn running_out_of_descriptors_passes() {
    let bao = Bao::dev().await;
    world::prepare(&bao.root()).await;
    let by = ["sh", "-c", r#"ulimit -n 100; exec "$0" "$@""#];
    let vaultlet = Vaultlet::start_by(&by, &bao.address(), json!({})).await;
    let world = World { bao, vaultlet };
    world.put("app", "x").await;
    let caller = world.caller_with(&["reader"]).await;
    world::reads(&caller.get("secret/data/app").await, "x");
    let late = world.caller_with(&["reader"]).await;

    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(TcpStream::connect(world.vaultlet.address()).await.unwrap());
    }
    let began = Instant::now();
    while world.vaultlet.events("cannot accept, trying again").is_empty() {
        assert!(began.elapsed() < Duration::from_secs(5), "there are descriptors left");
        sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..20 {
        sleep(Duration::from_millis(20)).await;
        world::is_hit(&caller.get("secret/data/app").await, "x");
    }
    drop(crowd);

    let answer = timeout(Duration::from_secs(2), late.get("secret/data/app")).await;
    world::reads(&answer.unwrap(), "x");
    assert_eq!(world.vaultlet.events("cannot accept, trying again").len(), 1);
}
