//! Two processes, each of which hears what the other finds untrue.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::frame::{Broken, Frame, Kind};
use super::{Failure, PATIENCE, PROMPT, batches, body, expect, misplaced, news};
use crate::handover::Handover;
use crate::sealed::content::Content;
use crate::twin::{Link, News};

/// News in one frame.
const BATCH: usize = 512;

/// Both ways of a conversation. What comes is read by a task of its own, so that waiting for it can
/// be given up without losing half a frame.
#[derive(Debug)]
pub struct Frames {
    incoming: mpsc::Receiver<Result<Frame, Broken>>,
    outgoing: OwnedWriteHalf,
    reader: AbortHandle,
}

/// What the old process has to say once it has handed over.
#[derive(Debug)]
pub enum Word {
    /// It keeps nothing alive any more.
    Yours,
    /// What came into being meanwhile; nothing follows.
    Rest(Box<Content>),
}

/// What comes next in a conversation.
#[derive(Debug)]
enum Turn {
    /// The other process has said something, or ended.
    Hear(Option<Result<Frame, Broken>>),
    /// There are news to be told.
    Tell,
    /// It does not listen.
    Deaf,
}

/// This process, and the one it takes over from or hands over to.
#[derive(Debug)]
pub struct Company {
    frames: Frames,
    link: Arc<Link>,
    news: mpsc::UnboundedReceiver<News>,
    handover: Arc<Handover>,
    batch: Vec<News>,
}

/// What `json` says.
pub(super) fn says<T: DeserializeOwned>(what: &'static str, json: &[u8]) -> Result<T, Failure> {
    // What is wrong with it could show a value.
    serde_json::from_slice(json).map_err(|_| Failure::Unclear(what))
}

impl Frames {
    pub(super) fn new(stream: UnixStream) -> Self {
        let (mut from, outgoing) = stream.into_split();
        let (sender, incoming) = mpsc::channel(4);
        let reader = tokio::spawn(async move {
            loop {
                let frame = Frame::read(&mut from).await;
                let ended = frame.is_err();
                if sender.send(frame).await.is_err() || ended {
                    return;
                }
            }
        });
        Self { incoming, outgoing, reader: reader.abort_handle() }
    }

    pub(super) async fn next(&mut self, patience: Duration) -> Result<Frame, Failure> {
        match timeout(patience, self.incoming.recv()).await {
            Ok(Some(frame)) => Ok(frame?),
            Ok(None) => Err(Broken::Ended.into()),
            Err(_) => Err(Failure::Silent(patience)),
        }
    }

    pub(super) async fn say(&mut self, frame: &Frame) -> Result<(), Failure> {
        match timeout(PROMPT, frame.write(&mut self.outgoing)).await {
            Ok(said) => Ok(said?),
            Err(_) => Err(Failure::Silent(PROMPT)),
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Company {
    pub(super) fn new(
        stream: UnixStream,
        link: Arc<Link>,
        news: mpsc::UnboundedReceiver<News>,
        handover: Arc<Handover>,
    ) -> Self {
        Self::of(Frames::new(stream), link, news, handover)
    }

    pub(super) fn of(
        frames: Frames,
        link: Arc<Link>,
        news: mpsc::UnboundedReceiver<News>,
        handover: Arc<Handover>,
    ) -> Self {
        Self { frames, link, news, handover, batch: Vec::new() }
    }

    /// The old process's side, until the new one answers callers.
    pub(super) async fn give(mut self) -> Result<Self, Failure> {
        let given = self.until_taken().await;
        if let Err(failure) = &given
            && !matches!(failure, Failure::Refused(_))
        {
            let reason = failure.to_string().into_bytes();
            drop(self.frames.say(&Frame::new(Kind::Refused, reason)).await);
        }
        given.map(|()| self)
    }

    async fn until_taken(&mut self) -> Result<(), Failure> {
        let collected = Arc::clone(&self.handover);
        let collected = tokio::task::spawn_blocking(move || collected.living()).await;
        let (content, entries) = collected.map_err(io::Error::other)?;
        self.frames.say(&body(Kind::State, &content)?).await?;
        drop(content);
        for batch in batches(entries) {
            self.frames.say(&body(Kind::Entries, &batch)?).await?;
        }
        self.frames.say(&Frame::bare(Kind::Whole)).await?;
        // News wait until now: the last of them is younger than anything that was said before.
        loop {
            let Some(frame) = self.heard_or_told().await? else { continue };
            match frame.kind {
                Kind::Ready => {
                    self.link.answers();
                    // Nobody has waited for what was told before.
                    while let Ok(news) = self.news.try_recv() {
                        self.batch.push(news);
                        if self.batch.len() == BATCH {
                            self.tell_batch().await?;
                        }
                    }
                    self.tell_batch().await?;
                    self.frames.say(&Frame::bare(Kind::Go)).await?;
                }
                Kind::Taken => return Ok(()),
                _ => return Err(misplaced(&frame)),
            }
        }
    }

    /// The new process's side, until it may answer callers.
    pub(super) async fn until_go(&mut self) -> Result<(), Failure> {
        let go = async {
            loop {
                if let Some(frame) = self.heard_or_told().await? {
                    return expect(frame, Kind::Go).map(drop);
                }
            }
        };
        timeout(PATIENCE, go).await.map_err(|_| Failure::Silent(PATIENCE))?
    }

    /// Says that this process answers callers.
    ///
    /// # Errors
    /// The other process has ended.
    pub async fn taken(&mut self) -> Result<(), Failure> {
        self.frames.say(&Frame::bare(Kind::Taken)).await
    }

    /// Says why this process does not take over after all.
    pub async fn give_up(mut self, reason: &str) {
        self.handover.told_to(None);
        let refused = Frame::new(Kind::Refused, reason.as_bytes().to_vec());
        drop(self.frames.say(&refused).await);
    }

    /// The old process's part from then on: says what it is given, and ends after the last word, or
    /// when the other process does.
    pub async fn bequeath(mut self, mut words: mpsc::Receiver<Word>) {
        let mut said = Ok(false);
        while let Ok(false) = said {
            let next = tokio::select! {
                Some(word) = words.recv() => Either::Left(word),
                turn = self.turn() => Either::Right(turn),
            };
            // Nothing is given up in the middle of a sentence.
            said = match next {
                Either::Left(word) => self.tell(word).await,
                Either::Right(turn) => self.take(turn).await.map(|_| false),
            };
        }
        if said.is_ok() {
            // Were it closed on news that are on their way, the last word would be lost with them.
            let heard_out = async { while self.heard_or_told().await.is_ok() {} };
            drop(timeout(PROMPT, heard_out).await);
        }
        self.end(said.map(drop));
    }

    async fn tell(&mut self, word: Word) -> Result<bool, Failure> {
        let (frame, last) = match word {
            Word::Yours => (Frame::bare(Kind::Yours), false),
            Word::Rest(content) => (body(Kind::Rest, &content)?, true),
        };
        self.frames.say(&frame).await.map(|()| last)
    }

    /// The new process's part: hears the old one out. `yours` is cancelled as soon as leases and
    /// logins are this process's to keep alive. Says whether there was a last word.
    pub async fn inherit(mut self, yours: CancellationToken) -> bool {
        let heard = loop {
            match self.heard_or_told().await {
                Ok(None) => (),
                Ok(Some(frame)) if frame.kind == Kind::Yours => yours.cancel(),
                Ok(Some(frame)) if frame.kind == Kind::Rest => {
                    let rest = Content::of_json(&frame.body);
                    break rest.map_err(|_| Failure::Unclear("what was left"));
                }
                Ok(Some(frame)) => break Err(misplaced(&frame)),
                Err(failure) => break Err(failure),
            }
        };
        yours.cancel();
        match heard {
            Ok(rest) => {
                // It answers nobody any more: nobody waits for it, nor it for this process.
                self.link.close();
                drop(self.frames.outgoing.shutdown().await);
                self.handover.adopt_rest(rest).await;
                info!("the process before has said its last word");
                self.end(Ok(()));
                true
            }
            Err(failure) => {
                self.end(Err(failure));
                false
            }
        }
    }

    fn end(&self, heard: Result<(), Failure>) {
        self.handover.told_to(None);
        match heard {
            Ok(()) => (),
            Err(failure) => {
                // What the other one did last is not known here.
                warn!(%failure, "the other process has ended too early: asking about everything");
                self.handover.doubt_everything();
            }
        }
    }

    /// One turn: hears news, or tells some; or gives back what is neither.
    async fn heard_or_told(&mut self) -> Result<Option<Frame>, Failure> {
        let turn = self.turn().await;
        self.take(turn).await
    }

    /// What there is to do next. It can be given up at any time: nothing is lost, or half said.
    async fn turn(&mut self) -> Turn {
        tokio::select! {
            frame = self.frames.incoming.recv() => Turn::Hear(frame),
            _ = self.news.recv_many(&mut self.batch, BATCH) => Turn::Tell,
            () = self.link.broken() => Turn::Deaf,
        }
    }

    /// Does it, to its end.
    async fn take(&mut self, turn: Turn) -> Result<Option<Frame>, Failure> {
        match turn {
            Turn::Hear(frame) => self.hear(frame.ok_or(Broken::Ended)??).await,
            Turn::Tell => self.tell_batch().await.map(|()| None),
            Turn::Deaf => Err(Failure::Silent(PROMPT)),
        }
    }

    async fn tell_batch(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let told = news(&self.batch)?;
        self.batch.clear();
        self.frames.say(&told).await
    }

    async fn hear(&mut self, frame: Frame) -> Result<Option<Frame>, Failure> {
        match frame.kind {
            Kind::News => {
                let news: Vec<News> = says("what became untrue", &frame.body)?;
                let many = news.len().to_string().into_bytes();
                for news in News::gathered(news) {
                    self.handover.heed(&news);
                }
                self.frames.say(&Frame::new(Kind::Heard, many)).await?;
                Ok(None)
            }
            Kind::Heard => {
                self.link.heard(says("what it heard", &frame.body)?);
                Ok(None)
            }
            _ => Ok(Some(frame)),
        }
    }
}

impl Drop for Company {
    fn drop(&mut self) {
        self.handover.told_to(None);
    }
}
