//! Everything that requests are answered with, put together once.

use std::fs::File;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::audit::Audit;
use crate::badge::Badges;
use crate::cache::Store;
use crate::caller::Callers;
use crate::clock::Clock;
use crate::config::{self, Config, PolicySource};
use crate::edge::Edge;
use crate::error::BoxError;
use crate::exchange::{Clusters, Exchange};
use crate::forward::Forward;
use crate::guardrails::Guardrails;
use crate::handover::{self, Handover};
use crate::identity::Logins;
use crate::kubernetes::Issuers;
use crate::kv::Kv;
use crate::kv::mounts::Mounts;
use crate::lease::Leases;
use crate::metrics::Metrics;
use crate::proxy::Proxy;
use crate::refusals::Refusals;
use crate::sealed::content::Content;
use crate::snapshot::Policies;
use crate::tenant::Tenants;
use crate::upstream::{Carrier, Upstream};
use crate::witness::Witness;

/// What the program is surrounded by, where that is not the machine itself.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// What the time is.
    pub clock: Clock,
    /// What makes the connections to the upstream; `None`: TCP and TLS.
    pub carrier: Option<Carrier>,
}

/// What outlives requests.
#[derive(Debug)]
pub struct Parts {
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) store: Arc<Store>,
    pub(super) mounts: Arc<Mounts>,
    pub(super) logins: Arc<Logins>,
    pub(super) tenants: Arc<Tenants>,
    pub(super) issuers: Arc<Issuers>,
    pub(super) exchange: Arc<Exchange>,
    pub(super) badges: Arc<Badges>,
    pub(super) callers: Arc<Callers>,
    pub(super) policies: Option<Arc<Policies>>,
    pub(super) kv: Arc<Kv>,
    pub(super) leases: Arc<Leases>,
    pub(super) audit: Option<Arc<Audit>>,
    pub(super) guardrails: Arc<Guardrails>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) tunnels: TaskTracker,
    /// What answers callers.
    pub edge: Arc<Edge>,
}

impl Parts {
    /// Connects to nothing yet. `left`: what the process before has left.
    ///
    /// # Errors
    /// A file that the configuration names cannot be used.
    pub fn new(
        config: &Config,
        left: Option<&Content>,
        surroundings: Surroundings,
    ) -> Result<Self, BoxError> {
        Self::after(config, left, None, surroundings)
    }

    /// The same; `log`: the audit log's file, where the process before writes to it as well.
    ///
    /// # Errors
    /// The same.
    pub(super) fn after(
        config: &Config,
        left: Option<&Content>,
        log: Option<File>,
        surroundings: Surroundings,
    ) -> Result<Self, BoxError> {
        let Surroundings { clock, carrier } = surroundings;
        let metrics = Arc::new(Metrics::new()?);
        let window = config.policy.refresh;
        let namespace = config.upstream.namespace.trim_matches('/').to_owned();
        let clusters = &config.auth.kubernetes;
        let counted = || (clock.clone(), Arc::clone(&metrics));

        let (its_clock, counts) = counted();
        let upstream = Arc::new(Upstream::new(&config.upstream, carrier, its_clock, counts)?);
        let (its_clock, counts) = counted();
        let store = Arc::new(Store::new(config.cache.max_bytes, its_clock, counts));
        let mounts = Arc::new(Mounts::new(window, clock.clone()));
        let prints = handover::fingerprinter(left)?;
        let (its_clock, counts) = counted();
        let asked = Arc::clone(&upstream);
        let logins = Arc::new(Logins::new(asked, prints, window, its_clock, counts));
        let tenants = Arc::new(Tenants::new(config.auth.limits.clone(), clock.clone()));

        let (its_clock, counts) = counted();
        let issuers = Arc::new(Issuers::new(clusters, window, its_clock, counts)?);
        let (its_clock, counts) = counted();
        let shared = (Arc::clone(&logins), Arc::clone(&upstream), Arc::clone(&tenants));
        let roles = clusters.iter().map(|cluster| &cluster.login);
        let exchange = Arc::new(Exchange::new(roles, shared, its_clock, counts));
        let badges = Arc::new(Badges::new(Arc::clone(&logins), clock.clone()));
        let callers = Arc::new(Callers::new(
            (Arc::clone(&issuers), Arc::clone(&exchange), Arc::clone(&logins)),
            Arc::clone(&badges),
            clusters.iter().map(|cluster| cluster.answer_logins).collect(),
            namespace.clone(),
        ));

        let local = config.policy.source == PolicySource::Local;
        let own = config.policy.identity.clone().filter(|_| local);
        let policies = own.map(|own| {
            let (its_clock, counts) = counted();
            let asked = (Arc::clone(&logins), Arc::clone(&upstream));
            Arc::new(Policies::new(own, &namespace, asked, its_clock, counts))
        });

        let answering = || {
            (Arc::clone(&store), Arc::clone(&mounts), Arc::clone(&logins), Arc::clone(&upstream))
        };
        let (its_clock, counts) = counted();
        let kv = Arc::new(Kv::new(
            &config.cache,
            namespace.clone(),
            answering(),
            Arc::clone(&tenants),
            policies.clone(),
            its_clock,
            counts,
        ));
        let (its_clock, counts) = counted();
        let leases = Arc::new(Leases::new(
            config.cache.leases.clone(),
            namespace.clone(),
            (Arc::clone(&kv), Arc::clone(&store), Arc::clone(&logins), Arc::clone(&upstream)),
            Arc::clone(&tenants),
            policies.clone(),
            its_clock,
            counts,
        ));
        let guardrails = Arc::new(Guardrails::load(&config.policy.guardrails)?);
        let tunnels = TaskTracker::new();
        let forward =
            Forward::new(answering(), Arc::clone(&leases), tunnels.clone(), namespace.clone());
        let proxy = Proxy::new(
            config,
            Arc::clone(&callers),
            (Arc::clone(&kv), Arc::clone(&leases), forward),
            Arc::clone(&mounts),
            Arc::clone(&tenants),
            Arc::clone(&guardrails),
        )?;
        let audit = config.audit.as_ref();
        let audit = audit.map(|audit| Audit::join(audit, clock.clone(), Arc::clone(&metrics), log));
        let audit = audit.transpose()?.map(Arc::new);
        let witness = witness(config, audit.as_ref(), &logins, &namespace);
        let refusals = Arc::new(Refusals::new(config.admin.show_paths, namespace));
        let (noted, its_logins) = (Arc::clone(&refusals), Arc::clone(&logins));
        let counts = Arc::clone(&metrics);
        let edge = Arc::new(Edge::new(proxy, witness, noted, its_logins, clock.clone(), counts));
        Ok(Self {
            clock,
            metrics,
            upstream,
            store,
            mounts,
            logins,
            tenants,
            issuers,
            exchange,
            badges,
            callers,
            policies,
            kv,
            leases,
            audit,
            guardrails,
            refusals,
            tunnels,
            edge,
        })
    }

    /// What of it is left to the next process.
    pub(super) fn handover(&self, clusters: &[config::Kubernetes], kv: bool) -> Handover {
        Handover {
            exchange: Arc::clone(&self.exchange),
            badges: Arc::clone(&self.badges),
            leases: Arc::clone(&self.leases),
            store: Arc::clone(&self.store),
            mounts: Arc::clone(&self.mounts),
            issuers: Arc::clone(&self.issuers),
            logins: Arc::clone(&self.logins),
            tenants: Arc::clone(&self.tenants),
            upstream: Arc::clone(&self.upstream),
            clusters: Clusters::new(clusters),
            kv,
            clock: self.clock.clone(),
            metrics: Arc::clone(&self.metrics),
        }
    }
}

/// What records the answers, where that is configured.
fn witness(
    config: &Config,
    audit: Option<&Arc<Audit>>,
    logins: &Arc<Logins>,
    namespace: &str,
) -> Option<Witness> {
    let issuers = config.auth.kubernetes.iter().map(|cluster| cluster.issuer.clone()).collect();
    let audit = Arc::clone(audit?);
    Some(Witness::new(audit, Arc::clone(logins), issuers, namespace.to_owned()))
}
