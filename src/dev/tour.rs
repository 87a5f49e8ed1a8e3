//! What does the proxy do? Shown with real requests to its listener, each step checking its claim.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::caller::{Caller, Seen};
use super::pods::Pods;
use super::samples::{PASSWORD, PODS_SECRET, SECRET, Samples, Tokens, UNREAD, sample};
use super::server::Server;
use super::{Upstream, say};

mod pods;

use pods::PodCallers;

/// What the writer writes.
const ROTATED: &str = "second-value";
/// Enough for a median to be one.
const MANY: usize = 500;
/// The proxy looks for a lost server twice a second or so, and must be back well within this.
const RECOVERY: Duration = Duration::from_secs(10);

/// The callers, each with a connection of its own.
struct Tour {
    pods: [Caller; 2],
    writer: Caller,
    intern: Caller,
    service_accounts: Option<PodCallers>,
    /// Steps that did not do what they say.
    failed: usize,
}

/// What a step saw against its claim; empty: it held.
type Against = Vec<String>;

/// Shows all of it. The inner result says whether each step did what it says.
///
/// # Errors
/// It cannot go on: the server does not start again, or standard output is gone.
pub(super) async fn run(
    (front, admin): (SocketAddr, SocketAddr),
    samples: &Samples,
    tokens: &Tokens,
    pods: Option<&Pods>,
    upstream: &Upstream,
    server: &mut Option<Server>,
) -> Result<Result<(), String>, String> {
    let caller = |name, token: &str| Caller::new(name, token, front);
    let mut tour = Tour {
        pods: [caller("pod-a", &tokens.pods[0]), caller("pod-b", &tokens.pods[1])],
        writer: caller("writer", &tokens.writer),
        intern: caller("intern", &tokens.intern),
        service_accounts: pods.map(|pods| PodCallers::new(pods, front, admin)),
        failed: 0,
    };
    tour.connect().await?;
    say(format_args!("Each caller reads /v1/{SECRET}. Times are this machine's, {BUILD}.\n"))?;

    say("1. The first read goes to the server.")?;
    let against = tour.first_read().await;
    tour.verdict(against)?;

    say("2. A second caller with the same rights is answered from memory.")?;
    let direct =
        server.as_ref().map(|server| Caller::new("pod-b", &tokens.pods[1], server.address()));
    let against = tour.second_read(direct).await;
    tour.verdict(against)?;

    say("3. A caller without the right is refused.")?;
    let against = tour.no_right().await;
    tour.verdict(against)?;

    say("4. A write through vaultlet is seen at once, by everybody.")?;
    let against = tour.write().await;
    tour.verdict(against)?;

    tour.service_accounts().await?;

    say("8. The server is stopped. What was read goes on being answered, to the same callers.")?;
    if let (Upstream::Own(program), Some(running)) = (upstream, server.take()) {
        let address = running.address();
        let stopped = running.stop().await;
        let against = tour.without_server(stopped).await;
        tour.verdict(against)?;

        say("Afterwards. The server is started again, with its first data and the same tokens.")?;
        *server = Some(Server::start_at(program, address).await?);
        samples.fill().await?;
        if let Some(pods) = pods {
            samples.admit(pods).await?.map_err(|why| format!("no pod can log in: {why}"))?;
        }
        let against = tour.recovery().await;
        tour.verdict(against)?;
    } else {
        say("   skipped: the server was named with --upstream, and is not ours to stop\n")?;
    }
    Ok(match tour.failed {
        0 => Ok(()),
        1 => Err("one step of the tour did not do what it says; see FAILED above".to_owned()),
        n => Err(format!("{n} steps of the tour did not do what they say; see FAILED above")),
    })
}

const BUILD: &str = if cfg!(debug_assertions) {
    "of a debug build, on kept-alive connections"
} else {
    "on kept-alive connections"
};

impl Tour {
    /// So that no timing includes a connection's beginning. The path needs no token.
    async fn connect(&mut self) -> Result<(), String> {
        let [pod_a, pod_b] = &mut self.pods;
        for caller in [pod_a, pod_b, &mut self.writer, &mut self.intern] {
            caller.read("sys/seal-status").await?;
        }
        match &mut self.service_accounts {
            Some(pods) => pods.connect().await,
            None => Ok(()),
        }
    }

    /// The steps of those who bring no Vault token.
    async fn service_accounts(&mut self) -> Result<(), String> {
        let Some(mut pods) = self.service_accounts.take() else {
            return say("5, 6, 7. Pods of service accounts.\n   skipped: there are none\n");
        };
        say(format_args!(
            "Pods read /v1/{PODS_SECRET}, and bring nothing but their Kubernetes tokens.\n"
        ))?;
        say("5. Two pods of one service account share one login upstream, and what it may read.")?;
        let against = pods.two_pods().await;
        self.verdict(against)?;

        say("6. A pod of another team is refused.")?;
        let against = pods.other_team().await;
        self.verdict(against)?;

        say("7. An application that logs in by itself is answered here, by the same login.")?;
        let against = pods.unmodified().await;
        self.verdict(against)?;
        self.service_accounts = Some(pods);
        Ok(())
    }

    async fn first_read(&mut self) -> Result<Against, String> {
        let seen = shown(&mut self.pods[0]).await?;
        let mut against = served(&seen, PASSWORD);
        claim(&mut against, !seen.hit() && seen.cache.is_some(), "a miss", &seen);
        Ok(against)
    }

    async fn second_read(&mut self, direct: Option<Caller>) -> Result<Against, String> {
        let pod = &mut self.pods[1];
        let seen = shown(pod).await?;
        let mut against = served(&seen, PASSWORD);
        claim(&mut against, seen.hit(), "a hit", &seen);
        if seen.hit() {
            note("its token was looked up first; from then on the server is not asked")?;
        }

        let (times, other) =
            many(pod, SECRET, |seen| seen.hit() && served(seen, PASSWORD).is_empty()).await?;
        claim(
            &mut against,
            other.is_none(),
            "hits only",
            other.as_ref().map_or("", String::as_str),
        );
        let [median, rare] = [at(&times, 50), at(&times, 99)];
        note(format_args!("{MANY} more: median {median} us, 99th percentile {rare} us"))?;
        if let Some(mut direct) = direct {
            let (times, _) = many(&mut direct, SECRET, |_| true).await?;
            note(format_args!("the server itself, {MANY} times: median {} us", at(&times, 50)))?;
        }
        Ok(against)
    }

    async fn no_right(&mut self) -> Result<Against, String> {
        let seen = shown(&mut self.intern).await?;
        let mut against = refused(&seen);
        claim(&mut against, seen.status == StatusCode::FORBIDDEN, "403", &seen);
        Ok(against)
    }

    async fn write(&mut self) -> Result<Against, String> {
        let body = json!({ "data": sample(ROTATED) });
        let written = self.writer.write(SECRET, &body).await?;
        line(self.writer.name, "writes", &written)?;
        let mut against = Against::new();
        claim(&mut against, written.status == StatusCode::OK, "200", &written);
        for pod in &mut self.pods {
            let seen = shown(pod).await?;
            against.extend(served(&seen, ROTATED));
        }
        Ok(against)
    }

    async fn without_server(&mut self, stopped: bool) -> Result<Against, String> {
        let mut against = Against::new();
        claim(&mut against, stopped, "nobody at the server's address", "a connection");
        for pod in &mut self.pods {
            let seen = shown(pod).await?;
            claim(&mut against, seen.hit(), "a hit", &seen);
            let right = |seen: &Seen| seen.hit() && served(seen, ROTATED).is_empty();
            let (times, other) = many(pod, SECRET, right).await?;
            let other = other.as_ref().map_or("", String::as_str);
            claim(&mut against, other.is_empty(), "hits only", other);
            note(format_args!("{MANY} more: median {} us", at(&times, 50)))?;
            against.extend(served(&seen, ROTATED));
        }
        let seen = shown(&mut self.intern).await?;
        against.extend(refused(&seen));
        let seen = self.pods[0].read(UNREAD).await?;
        line(self.pods[0].name, "reads what nobody has", &seen)?;
        claim(&mut against, seen.status.is_server_error(), "an error: it is not cached", &seen);
        if let Some(pods) = &mut self.service_accounts {
            against.extend(pods.without_server().await?);
        }
        Ok(against)
    }

    /// The server is another one as far as its data go, and nothing of the old one may remain.
    async fn recovery(&mut self) -> Result<Against, String> {
        let begun = Instant::now();
        loop {
            let [known, unread] =
                [self.pods[1].read(SECRET).await?, self.pods[0].read(UNREAD).await?];
            let mut against = served(&known, PASSWORD);
            against.extend(served(&unread, PASSWORD));
            let mut logged_in = None;
            if let Some(pods) = &mut self.service_accounts {
                let seen = pods.recovery().await?;
                against.extend(served(&seen, PASSWORD));
                logged_in = Some((pods, seen));
            }
            if against.is_empty() || begun.elapsed() > RECOVERY {
                line(self.pods[1].name, "reads", &known)?;
                line(self.pods[0].name, "reads what nobody had", &unread)?;
                if let Some((pods, seen)) = logged_in {
                    pods.recovered(&seen)?;
                }
                note(format_args!("{} ms after it was filled", begun.elapsed().as_millis()))?;
                return Ok(against);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// A request without an answer is against any claim.
    fn verdict(&mut self, against: Result<Against, String>) -> Result<(), String> {
        let against = against.unwrap_or_else(|error| vec![error]);
        if against.is_empty() {
            return say("   ok\n");
        }
        self.failed += 1;
        for against in &against {
            say(format_args!("   FAILED: {against}"))?;
        }
        say("")
    }
}

/// One read of [`SECRET`], as a line of the transcript.
async fn shown(caller: &mut Caller) -> Result<Seen, String> {
    let seen = caller.read(SECRET).await?;
    line(caller.name, "reads", &seen)?;
    Ok(seen)
}

/// As many reads, sorted by how long they took, and the first that was not `right`.
async fn many(
    caller: &mut Caller,
    path: &str,
    right: impl Fn(&Seen) -> bool,
) -> Result<(Vec<Duration>, Option<String>), String> {
    let (mut times, mut other) = (Vec::with_capacity(MANY), None);
    for _ in 0..MANY {
        let seen = caller.read(path).await?;
        times.push(seen.took);
        if !right(&seen) {
            other.get_or_insert_with(|| seen.to_string());
        }
    }
    times.sort_unstable();
    Ok((times, other))
}

/// The percentile of times that are sorted, in microseconds.
fn at(times: &[Duration], percent: usize) -> u128 {
    times[(times.len() - 1) * percent / 100].as_micros()
}

fn served(seen: &Seen, password: &str) -> Against {
    let mut against = Against::new();
    let right = seen.status == StatusCode::OK && seen.password() == Some(password);
    claim(&mut against, right, &format!("200 with password={password}"), seen);
    against
}

/// Whatever the reason, the secret is not there.
fn refused(seen: &Seen) -> Against {
    let mut against = Against::new();
    let text = seen.body.to_string();
    let leaks = [PASSWORD, ROTATED].iter().any(|password| text.contains(password));
    let right = seen.status != StatusCode::OK && !seen.hit() && !leaks;
    claim(&mut against, right, "no secret", seen);
    against
}

fn claim(against: &mut Against, right: bool, wanted: &str, seen: impl Display) {
    if !right {
        against.push(format!("expected {wanted}, saw {seen}"));
    }
}

fn line(who: &str, what: &str, seen: &Seen) -> Result<(), String> {
    say(format_args!("   {who:7}{what:22}{seen}"))
}

fn note(text: impl Display) -> Result<(), String> {
    say(format_args!("          {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: u16, cache: &str, password: &str) -> Seen {
        Seen {
            status: StatusCode::from_u16(status).unwrap(),
            cache: Some(cache.to_owned()),
            detail: None,
            body: json!({ "data": { "data": { "password": password } } }),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn a_claim_that_does_not_hold_says_what_was_seen() {
        assert!(served(&seen(200, "HIT", PASSWORD), PASSWORD).is_empty());

        let against = served(&seen(200, "HIT", PASSWORD), ROTATED);
        let said = "expected 200 with password=second-value, saw 200  HIT";
        assert!(against[0].starts_with(said), "{against:?}");
        assert!(against[0].ends_with("password=first-value"), "{against:?}");
        assert_eq!(served(&seen(502, "MISS", PASSWORD), PASSWORD).len(), 1);
    }

    #[test]
    fn a_refusal_with_the_secret_in_it_is_none() {
        assert!(refused(&seen(403, "MISS", "")).is_empty());
        for leak in [seen(403, "MISS", PASSWORD), seen(403, "HIT", ""), seen(200, "MISS", "")] {
            assert_eq!(refused(&leak).len(), 1, "{leak}");
        }
    }

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let times: Vec<_> = (1..=100).map(Duration::from_micros).collect();

        assert_eq!([at(&times, 50), at(&times, 99), at(&times[..1], 50)], [50, 99, 1]);
    }
}
