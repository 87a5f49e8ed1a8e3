//! Taking over from a process that runs, and leaving to one that takes over: what `takeover` says,
//! done to the parts of this program.

use std::fs::File;
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::keeping;
use super::parts::Parts;
use super::tasks;
use crate::audit::Audit;
use crate::config::{Bind, Config, Listener};
use crate::error::BoxError;
use crate::handover::Handover;
use crate::sealed::content::Content;
use crate::server::{Legacy, Server};
use crate::takeover::{self, Claim, Company, Estate, Gate, Inheritance};
use crate::upstream::Upstream;

/// How long an upstream that answers the process before may take to answer this one.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long another process may go on writing to the audit log once it is not heard of any more.
const LAST_RECORDS: Duration = Duration::from_secs(10);

/// How long whoever asks to take over waits for the last word of the process before this one.
const LAST_WORD: Duration = Duration::from_secs(3);

/// What is asked for at the operators' address is theirs.
const OPERATORS: &str = "admin:";

/// The process that runs already; mostly there is none.
#[derive(Debug, Default)]
pub(super) struct Predecessor {
    claim: Option<Claim>,
    sockets: Vec<(String, OwnedFd)>,
    audit: Option<File>,
    /// Whether its upstream answers.
    pub(super) upstream: bool,
    content: Option<Content>,
}

impl Predecessor {
    /// Looks for it, and asks it to let this process take over.
    ///
    /// # Errors
    /// There is one, and it does not.
    pub(super) async fn ask(config: &Config) -> Result<Self, BoxError> {
        let Some(path) = &config.upgrade.socket else { return Ok(Self::default()) };
        let claimed = takeover::claim(path).await;
        let claimed = claimed.map_err(|failure| {
            format!(
                "this process cannot take over from the one that runs, which goes on: {failure}"
            )
        })?;
        let Some((claim, inheritance)) = claimed else { return Ok(Self::default()) };
        let Inheritance { sockets, audit, upstream, content } = inheritance;
        Ok(Self {
            claim: Some(claim),
            sockets,
            audit: audit.map(File::from),
            upstream,
            content: Some(content),
        })
    }

    /// Whether there is one.
    pub(super) fn runs(&self) -> bool {
        self.claim.is_some()
    }

    /// What it knows.
    pub(super) fn content(&self) -> Option<&Content> {
        self.content.as_ref()
    }

    /// The file of its audit log.
    pub(super) fn audit(&mut self) -> Option<File> {
        self.audit.take()
    }

    /// Listens where it does, or where nobody does.
    ///
    /// # Errors
    /// The address is taken or not ours, or a file cannot be used.
    pub(super) async fn listen(&mut self, listener: Listener) -> Result<Server, BoxError> {
        self.listen_as(name(&listener.bind), listener).await
    }

    /// The same for operators.
    ///
    /// # Errors
    /// The same.
    pub(super) async fn listen_to_operators(
        &mut self,
        listener: Listener,
    ) -> Result<Server, BoxError> {
        self.listen_as(format!("{OPERATORS}{}", name(&listener.bind)), listener).await
    }

    async fn listen_as(&mut self, name: String, listener: Listener) -> Result<Server, BoxError> {
        match self.sockets.iter().position(|(theirs, _)| *theirs == name) {
            Some(place) => Server::adopt(listener, self.sockets.remove(place).1),
            None => Server::bind(listener).await,
        }
    }

    /// Takes in what it knows.
    ///
    /// # Errors
    /// It has failed.
    pub(super) async fn adopt(&mut self, handover: &Handover) -> Result<(), BoxError> {
        let (Some(claim), Some(content)) = (&mut self.claim, self.content.take()) else {
            return Ok(());
        };
        let times = handover.adopt(content).await;
        let mut entries = 0_usize;
        let take = |entry| {
            let taken = times.as_ref().and_then(|times| handover.adopt_entry(entry, times));
            entries += usize::from(taken.is_some());
        };
        claim.entries(take).await?;
        info!(entries, "took over the secrets of the process before");
        Ok(())
    }

    /// Returns once this process may answer callers: at once where none ran before.
    ///
    /// # Errors
    /// It has failed; or the upstream that answers it does not answer this process.
    pub(super) async fn ready(
        &mut self,
        handover: &Arc<Handover>,
        upstream: &Upstream,
    ) -> Result<Option<Company>, BoxError> {
        if self.upstream && timeout(PATIENCE, upstream.answers()).await.is_err() {
            let reason = "the upstream answers the process that runs, and not this one: look at \
                          `upstream` in the configuration";
            return Err(reason.into());
        }
        match self.claim.take() {
            Some(claim) => Ok(Some(claim.ready(Arc::clone(handover)).await?)),
            None => Ok(None),
        }
    }

    /// Tells it why this process does not take over.
    pub(super) async fn give_up(self, reason: &str) {
        if let Some(claim) = self.claim {
            claim.give_up(reason).await;
        }
    }
}

/// Hears the process before out: keeps alive what it does not any more, and writes the store once it
/// does not. `hearing` is told when that is over.
pub(super) fn hear_out(
    company: Company,
    parts: &Arc<Parts>,
    handover: &Arc<Handover>,
    config: &Config,
    stops: (CancellationToken, CancellationToken),
    hearing: &TaskTracker,
) {
    let (stop_keepers, stop) = stops;
    let yours = CancellationToken::new();
    let (audit, drain) = (parts.audit.clone(), config.shutdown.drain);
    let (heard, told) = (yours.clone(), stop.clone());
    hearing.spawn(told.run_until_cancelled_owned(async move {
        let well = company.inherit(heard).await;
        if !well {
            sleep(drain + LAST_RECORDS).await;
        }
        if let Some(audit) = audit {
            audit.alone();
        }
    }));
    let (parts, handover) = (Arc::clone(parts), Arc::clone(handover));
    let config = config.clone();
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        yours.cancelled().await;
        tasks::keep(&parts, &stop_keepers);
        match keeping::Store::open(&config).await {
            Ok(store) => store.go_on(&parts, &handover, &config, &stop),
            Err(error) => error!(%error, "the sealed store is not written"),
        }
    }));
}

/// What another process may be left.
#[derive(Debug)]
pub(super) struct Succession {
    path: PathBuf,
    gate: Option<Gate>,
    sockets: Vec<(String, Legacy)>,
    audit: Option<Arc<Audit>>,
    upstream: Arc<Upstream>,
    handover: Arc<Handover>,
    /// How often the audit log was shared.
    shared: Arc<AtomicU64>,
    /// The process before, while it is heard out. There can be one other process at a time.
    pub(super) hearing: TaskTracker,
}

impl Succession {
    /// What there is to be left, if another process may take over.
    ///
    /// # Errors
    /// The process has no more descriptors.
    pub(super) fn new(
        config: &Config,
        servers: &[Server],
        operators: &Server,
        parts: &Parts,
        handover: &Arc<Handover>,
    ) -> io::Result<Option<Self>> {
        let Some(path) = &config.upgrade.socket else { return Ok(None) };
        let named = |server: &Server| server.legacy().map(|it| (name(&it.bind), it));
        let mut sockets = servers.iter().map(named).collect::<io::Result<Vec<_>>>()?;
        let (name, legacy) = named(operators)?;
        sockets.push((format!("{OPERATORS}{name}"), legacy));
        Ok(Some(Self {
            path: path.clone(),
            gate: None,
            sockets,
            audit: parts.audit.clone(),
            upstream: Arc::clone(&parts.upstream),
            handover: Arc::clone(handover),
            shared: Arc::default(),
            hearing: TaskTracker::new(),
        }))
    }

    /// Opens the socket where another process may ask, in the place of that of the process before.
    ///
    /// # Errors
    /// Its place is not one of ours alone.
    pub(super) fn open(&mut self) -> Result<(), BoxError> {
        self.gate = Some(Gate::open(&self.path)?);
        Ok(())
    }

    /// Returns once another process has taken over.
    pub(super) async fn asked(&self) -> Company {
        let Some(gate) = &self.gate else { return pending().await };
        loop {
            match takeover::offer(gate.accept().await, async || self.estate().await).await {
                Ok(company) => return company,
                Err(failure) => {
                    warn!(%failure, "another process did not take over; this one goes on");
                    self.write_alone();
                }
            }
        }
    }

    async fn estate(&self) -> Result<Estate, String> {
        self.hearing.close();
        if timeout(LAST_WORD, self.hearing.wait()).await.is_err() {
            let reason = "it is still taking over from another process; try again when that one \
                          has ended";
            return Err(reason.into());
        }
        let handles =
            self.sockets.iter().map(|(name, legacy)| Ok((name.clone(), legacy.handle()?)));
        let sockets = handles.collect::<io::Result<_>>();
        self.shared.fetch_add(1, Ordering::SeqCst);
        let audit = match &self.audit {
            Some(audit) if !audit.working() => {
                return Err("its audit log takes no records, and could not be gone on with".into());
            }
            Some(audit) => audit.share().await,
            None => None,
        };
        Ok(Estate {
            sockets: sockets.map_err(|error| format!("its sockets: {error}"))?,
            audit: audit.map(OwnedFd::from),
            upstream: self.upstream.nodes().iter().any(|(_, state)| answers(state)),
            handover: Arc::clone(&self.handover),
        })
    }

    /// What the process that gave up may have begun to write is there by then.
    fn write_alone(&self) {
        let Some(audit) = self.audit.clone() else { return };
        let (shared, before) = (Arc::clone(&self.shared), self.shared.load(Ordering::SeqCst));
        tokio::spawn(async move {
            sleep(LAST_RECORDS).await;
            if shared.load(Ordering::SeqCst) == before {
                audit.alone();
            }
        });
    }

    /// Another process has it all.
    pub(super) fn give(self) {
        for (_, legacy) in self.sockets {
            legacy.give();
        }
        if let Some(gate) = self.gate {
            gate.leave();
        }
    }
}

/// Whether an address in this state answers.
fn answers(state: &str) -> bool {
    matches!(state, "active" | "standby" | "sealed")
}

/// What a socket is called: where it listens, as configured.
fn name(bind: &Bind) -> String {
    match bind {
        Bind::Tcp(address) => address.to_string(),
        Bind::Unix { path, .. } => format!("unix:{}", path.display()),
    }
}
