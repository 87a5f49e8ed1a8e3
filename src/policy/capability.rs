//! What may a rule allow?

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Capabilities(u16);

impl Capabilities {
    pub(super) const DENY: Self = Self(1);
    pub(super) const CREATE: Self = Self(1 << 1);
    pub(super) const READ: Self = Self(1 << 2);
    pub(super) const UPDATE: Self = Self(1 << 3);
    pub(super) const DELETE: Self = Self(1 << 4);
    pub(super) const LIST: Self = Self(1 << 5);
    pub(super) const SUDO: Self = Self(1 << 6);
    pub(super) const PATCH: Self = Self(1 << 7);
    pub(super) const SCAN: Self = Self(1 << 8);
    pub(super) const ROOT: Self = Self(1 << 9);
    /// Vault's alone; no operation here needs it.
    const RECOVER: Self = Self(1 << 10);
    /// Vault's alone; no operation here needs it.
    const SUBSCRIBE: Self = Self(1 << 11);

    /// In the order in which the server lists them.
    const NAMES: [(Self, &'static str); 12] = [
        (Self::CREATE, "create"),
        (Self::DELETE, "delete"),
        (Self::DENY, "deny"),
        (Self::LIST, "list"),
        (Self::PATCH, "patch"),
        (Self::READ, "read"),
        (Self::RECOVER, "recover"),
        (Self::ROOT, "root"),
        (Self::SCAN, "scan"),
        (Self::SUBSCRIBE, "subscribe"),
        (Self::SUDO, "sudo"),
        (Self::UPDATE, "update"),
    ];

    /// The capability that a policy calls so. `root` cannot be given by one.
    pub(super) fn named(name: &str) -> Option<Self> {
        let (capability, _) = Self::NAMES.into_iter().find(|(_, known)| *known == name)?;
        (capability != Self::ROOT).then_some(capability)
    }

    /// What the attribute `policy` of old policies stands for.
    pub(super) fn legacy(name: &str) -> Option<Self> {
        let read = Self::READ.with(Self::LIST);
        let write = read.with(Self::CREATE).with(Self::UPDATE).with(Self::DELETE);
        match name {
            "" => Some(Self::default()),
            "deny" => Some(Self::DENY),
            "read" => Some(read),
            "write" => Some(write),
            "sudo" => Some(write.with(Self::SUDO)),
            _ => None,
        }
    }

    /// All of both.
    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in this set.
    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names, sorted, as `sys/capabilities` gives them: `deny` where there are none.
    pub(super) fn names(self) -> Vec<&'static str> {
        if self.has(Self::DENY) || self == Self::default() {
            return vec!["deny"];
        }
        let held = Self::NAMES.into_iter().filter(|(capability, _)| self.has(*capability));
        held.map(|(_, name)| name).collect()
    }
}
