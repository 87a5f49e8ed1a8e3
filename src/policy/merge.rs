//! What do all the policies of a token say together?
//!
//! Mirrors OpenBao `internal/vault/policy/acl.go`, `NewACL`: blocks with the same path become one
//! rule. Everything that the order of policies could decide is left to the server, so it does not
//! matter here.

use std::collections::HashMap;
use std::sync::Arc;

use super::capability::Capabilities;
use super::constraint::{Constraints, Verdict};
use super::document::Block;
use super::pattern::Pattern;
use super::template::{Rendered, Selectors};
use super::{Decision, Policy, Request, Rule};

/// How far the server's clock and ours may be apart, in seconds: around the end of a rule, nothing
/// is decided.
const SKEW: i64 = 10;

/// Rules on their way into an `Acl`.
pub(super) struct Merging {
    now: i64,
    /// Why nothing at all can be decided.
    pub(super) doubt: Option<&'static str>,
    /// Unix seconds from which a rule may have ended since `now`.
    pub(super) until: i64,
    /// The policy `root`.
    pub(super) root: Option<Arc<Policy>>,
    pub(super) rules: Vec<Merged>,
    /// Which of `rules` each path leads to.
    pub(super) patterns: HashMap<Pattern, usize>,
}

/// All blocks with the same path.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) capabilities: Capabilities,
    constraints: Constraints,
    /// Policy, line and capabilities of each block; never empty.
    sources: Vec<(Arc<Policy>, u32, Capabilities)>,
}

impl Merging {
    pub(super) fn of(policies: &[Arc<Policy>], selectors: Selectors<'_>, now: i64) -> Self {
        let mut merging = Self {
            now,
            doubt: None,
            until: i64::MAX,
            root: None,
            rules: Vec::new(),
            patterns: HashMap::new(),
        };
        for policy in policies {
            merging.add(policy, selectors);
        }
        if merging.root.is_some() && policies.len() > 1 {
            merging.doubt = Some("the policy `root` beside others, which the server refuses");
        }
        merging
    }

    fn add(&mut self, policy: &Arc<Policy>, selectors: Selectors<'_>) {
        if policy.is_root() {
            self.root = Some(policy.clone());
        }
        if self.ended(policy.expires()) {
            return;
        }
        if let Some(opaque) = policy.opaque() {
            self.doubt = Some(opaque.reason);
        }
        for block in policy.blocks() {
            if self.ended(block.expires) {
                continue;
            }
            let path = match block.path.render(selectors, policy.namespace()) {
                Rendered::Path(path) => path,
                Rendered::Dropped => continue,
                Rendered::Doubt(doubt) => {
                    self.doubt = Some(doubt);
                    continue;
                }
            };
            let Some(pattern) = Pattern::new(policy.namespace(), &path) else {
                self.doubt = Some("a policy's path holds `+*`");
                continue;
            };
            let next = self.rules.len();
            let index = *self.patterns.entry(pattern).or_insert(next);
            if index == next {
                self.rules.push(Merged::default());
            }
            self.rules[index].add(policy, block);
        }
    }

    /// Whether this has expired; if it will, until when the rules hold.
    fn ended(&mut self, expires: Option<i64>) -> bool {
        let Some(expires) = expires else { return false };
        let ended = self.now > expires.saturating_add(SKEW);
        if !ended {
            self.until = self.until.min(expires.saturating_sub(SKEW));
        }
        ended
    }
}

impl Merged {
    fn add(&mut self, policy: &Arc<Policy>, block: &Block) {
        self.sources.push((policy.clone(), block.line, block.capabilities));
        if self.capabilities.has(Capabilities::DENY) {
            return;
        }
        if block.capabilities.has(Capabilities::DENY) {
            self.capabilities = Capabilities::DENY;
            self.constraints = Constraints::default();
            return;
        }
        self.capabilities = self.capabilities.with(block.capabilities);
        self.constraints.merge(&block.constraints);
    }

    /// Whether the capability is there and the conditions are met, and whether `sudo` is there too.
    pub(super) fn judge(
        &self,
        needed: Capabilities,
        request: &Request<'_>,
    ) -> (Decision<'_>, bool) {
        let sudo = self.capabilities.has(Capabilities::SUDO);
        if !self.capabilities.has(needed) {
            return (Decision::Deny(Some(self.denier())), sudo);
        }
        let own = match needed {
            Capabilities::LIST | Capabilities::SCAN => self.constraints.lists(),
            Capabilities::DELETE => Verdict::Met,
            _ => self.constraints.parameters(request.parameters),
        };
        let decision = match (self.constraints.general(), own) {
            (_, Verdict::Unmet) => Decision::Deny(Some(self.granter(needed))),
            (Verdict::Ask(reason), _) | (_, Verdict::Ask(reason)) => Decision::Ask(reason),
            _ => Decision::Allow(Some(self.granter(needed))),
        };
        (decision, sudo)
    }

    fn granter(&self, needed: Capabilities) -> Rule<'_> {
        self.source(|held| held.has(needed))
    }

    /// A block that says `deny`, or else the first.
    pub(super) fn denier(&self) -> Rule<'_> {
        self.source(|held| held.has(Capabilities::DENY))
    }

    fn source(&self, wanted: impl Fn(Capabilities) -> bool) -> Rule<'_> {
        let source = self.sources.iter().find(|(_, _, held)| wanted(*held));
        let (policy, line, _) = source.unwrap_or(&self.sources[0]);
        Rule { policy: policy.name(), namespace: policy.namespace(), line: *line }
    }
}
