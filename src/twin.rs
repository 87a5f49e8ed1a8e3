//! Does another process answer for this node at the same time, and what must each hear of the other?
//!
//! While one process takes over from another, both answer for some seconds. What one of them finds
//! out to be untrue it tells the other, and the answer that made it untrue waits until the other has
//! taken that in. There is nobody to tell at other times, which costs a look at a pointer, and that
//! only where something has changed: never a cached read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// What is not true any more, or may not be.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// What was read at this path.
    Path(String),
    /// Whatever was read.
    Secrets,
    /// Where mounts are, and what they are.
    Mounts,
    /// That these rights classes may read anything.
    Classes(Vec<[u8; 16]>),
    /// The login that this fingerprint stands for.
    Login(Vec<u8>),
    /// All logins.
    Logins,
    /// Those of tokens that die with the token that made them.
    Children,
    /// All leases.
    Leases,
    /// Those that were issued to callers' own tokens.
    OwnLeases,
}

/// How long an answer waits for the other process. One that takes longer is not to be relied on.
const PATIENCE: Duration = Duration::from_secs(1);

/// What may be on its way to the other process at once; past that it does not listen.
const MOST: u64 = 100_000;

/// The other process; there is none most of the time.
#[derive(Debug, Default)]
pub struct Twin(ArcSwapOption<Link>);

/// The way to the other process.
#[derive(Debug)]
pub struct Link {
    outbox: mpsc::UnboundedSender<News>,
    told: AtomicU64,
    heard: watch::Sender<u64>,
    /// Whether it answers callers already: before, it takes in all news before its first answer.
    answers: AtomicBool,
    broken: CancellationToken,
}

impl News {
    /// The same, with all rights classes together: each time, every entry is looked at for them.
    pub fn gathered(news: Vec<Self>) -> Vec<Self> {
        let (mut gathered, mut classes) = (Vec::new(), BTreeSet::new());
        for news in news {
            match news {
                Self::Classes(some) => classes.extend(some),
                other => gathered.push(other),
            }
        }
        if !classes.is_empty() {
            gathered.push(Self::Classes(classes.into_iter().collect()));
        }
        gathered
    }
}

impl Twin {
    /// Tells the other process from now on.
    pub fn join(&self, link: &Arc<Link>) {
        self.0.store(Some(Arc::clone(link)));
    }

    /// There is nobody to tell any more.
    pub fn part(&self) {
        self.0.store(None);
    }

    /// Tells it, if there is one: to be called once it is untrue here.
    pub fn tell(&self, news: impl FnOnce() -> News) {
        if let Some(link) = self.0.load().as_deref() {
            link.tell(news());
        }
    }

    /// Returns once it has taken in what it was told before.
    pub async fn heard(&self) {
        let link = self.0.load_full();
        if let Some(link) = link.filter(|link| link.answers.load(Ordering::SeqCst)) {
            link.all_heard().await;
        }
    }
}

impl Link {
    /// A way to another process, and what is to be sent on it.
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<News>) {
        let (outbox, news) = mpsc::unbounded_channel();
        let link = Self {
            outbox,
            told: AtomicU64::new(0),
            heard: watch::Sender::new(0),
            answers: AtomicBool::new(false),
            broken: CancellationToken::new(),
        };
        (Arc::new(link), news)
    }

    /// The other process begins to answer callers.
    pub fn answers(&self) {
        self.answers.store(true, Ordering::SeqCst);
    }

    /// It has taken in so many news.
    pub fn heard(&self, many: u64) {
        self.heard.send_modify(|heard| *heard += many);
    }

    /// It answers callers no more: nobody has to wait for it.
    pub fn close(&self) {
        self.broken.cancel();
    }

    /// Returns when it does not listen.
    pub async fn broken(&self) {
        self.broken.cancelled().await;
    }

    fn tell(&self, news: News) {
        let told = self.told.fetch_add(1, Ordering::SeqCst) + 1;
        let waiting = told.saturating_sub(*self.heard.borrow());
        if self.outbox.send(news).is_err() || waiting > MOST {
            self.broken.cancel();
        }
    }

    async fn all_heard(&self) {
        let told = self.told.load(Ordering::SeqCst);
        let mut heard = self.heard.subscribe();
        let all = heard.wait_for(|heard| *heard >= told);
        tokio::select! {
            heard = timeout(PATIENCE, all) => if heard.is_err() {
                self.broken.cancel();
            },
            () = self.broken.cancelled() => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_until_the_other_process_has_heard() {
        let (twin, (link, mut news)) = (Twin::default(), Link::new());
        twin.tell(|| News::Secrets);
        twin.heard().await;
        assert!(news.try_recv().is_err(), "there was nobody to tell");

        twin.join(&link);
        twin.tell(|| News::Path("a".into()));
        twin.heard().await;
        assert_eq!(news.try_recv(), Ok(News::Path("a".into())));

        link.answers();
        twin.tell(|| News::Leases);
        assert!(timeout(PATIENCE / 2, twin.heard()).await.is_err());
        link.heard(2);
        timeout(PATIENCE / 2, twin.heard()).await.unwrap();
        assert!(!link.broken.is_cancelled());
    }

    #[test]
    fn rights_classes_are_looked_for_once() {
        let [one, other] = [[1; 16], [2; 16]];
        let news = vec![
            News::Classes(vec![other]),
            News::Path("a".into()),
            News::Classes(vec![one, other]),
            News::Mounts,
        ];
        let gathered = News::gathered(news);
        let expected = [News::Path("a".into()), News::Mounts, News::Classes(vec![one, other])];
        assert_eq!(gathered, expected);
        assert_eq!(News::gathered(vec![News::Logins]), [News::Logins]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_listen_holds_nobody_up_for_long() {
        let (twin, (link, _news)) = (Twin::default(), Link::new());
        twin.join(&link);
        link.answers();
        twin.tell(|| News::Logins);

        timeout(2 * PATIENCE, twin.heard()).await.unwrap();
        link.broken().await;
        twin.tell(|| News::Logins);
        timeout(PATIENCE / 100, twin.heard()).await.unwrap();
    }
}
