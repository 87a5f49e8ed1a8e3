//! K1 to K4 and K7 to K10: requests that no client sends, at vaultlet and at the server.

use serde::Deserialize;

use super::scene::{CANARIES, SENT, Scene};
use super::{Tally, cut, read, repeated};
use crate::raw::{Exchange, exchange_many};

/// What is read where an input does not say what.
const X: &str = "/v1/secret/data/team-a/x";
/// A whole request that would be answered with a secret, hidden in another one's body.
const HIDDEN: &str =
    "GET /v1/secret/data/team-a/x HTTP/1.1\r\nHost: vault.test\r\nX-Vault-Token: {A}\r\n\r\n";
/// A caller's token, in turn those of both teams.
const CALLER: &str = "X-Vault-Token: {T}\r\n";

/// One input, in all its spellings. `{A}` and `{B}` are the teams' tokens, `{T}` each in turn.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Input {
    name: String,
    /// Request targets; of `headers`, `bare` and by themselves.
    targets: Vec<String>,
    /// Header lines beside a caller's token.
    headers: Vec<String>,
    /// Header lines, the caller's token among them or not at all.
    bare: Vec<String>,
    /// A method and a path.
    lines: Vec<String>,
    /// Behind each of `paths`.
    queries: Vec<String>,
    paths: Vec<String>,
    /// Written by A.
    bodies: Vec<String>,
    /// Header lines of a request behind which another one lies hidden.
    framed: Vec<String>,
    /// Chunked bodies, the same.
    chunks: Vec<String>,
    /// Everything that is sent.
    raw: Vec<String>,
    /// How many answers the bytes might be taken to ask for.
    answers: usize,
    /// Why vaultlet may be laxer than the server.
    laxer: Option<String>,
}

impl Default for Input {
    fn default() -> Self {
        let none = Vec::new;
        Self {
            name: String::new(),
            targets: none(),
            headers: none(),
            bare: none(),
            lines: none(),
            queries: none(),
            paths: none(),
            bodies: none(),
            framed: none(),
            chunks: none(),
            raw: none(),
            answers: 1,
            laxer: None,
        }
    }
}

impl Input {
    /// Every request of the input, and how many answers its bytes might be taken to ask for.
    fn spellings(&self, (a, b): (&str, &str)) -> Vec<(String, usize)> {
        let mut texts = Vec::new();
        let get = |target: &str, headers: &str| {
            (format!("GET {target} HTTP/1.1\r\nHost: vault.test\r\n{headers}\r\n"), self.answers)
        };
        let or_x =
            |list: &[String]| if list.is_empty() { vec![X.to_owned()] } else { list.to_vec() };
        if self.headers.is_empty() && self.bare.is_empty() {
            texts.extend(self.targets.iter().map(|target| get(target, CALLER)));
        }
        for target in or_x(&self.targets) {
            texts.extend(self.headers.iter().map(|more| get(&target, &format!("{CALLER}{more}"))));
            texts.extend(self.bare.iter().map(|headers| get(&target, headers)));
        }
        for path in or_x(&self.paths) {
            let queries = self.queries.iter();
            texts.extend(queries.map(|query| get(&format!("{path}?{query}"), CALLER)));
        }
        texts.extend(self.lines.iter().map(|line| {
            let head = format!("{line} HTTP/1.1\r\nHost: vault.test\r\n{CALLER}");
            (format!("{head}Content-Length: 0\r\n\r\n"), 1)
        }));
        texts.extend(self.bodies.iter().map(|body| {
            let body = repeated(&body.replace("{CANARY}", SENT));
            let head =
                "POST /v1/secret/data/scratch HTTP/1.1\r\nHost: vault.test\r\nX-Vault-Token: {A}";
            (format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()), 1)
        }));
        let framed = |head: &str, body: &str| (get(X, head).0 + body + HIDDEN, 2);
        texts.extend(
            self.framed.iter().map(|framing| framed(&format!("{CALLER}{framing}"), "0\r\n\r\n")),
        );
        let chunked = "X-Vault-Token: {B}\r\nTransfer-Encoding: chunked\r\n";
        texts.extend(self.chunks.iter().map(|chunk| framed(chunked, chunk)));
        texts.extend(self.raw.iter().map(|text| (text.clone(), self.answers)));

        let length = (HIDDEN.len() - "{A}".len() + a.len()).to_string();
        let fill = |text: &str, caller: &str| {
            let named =
                [("{X}", X), ("{HIDDEN}", HIDDEN), ("{LENGTH}", &length), ("{CANARY}", SENT)];
            let tokens = [("{T}", caller), ("{A}", a), ("{B}", b)];
            let filled = named.iter().chain(&tokens);
            // Repeated last: what is repeated may hold a name, and none of them a repetition.
            repeated(&filled.fold(text.to_owned(), |text, (from, to)| text.replace(from, to)))
        };
        let both = |(text, answers): &(String, usize)| {
            let callers = if text.contains("{T}") { vec![a, b] } else { vec![a] };
            callers.into_iter().map(|caller| (fill(text, caller), *answers)).collect::<Vec<_>>()
        };
        texts.iter().flat_map(both).collect()
    }
}

async fn run(class: &str) {
    let inputs: Vec<Input> = read(class);
    let scene = Scene::new().await;
    let (mut tally, mut faults) = (Tally::default(), Vec::new());
    for input in &inputs {
        let spellings = input.spellings((&scene.a, &scene.b));
        assert!(!spellings.is_empty(), "{class}: {} sends nothing", input.name);
        for (text, answers) in spellings {
            tally.spellings += 1;
            // Warm, what is cached might leak; cold, what is sent might be cached.
            for warm in [true, false] {
                if !warm && answers > 1 {
                    continue;
                }
                if !warm {
                    scene.forget().await;
                }
                let through =
                    exchange_many(scene.world.vaultlet.address(), text.as_bytes(), answers);
                let server = scene.world.bao.address();
                let direct = exchange_many(&server, text.as_bytes(), answers);
                let (answer, truth) = tokio::join!(through, direct);
                tally.accepted += usize::from(truth.status().is_some_and(|status| status < 300));
                tally.refused += usize::from(truth.status().is_none_or(|status| status >= 400));
                tally.stricter += usize::from(answer.status() != truth.status());
                let fault = laxer(&answer, &truth).filter(|_| input.laxer.is_none());
                let poisoned = scene.poisoned().await;
                for fault in [fault, poisoned].into_iter().flatten() {
                    let (answer, truth) = (cut(&answer.text()), cut(&truth.text()));
                    faults.push(format!(
                        "{}: {fault}\nsent: {:?}\nvaultlet: {answer:?}\nserver: {truth:?}",
                        input.name,
                        cut(&text)
                    ));
                }
            }
        }
    }
    faults.extend(scene.traces().await);
    tally.judge(class, &faults);
    scene.still_caching().await;
}

/// In what way the answer is laxer than the server's own, if it is.
fn laxer(answer: &Exchange, truth: &Exchange) -> Option<String> {
    let (ours, theirs) = (answer.text(), truth.text());
    let leaked =
        CANARIES.iter().find(|canary| ours.contains(**canary) && !theirs.contains(**canary));
    if let Some(canary) = leaked {
        return Some(format!("{canary} came out"));
    }
    let stricter = match (answer.status(), truth.status()) {
        // No answer is the strictest one; but it must come in time.
        (None, _) => answer.closed || truth.status().is_none(),
        (Some(ours), None) => ours >= 400,
        (Some(ours), Some(theirs)) => ours == theirs || (400..500).contains(&ours),
    };
    if !stricter {
        return Some(format!("{:?}, not {:?}", answer.status(), truth.status()));
    }
    let (ours, theirs) = (answer.statuses().len(), truth.statuses().len());
    (ours > theirs.max(1)).then(|| format!("{ours} answers, not {theirs}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k01_paths() {
    run("k01_paths").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k02_namespaces() {
    run("k02_namespaces").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k03_credentials() {
    run("k03_credentials").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k04_framing() {
    run("k04_framing").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k07_queries() {
    run("k07_queries").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k08_methods() {
    run("k08_methods").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k09_logs() {
    run("k09_logs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k10_sizes() {
    run("k10_sizes").await;
}
