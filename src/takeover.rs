//! How does a new process take over from a running one without a request being lost?
//!
//! Over a private socket, in one conversation that either may end at any time. Until the new process
//! has said that it answers callers, an end changes nothing: the old one goes on.
//!
//! ```text
//! new                         old
//!  Hello ────────────────────→     the same user, the same protocol?
//!        ←──────────── Sockets     what it listens on, and the audit file
//!        ←────── State, Entries    what it knows; Whole: that was all
//!  Ready ────────────────────→     from here on each hears what the other finds untrue
//!        ←───────────────── Go
//!  Taken ────────────────────→     the old one stops accepting, and drains
//!        ←────────────── Yours     it renews nothing any more; the new one does
//!        ←─────────────── Rest     what came into being while it drained: its last word
//! ```
//!
//! `docs/decisions/0014` says why nothing that becomes untrue meanwhile is served.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tracing::info;
use zeroize::Zeroizing;

use crate::handover::Handover;
use crate::sealed::content::{Content, StoredEntry};
use crate::sealed::wiped_json;
use crate::twin::{Link, News};

pub mod company;
pub mod frame;
pub mod socket;

pub use company::{Company, Word};
use company::{Frames, says};
use frame::{Broken, Frame, Kind, MAGIC, VERSION};
pub use socket::Gate;

/// How long one process waits for a word that the other should have ready.
const PROMPT: Duration = Duration::from_secs(10);

/// And for one that it may have to work for: a large cache to be read, an upstream to answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a stranger may have said that is not worth reading.
const LARGEST_NONSENSE: u64 = 64 << 10;

/// Bytes of secrets in one frame, about.
const BATCH: usize = 1 << 20;

/// Why one process did not take over from another. One paragraph each.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The socket, or where it is.
    #[error(transparent)]
    Socket(#[from] socket::Problem),
    /// The other process says no.
    #[error("the other process refuses: {0}")]
    Refused(String),
    /// It does not say what it should.
    #[error("the conversation with the other process broke off: {0}")]
    Broken(#[from] Broken),
    /// It is silent.
    #[error("the other process was silent for {0:?}")]
    Silent(Duration),
    /// It says something that has no place here.
    #[error("the other process said {0:?}, which has no place here")]
    Misplaced(Kind),
    /// It is no process of this program, or its user is another one.
    #[error("{0}")]
    Stranger(&'static str),
    /// What it says cannot be read.
    #[error("what the other process said of {0} cannot be read")]
    Unclear(&'static str),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(Broken::Failed(error))
    }
}

/// Who asks.
#[derive(Debug, Deserialize, Serialize)]
struct Hello {
    version: String,
    pid: u32,
}

/// What comes with it.
#[derive(Debug, Deserialize, Serialize)]
struct Manifest {
    version: String,
    /// What each socket is called, in the order in which they come.
    sockets: Vec<String>,
    /// Whether the last of what comes is the audit log's file.
    audit: bool,
    /// Whether its upstream answers: if so, it has to answer the new process too.
    upstream: bool,
}

/// What a running process has to give.
#[derive(Debug)]
pub struct Estate {
    /// What it listens on, by what each is called.
    pub sockets: Vec<(String, OwnedFd)>,
    /// The file of its audit log.
    pub audit: Option<OwnedFd>,
    /// Whether its upstream answers.
    pub upstream: bool,
    /// What it knows.
    pub handover: Arc<Handover>,
}

/// What a new process is given first.
#[derive(Debug)]
pub struct Inheritance {
    /// What to listen on, by what each is called.
    pub sockets: Vec<(String, OwnedFd)>,
    /// The file of the audit log.
    pub audit: Option<OwnedFd>,
    /// Whether the upstream answers the process before.
    pub upstream: bool,
    /// What it knows, but for the secrets of KV mounts.
    pub content: Content,
}

/// The running process's side: gives all it has to whoever is at `stream`, and returns once that one
/// answers callers. Dropped, or failed, it has changed nothing.
///
/// # Errors
/// The other process is not to be trusted, failed, or gave up. It has been told.
pub async fn offer(
    stream: (UnixStream, bool),
    estate: impl AsyncFnOnce() -> Result<Estate, String>,
) -> Result<Company, Failure> {
    let (mut stream, own) = stream;
    let offered = match greeted(&mut stream, own).await {
        Ok(()) => match estate().await {
            Ok(estate) => return give(stream, estate).await,
            Err(reason) => Err(Failure::Refused(reason)),
        },
        Err(failure) => Err(failure),
    };
    if let Err(failure) = &offered {
        refuse(&mut stream, &failure.to_string()).await;
    }
    offered
}

async fn greeted(stream: &mut UnixStream, own: bool) -> Result<(), Failure> {
    if !own {
        return Err(Failure::Stranger("whoever connects to upgrade.socket runs as another user"));
    }
    let hello = prompt(Frame::read(stream)).await?;
    let greeting = hello.body.strip_prefix(MAGIC).filter(|_| hello.kind == Kind::Hello);
    let (version, hello) = greeting
        .and_then(|rest| rest.split_first_chunk())
        .ok_or(Failure::Stranger("whoever connects to upgrade.socket is no vaultlet"))?;
    if u16::from_be_bytes(*version) != VERSION {
        return Err(Failure::Stranger(
            "the two programs are too far apart to take over from one another: end the old one \
             (SIGTERM), then start the new one",
        ));
    }
    let Hello { version, pid } = says("itself", hello)?;
    info!(version, pid, "another process asks to take over");
    Ok(())
}

/// As much of a reason as can still be said.
async fn refuse(stream: &mut UnixStream, reason: &str) {
    let refused = Frame::new(Kind::Refused, reason.as_bytes().to_vec());
    let said = async {
        refused.write(stream).await?;
        stream.shutdown().await?;
        // Closed on something unread, it would be lost on the way.
        tokio::io::copy(&mut stream.take(LARGEST_NONSENSE), &mut tokio::io::sink()).await
    };
    drop(timeout(Duration::from_secs(1), said).await);
}

async fn give(stream: UnixStream, estate: Estate) -> Result<Company, Failure> {
    let Estate { sockets, audit, upstream, handover } = estate;
    let manifest = Manifest {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sockets: sockets.iter().map(|(name, _)| name.clone()).collect(),
        audit: audit.is_some(),
        upstream,
    };
    let mut stream = stream;
    body(Kind::Sockets, &manifest)?.write(&mut stream).await?;
    let all = sockets.iter().map(|(_, socket)| socket.as_fd());
    let all: Vec<_> = all.chain(audit.iter().map(OwnedFd::as_fd)).collect();
    prompt(socket::send(&stream, &all)).await?;
    drop((sockets, audit));

    // Before anything is put together: whatever becomes untrue from here on is told after it.
    let (link, news) = Link::new();
    handover.told_to(Some(&link));
    let company = Company::new(stream, link, news, handover);
    timeout(PATIENCE, company.give()).await.map_err(|_| Failure::Silent(PATIENCE))?
}

/// The new process's side.
#[derive(Debug)]
pub struct Claim {
    frames: Frames,
}

/// Asks the process that listens at `path`, if there is one, for what it has.
///
/// # Errors
/// There is one, and it cannot be trusted, or refuses.
pub async fn claim(path: &Path) -> Result<Option<(Claim, Inheritance)>, Failure> {
    let Some(mut stream) = socket::connect(path).await? else { return Ok(None) };
    let hello = Hello { version: env!("CARGO_PKG_VERSION").to_owned(), pid: std::process::id() };
    let mut greeting = MAGIC.to_vec();
    greeting.extend_from_slice(&VERSION.to_be_bytes());
    greeting.extend(serde_json::to_vec(&hello).map_err(io::Error::other)?);
    Frame::new(Kind::Hello, greeting).write(&mut stream).await?;

    let manifest = expect(prompt(Frame::read(&mut stream)).await?, Kind::Sockets)?;
    let Manifest { version, sockets, audit, upstream } = says("its sockets", &manifest.body)?;
    let mut received = prompt(socket::receive(&stream)).await?;
    if received.len() != sockets.len() + usize::from(audit) {
        return Err(Failure::Unclear("its sockets"));
    }
    let audit = if audit { received.pop() } else { None };
    info!(version, sockets = sockets.len(), "taking over from a running process");
    let mut frames = Frames::new(stream);
    let state = frames.next(PATIENCE).await?;
    let state = expect(state, Kind::State)?;
    let content = Content::of_json(&state.body).map_err(|_| Failure::Unclear("its state"))?;
    let sockets = sockets.into_iter().zip(received).collect();
    Ok(Some((Claim { frames }, Inheritance { sockets, audit, upstream, content })))
}

impl Claim {
    /// Takes in the secrets of KV mounts, some at a time.
    ///
    /// # Errors
    /// The other process has failed.
    pub async fn entries(&mut self, mut take: impl FnMut(StoredEntry)) -> Result<(), Failure> {
        loop {
            let frame = self.frames.next(PATIENCE).await?;
            match frame.kind {
                Kind::Entries => {
                    let entries: Vec<StoredEntry> = says("its secrets", &frame.body)?;
                    entries.into_iter().for_each(&mut take);
                }
                Kind::Whole => return Ok(()),
                _ => return Err(misplaced(&frame)),
            }
        }
    }

    /// Says that this process could answer, and returns when it may, having taken in all that has
    /// become untrue until then. From here on each process tells the other.
    ///
    /// # Errors
    /// The other process has failed.
    pub async fn ready(mut self, handover: Arc<Handover>) -> Result<Company, Failure> {
        let (link, news) = Link::new();
        handover.told_to(Some(&link));
        link.answers();
        self.frames.say(&Frame::bare(Kind::Ready)).await?;
        let mut company = Company::of(self.frames, link, news, handover);
        company.until_go().await?;
        Ok(company)
    }

    /// Says why this process does not take over.
    pub async fn give_up(mut self, reason: &str) {
        let refused = Frame::new(Kind::Refused, reason.as_bytes().to_vec());
        drop(timeout(Duration::from_secs(1), self.frames.say(&refused)).await);
    }
}

/// The frame, if it is of this kind.
fn expect(frame: Frame, kind: Kind) -> Result<Frame, Failure> {
    if frame.kind == kind { Ok(frame) } else { Err(misplaced(&frame)) }
}

fn misplaced(frame: &Frame) -> Failure {
    match frame.kind {
        Kind::Refused => {
            Failure::Refused(String::from_utf8_lossy(&frame.body).escape_debug().to_string())
        }
        kind => Failure::Misplaced(kind),
    }
}

fn body(kind: Kind, what: &impl Serialize) -> Result<Frame, Failure> {
    let json: Zeroizing<Vec<u8>> = wiped_json(what)?;
    Ok(Frame::new(kind, json))
}

async fn prompt<T, E: Into<Failure>>(
    word: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    match timeout(PROMPT, word).await {
        Ok(word) => word.map_err(Into::into),
        Err(_) => Err(Failure::Silent(PROMPT)),
    }
}

/// Entries in frames of about [`BATCH`] bytes.
fn batches(entries: Vec<StoredEntry>) -> impl Iterator<Item = Vec<StoredEntry>> {
    let mut entries = entries.into_iter().peekable();
    std::iter::from_fn(move || {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH
            && let Some(entry) = entries.next()
        {
            bytes += entry.answer.body.expose().len() + 512;
            batch.push(entry);
        }
        (!batch.is_empty()).then_some(batch)
    })
}

/// What has become untrue, as it is said.
fn news(news: &[News]) -> Result<Frame, Failure> {
    body(Kind::News, &news)
}
