//! Who else may talk to the socket, and who else may listen there?

use std::os::unix::fs::chown;

use tokio::net::UnixListener;

use super::*;
use crate::stub::{Reply, Stub};
use crate::world::{World, hit};

const NOBODY: u32 = 65_534;

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

#[tokio::test]
async fn whatever_is_said_is_refused_and_harms_nothing() {
    let meeting = Meeting::new();
    let mut world = World::new(meeting.settings(json!({}))).await;
    world.put("app", "fine").await;
    world.caller("root").get("secret/data/app").await.expect(200);
    let cut = &hello(1)[..20];
    let long = [&u32::MAX.to_be_bytes()[..], &[words::STATE]].concat();
    let no_json = [b"vaultlet-upgrade".as_slice(), &1_u16.to_be_bytes(), b"{\"pid"].concat();
    let mut failures = 0;
    for (said, reason) in [
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), "none of the words"),
        (vec![0; 64], "none of the words of this protocol"),
        (Vec::new(), "it has ended the conversation"),
        (cut.to_vec(), "in the middle of a sentence"),
        (long, "longer than it can be"),
        (hello(2), "too far apart"),
        (hello(0), "too far apart"),
        (word(words::HELLO, b"hello"), "no vaultlet"),
        (word(words::HELLO, &no_json), "cannot be read"),
        (word(words::READY, b""), "no vaultlet"),
        (word(words::REST, b"{}"), "no vaultlet"),
    ] {
        let answer = meeting.say(&said).await;
        assert!(answer.contains(reason), "{}: {answer}", said.escape_ascii());
        failures += 1;
    }
    for _ in 0..40 {
        let noise: Vec<u8> = (0..fastrand::usize(1..300)).map(|_| fastrand::u8(..)).collect();
        meeting.say(&noise).await;
        failures += 1;
    }
    until("all are refused", async || world.vaultlet.events(GOES_ON).len() == failures).await;
    hit(&world.caller("root"), "secret/data/app", "fine").await;
    take_over(&mut world.vaultlet).await;
    hit(&world.caller("root"), "secret/data/app", "fine").await;
}

/// The mode keeps others out; should it be changed, their credentials do.
#[tokio::test]
async fn another_user_gets_nothing() {
    if !root() {
        return println!("skipped: only root can be somebody else");
    }
    let meeting = Meeting::new();
    let world = World::new(meeting.settings(json!({}))).await;
    let ask = async || {
        let script = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) \
                      or die qq(connect: $!); syswrite $s, q(hello); local $/; print <$s>;";
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "perl", "-e"]);
        let output = command.arg(script).arg(meeting.socket()).output().await.unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let open = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    open(meeting.0.path(), 0o755);
    let answer = ask().await;
    assert!(answer.contains("Permission denied"), "{answer}");

    open(&meeting.socket(), 0o666);
    let answer = ask().await;
    assert!(answer.contains("runs as another user"), "{answer}");
    assert!(!answer.contains("fingerprint"), "{answer}");
    world.caller("root").get("sys/mounts").await.expect(200);
}

/// A place where somebody else could listen is none to ask for secrets, or to offer them.
#[tokio::test]
async fn what_others_can_reach_is_not_asked() {
    let meeting = Meeting::new();
    let world = World::new(meeting.settings(json!({}))).await;
    let refused = async |reason: &str| {
        let mut next = world.vaultlet.begin_another();
        assert_eq!(next.ended().await.code(), Some(1), "{}", next.log());
        until(reason, async || next.log().contains(reason)).await;
        assert_eq!(next.log().lines().count(), 1, "one paragraph: {}", next.log());
        world.caller("root").get("sys/mounts").await.expect(200);
    };
    let permit = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    permit(&meeting.socket(), 0o660);
    refused("has a mode other than 0600").await;
    permit(&meeting.socket(), 0o600);
    permit(meeting.0.path(), 0o770);
    refused("its directory is writable by others").await;
    permit(meeting.0.path(), 0o700);
    if root() {
        chown(meeting.0.path(), Some(NOBODY), None).unwrap();
        refused("its directory belongs to another user").await;
        chown(meeting.0.path(), Some(0), None).unwrap();
        chown(meeting.socket(), Some(NOBODY), None).unwrap();
        refused("belongs to another user").await;
    }
    assert!(world.vaultlet.events(GOES_ON).is_empty(), "nobody has asked");
}

/// What listens there is no vaultlet, or one that says no: the new process ends, and says why.
#[tokio::test]
async fn a_predecessor_that_talks_nonsense_is_left_alone() {
    let stub = Stub::alone(|_| Reply::Forward).await;
    let sockets = json!({"version": "0.1.0", "sockets": [], "audit": false, "upstream": false});
    let sockets = word(words::SOCKETS, sockets.to_string().as_bytes());
    let two = json!({"version": "0", "sockets": ["a", "b"], "audit": true, "upstream": false});
    let two = word(words::SOCKETS, two.to_string().as_bytes());
    for (said, reason) in [
        (word(words::REFUSED, b"not today"), "the other process refuses: not today"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "none of the words"),
        (Vec::new(), "it has ended the conversation"),
        (word(words::GO, b""), "has no place here"),
        (word(words::SOCKETS, b"{}"), "what the other process said of its sockets"),
        ([&two[..], b"\0"].concat(), "what the other process said of its sockets"),
        ([&sockets[..], b"\0"].concat(), "it has ended the conversation"),
        ([&sockets[..], b"\0", &word(words::STATE, b"{\"x\":")].concat(), "said of its state"),
    ] {
        let meeting = Meeting::new();
        let listener = UnixListener::bind(meeting.socket()).unwrap();
        fs::set_permissions(meeting.socket(), fs::Permissions::from_mode(0o600)).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let length = stream.read_u32().await.unwrap();
            let mut hello = vec![0; 1 + length as usize];
            stream.read_exact(&mut hello).await.unwrap();
            stream.write_all(&said).await.unwrap();
        });
        let config = meeting.at("vaultlet.yaml");
        let mut settings = meeting.settings(json!({
            "upstream": {"address": stub.address()},
            "listeners": [{"address": "127.0.0.1:0"}],
            "admin": {"address": "127.0.0.1:0"},
        }));
        settings.as_object_mut().unwrap().remove("audit");
        crate::vaultlet::write_config(&config, &settings);
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet"));
        command.args(["serve", "--config"]).arg(&config).env_clear().kill_on_drop(true);
        let output = timeout(Duration::from_secs(20), command.output()).await.unwrap().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{reason}: {text}");
        assert!(text.contains(reason), "{reason}: {text}");
        assert!(text.contains("cannot take over from the one that runs"), "{text}");
    }
}
