//! The way to the server: connections that are pipes in memory, and all that goes wrong on them.
//!
//! When a request is answered is drawn twice: how long it takes to get there, and how long its
//! answer takes to come back. That is the interleaving: what was so at the server when it was asked
//! may not be so any more when the answer is read.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::sleep;
use vaultlet::upstream::Carrier;

use crate::history::SECRETS;
use crate::properties::RECOVERY;
use crate::server::{Said, number};
use crate::situations::Situation;
use crate::world::{Fault, State, World};

/// A request as it arrived.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) token: String,
    body: Vec<u8>,
}

impl Asked {
    /// Its body.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    fn health(&self) -> bool {
        self.path == "/v1/sys/health"
    }
}

/// What connects to the server of this world.
pub(crate) fn carrier(world: &World) -> Carrier {
    let world = world.clone();
    Carrier::new(move || connect(world.clone()))
}

async fn connect(world: World) -> io::Result<DuplexStream> {
    let fault = {
        let mut state = world.state();
        let fault = state.fault(world.now());
        match fault {
            Some(Fault::Refuse) => state.met(Situation::Refused),
            Some(Fault::Hang) => state.met(Situation::Hung),
            _ => (),
        }
        fault
    };
    match fault {
        Some(Fault::Refuse) => {
            world.note(format_args!("server: refuses a connection"));
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Some(Fault::Hang) => std::future::pending().await,
        _ => (),
    }
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move { drop(serve(world, ours).await) });
    Ok(theirs)
}

/// Answers what comes on a connection, until either end has had enough.
async fn serve(world: World, mut connection: DuplexStream) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(asked) = read(&mut connection, &mut buffer).await? {
        let came = world.now();
        let (fault, there, back) = {
            let mut state = world.state();
            let fault = state.fault(world.now());
            (fault, delay(&mut state), delay(&mut state))
        };
        sleep(there).await;
        match fault {
            Some(Fault::Refuse) => return Ok(()),
            Some(Fault::Hang) => {
                world.state().met(Situation::Hung);
                std::future::pending::<()>().await;
            }
            _ => (),
        }
        let carried_out = match fault {
            Some(Fault::Status(_) | Fault::Garbage | Fault::Tear) => world.state().rng.bool(),
            _ => true,
        };
        let (said, ticket) =
            if carried_out { answer(&world, &asked) } else { ((500, String::new()), None) };
        sleep(back).await;
        let late = fault == Some(Fault::Late);
        if late {
            let longest = world.state().rng.u64(1_000..15_000);
            sleep(Duration::from_millis(longest)).await;
        }
        let whole = spell(&said);
        let (bytes, lasts) = spoilt(&world, fault, &asked, &said, whole);
        told(&world, &asked, &said, (fault, carried_out), came, ticket);
        connection.write_all(&bytes).await?;
        if !lasts {
            return Ok(());
        }
    }
    Ok(())
}

/// What the server says, now; and a number for its being under way, if it is a read of a secret.
fn answer(world: &World, asked: &Asked) -> (Said, Option<u64>) {
    let now = world.now();
    let mut state = world.state();
    let patience = state.settings.timeout;
    let Asked { method, path, token, .. } = asked;
    let token = token.strip_prefix("hvs.").and_then(|token| token.parse::<usize>().ok());
    let body = asked.json();
    let renewed = number(body["lease_id"].as_str().unwrap_or_default())
        .filter(|_| path == "/v1/sys/leases/renew");
    if let Some(lease) = renewed
        && let Some(lease) = state.leases.get_mut(lease)
    {
        // Who has given one up may try again.
        let other = lease.renewal.replace(now);
        if other.is_some_and(|begun| now < begun + patience) {
            state.violated(now, "two renewals of one lease at once");
        }
    }
    let said = state.answer(asked, now);
    let status = said.0;
    if let Some(token) = token.filter(|_| status == 200 && path == "/v1/db/creds/app") {
        let other = state.issuing.insert(token, now);
        // Where it cannot be told whether a path gives credentials, its requests are passed on.
        let from = state.before(now, RECOVERY + patience);
        let well = !state.was_troubled(None, from, now);
        if well && other.is_some_and(|begun| now < begun + patience) {
            state.violated(now, "two credentials asked for at once, for one owner");
        }
    }
    let who = token.map_or_else(|| "-".to_owned(), |token| format!("token {token}"));
    let place = state.trace.note(now, format_args!("server: {method} {path} by {who}: {status}"));
    let secret = SECRETS.iter().position(|(its, _)| path.strip_prefix("/v1/") == Some(its));
    let read = secret.filter(|_| method == "GET" && status == 200);
    let ticket = read.map(|secret| {
        let cluster = state.cluster;
        state.reads.push((place, secret, Some(cluster)));
        place
    });
    (said, ticket)
}

/// The answer is on its way now.
fn told(
    world: &World,
    asked: &Asked,
    said: &Said,
    (fault, carried_out): (Option<Fault>, bool),
    came: Duration,
    ticket: Option<u64>,
) {
    let now = world.now();
    let mut state = world.state();
    if asked.path == "/v1/sys/leases/renew"
        && carried_out
        && let Some(number) = number(asked.json()["lease_id"].as_str().unwrap_or_default())
        && let Some(lease) = state.leases.get_mut(number)
    {
        lease.renewal = None;
        if said.0 == 200 {
            state.met(Situation::LeaseRenewed);
        }
    }
    if asked.path == "/v1/db/creds/app" {
        let token = asked.token.strip_prefix("hvs.").and_then(|token| token.parse().ok());
        token.map(|token: usize| state.issuing.remove(&token));
    }
    let whole = matches!(fault, None | Some(Fault::Late));
    // A look at an address has two seconds.
    if asked.health() && whole && said.0 == 200 && now < came + Duration::from_secs(2) {
        let cluster = (0..state.noticed.len())
            .find(|cluster| said.1.contains(&format!("\"cluster-{cluster}\"")));
        if let Some(cluster) = cluster {
            state.noticed[cluster].get_or_insert(now);
        }
    }
    if asked.method != "GET" && carried_out && !whole && said.0 < 300 {
        state.met(Situation::WriteLost);
    }
    let Some(ticket) = ticket else { return };
    let Some(index) = state.reads.iter().position(|(its, ..)| *its == ticket) else { return };
    let (_, _, read_in) = state.reads.remove(index);
    if read_in.is_none() {
        state.met(Situation::OvertakenRead);
    } else if let Some(cluster) = read_in
        && state.noticed[(cluster as usize + 1)..].iter().any(Option::is_some)
    {
        state.met(Situation::LateFromOther);
    }
}

/// What arrives of an answer, and whether the connection lasts.
fn spoilt(
    world: &World,
    fault: Option<Fault>,
    asked: &Asked,
    said: &Said,
    mut whole: Vec<u8>,
) -> (Vec<u8>, bool) {
    let Some(fault) = fault else { return (whole, true) };
    let mut state = world.state();
    let now = world.now();
    let (situation, lasts) = match fault {
        Fault::Refuse | Fault::Hang => return (Vec::new(), false),
        Fault::Late => (Situation::Late, true),
        Fault::Tear => {
            let cut = state.rng.usize(..whole.len());
            whole.truncate(cut);
            (Situation::Torn, false)
        }
        Fault::Status(status) => {
            whole = spell(&(status, "{\"errors\":[\"not now\"]}\n".to_owned()));
            let throttled = status == 429;
            (if throttled { Situation::Throttled } else { Situation::Failing }, true)
        }
        Fault::Garbage => {
            whole = match state.rng.u8(..5) {
                0 => b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(),
                1 => spell(&(200, "<html><body>Welcome</body></html>".to_owned())),
                2 => spell(&(200, "{\"status\":\"ok\"}".to_owned())),
                // The right answer, and half of it; or with errors in it.
                3 => spell(&(said.0, said.1.chars().take(said.1.len() / 2).collect())),
                _ => spell(&(200, said.1.replacen('{', "{\"errors\":[\"no\"],", 1))),
            };
            (Situation::Garbage, true)
        }
    };
    state.met(situation);
    state.trace.note(now, format_args!("server: spoils {} by {fault:?}", asked.path));
    (whole, lasts)
}

/// Mostly soon, sometimes not.
fn delay(state: &mut State) -> Duration {
    let micros = match state.rng.u8(..20) {
        0..=5 => 0,
        6..=11 => state.rng.u64(..2_000),
        12..=17 => state.rng.u64(..40_000),
        _ => state.rng.u64(..900_000),
    };
    Duration::from_micros(micros)
}

fn spell((status, body): &Said) -> Vec<u8> {
    let length = body.len();
    let length =
        if *status == 204 { String::new() } else { format!("content-length: {length}\r\n") };
    let head = "cache-control: no-store\r\ncontent-type: application/json\r\n";
    format!("HTTP/1.1 {status} Said\r\n{head}{length}\r\n{body}").into_bytes()
}

/// The next request on a connection; `None`: its other end has closed it.
async fn read(connection: &mut DuplexStream, buffer: &mut Vec<u8>) -> io::Result<Option<Asked>> {
    loop {
        if let Some((asked, length)) = parse(buffer) {
            buffer.drain(..length);
            return Ok(Some(asked));
        }
        if connection.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// The first request in `bytes` and its length, once all of it is there. What sends it is hyper.
fn parse(bytes: &[u8]) -> Option<(Asked, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ').map(str::to_owned);
    let (method, path) = (first.next()?, first.next()?);
    let (mut token, mut length) = (String::new(), 0);
    for line in lines {
        let Some((name, value)) = line.split_once(": ") else { continue };
        match name.to_ascii_lowercase().as_str() {
            "x-vault-token" => value.clone_into(&mut token),
            "content-length" => length = value.parse().unwrap_or_default(),
            "transfer-encoding" => {
                // One chunk, as a body at hand is sent.
                let rest = &bytes[end..];
                let over = rest.windows(5).position(|five| five == b"0\r\n\r\n")? + 5;
                let start = rest.windows(2).position(|two| two == b"\r\n")? + 2;
                let body = rest[start.min(over)..over].to_vec();
                let body = body.split(|byte| *byte == b'\r').next().unwrap_or_default().to_vec();
                return Some((Asked { method, path, token, body }, end + over));
            }
            _ => (),
        }
    }
    let body = bytes.get(end..end + length)?.to_vec();
    Some((Asked { method, path, token, body }, end + length))
}
