//! Which servers can be measured side by side, and what can each of them do?

use clap::ValueEnum;

use crate::scenario::{Arrivals, Credential, Deployment, Happening, Scenario, Wanted};

/// A kind of target.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Kind {
    /// OpenBao itself
    Direct,
    /// vaultlet, one on each node
    Vaultlet,
    /// OpenBao's own proxy with its cache, one on each node
    OpenbaoProxy,
    /// nginx with `proxy_cache`, one on each node
    Nginx,
    /// hyper with one answer for everything: what no proxy can beat
    Bare,
}

impl Kind {
    /// As reports call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Vaultlet => "vaultlet",
            Self::OpenbaoProxy => "openbao-proxy",
            Self::Nginx => "nginx",
            Self::Bare => "bare",
        }
    }

    /// Why the scenario cannot be played on it; `None`: it can.
    pub(crate) fn lacks(self, scenario: &Scenario) -> Option<&'static str> {
        if self != Self::Bare {
            return None;
        }
        let world = &scenario.world;
        let happens = |what: fn(&Happening) -> bool| {
            scenario.phases.iter().any(|phase| what(&phase.happening))
        };
        let leases = |deployment: &Deployment| {
            let mut reads = deployment.reads.iter();
            !deployment.leases.is_empty() || reads.any(|it| matches!(it.of, Wanted::Role(_)))
        };
        let mut reads = world.deployments.iter().flat_map(|deployment| &deployment.reads);
        if world.credential == Credential::Login {
            Some("it logs nobody in")
        } else if world.deployments.iter().any(leases) {
            Some("it leases nothing")
        } else if reads.any(|reads| reads.writes > 0.0)
            || happens(|it| matches!(it, Happening::Rotate { .. }))
        {
            Some("it keeps nothing that is written")
        } else if happens(|it| matches!(it, Happening::Outage | Happening::PolicyChange)) {
            Some("it asks no upstream, so nothing that happens there concerns it")
        } else if scenario.phases.iter().any(|it| matches!(it.arrivals, Arrivals::Replay { .. })) {
            Some("its one answer is none to what an access log asks for")
        } else {
            None
        }
    }

    /// The program it takes that this scenario's upstream does not.
    pub(super) fn program(self) -> Option<&'static str> {
        match self {
            Self::Direct | Self::OpenbaoProxy => None,
            Self::Vaultlet => Some("vaultlet"),
            Self::Nginx => Some("nginx"),
            Self::Bare => Some("bare"),
        }
    }
}
