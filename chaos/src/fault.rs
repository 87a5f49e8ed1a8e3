//! What if the way to the upstream, or the upstream itself, fails?
//!
//! A proxy between vaultlet and its upstream that does what it is told to, and can be told otherwise
//! while it runs. It has the eight effects of toxiproxy, and those of servers that speak HTTP badly.
//! It counts how often each effect was really felt, and every request that vaultlet sends.

use std::time::Duration;

pub(crate) use injector::Injector;
pub(crate) use switch::{Effect, Switch, Toxic};

mod answers;
mod connection;
mod delivery;
mod door;
mod injector;
mod switch;
#[cfg(test)]
mod tests;

/// One that is felt by an operator, with the figures of the fault table.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Named {
    /// Nobody listens: the process has ended.
    Refused,
    /// Packets get lost: nobody answers, new connections or old.
    BlackHole,
    /// Connections are reset, at any byte of an answer.
    Reset,
    /// The server is sealed by its operator.
    Sealed,
    /// 500 to everything but health checks.
    #[value(name = "500")]
    Internal,
    /// 503 to everything but health checks.
    #[value(name = "503")]
    Unavailable,
    /// 429 to everything but health checks, which no quota counts.
    #[value(name = "429")]
    Limited,
    /// What answers does not speak HTTP.
    Garbage,
    /// A load balancer answers everything with a page, and 200.
    Html,
    /// Answers end in the middle.
    Truncated,
    /// Answers take half a minute.
    Slow,
    /// Answers come a byte a second.
    Drip,
    /// What stands before the server says that it is sealed.
    SealedAnswer,
    /// A kilobyte a second.
    Bandwidth,
    /// Nothing gets through, and connections end after three seconds.
    Timeout,
    /// Answers come in pieces of ten bytes.
    Slicer,
    /// Connections end after two kilobytes.
    LimitData,
    /// Connections end late.
    SlowClose,
}

impl Named {
    /// One of those that the injector makes.
    pub(crate) fn draw(lots: &mut fastrand::Rng) -> Self {
        let all = <Self as clap::ValueEnum>::value_variants();
        loop {
            let drawn = all[lots.usize(..all.len())];
            if drawn != Self::Sealed {
                return drawn;
            }
        }
    }

    /// Whether answers come all the same, and in time.
    pub(crate) fn spares_answers(self) -> bool {
        matches!(self, Self::Slicer | Self::SlowClose)
    }

    /// What the injector does; nothing where the server itself is what fails.
    pub(crate) fn toxics(self) -> Vec<Toxic> {
        let all = |effect| vec![Toxic::new(effect)];
        let data = |effect| vec![Toxic { spares_health: true, ..Toxic::new(effect) }];
        match self {
            Self::Refused => all(Effect::Down),
            Self::BlackHole => all(Effect::BlackHole),
            Self::Reset => all(Effect::ResetPeer { after: Duration::ZERO, within: 400 }),
            Self::Sealed => vec![],
            Self::Internal => data(Effect::Status(500)),
            Self::Unavailable => data(Effect::Status(503)),
            Self::Limited => data(Effect::Status(429)),
            Self::Garbage => all(Effect::Garbage),
            Self::Html => all(Effect::Html),
            Self::Truncated => all(Effect::Truncated),
            Self::Slow => all(Effect::Latency {
                delay: Duration::from_secs(30),
                jitter: Duration::from_secs(1),
            }),
            Self::Drip => all(Effect::Drip { every: Duration::from_secs(1) }),
            Self::SealedAnswer => all(Effect::Sealed),
            Self::Bandwidth => all(Effect::Bandwidth { bytes_per_second: 1024 }),
            Self::Timeout => all(Effect::Timeout { after: Duration::from_secs(3) }),
            Self::Slicer => all(Effect::Slicer { size: 10, delay: Duration::from_millis(5) }),
            Self::LimitData => all(Effect::LimitData { bytes: 2048 }),
            Self::SlowClose => all(Effect::SlowClose { delay: Duration::from_secs(5) }),
        }
    }
}
