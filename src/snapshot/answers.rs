//! What the upstream says of its policies, entities and groups, as far as it is used here.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::policy::{Alias, Group, Identity};

/// A policy (OpenBao `internal/vault/logical_system.go`, `handlePoliciesRead`).
#[derive(Debug, Deserialize, Eq, PartialEq)]
pub(super) struct Document {
    pub(super) policy: String,
    /// RFC 3339, when it ends.
    #[serde(default)]
    pub(super) expiration: Option<String>,
    /// These two tell a policy from one that reads the same but was another meanwhile.
    #[serde(default)]
    version: Option<i64>,
    #[serde(default)]
    modified: Option<String>,
}

/// `data` of `sys/policies/detailed/acl`.
#[derive(Debug, Deserialize)]
pub(super) struct Detailed {
    pub(super) keys: Vec<String>,
    pub(super) key_info: BTreeMap<Box<str>, Document>,
}

/// `data` of `sys/policies/acl`.
#[derive(Debug, Deserialize)]
pub(super) struct Names {
    pub(super) keys: Vec<Box<str>>,
}

/// `data` of `identity/entity/id/:id` (OpenBao `internal/vault/identity_store_entities.go`).
#[derive(Debug, Deserialize)]
pub(super) struct Entity {
    id: String,
    name: String,
    #[serde(default)]
    namespace_id: String,
    #[serde(default, deserialize_with = "or_nothing")]
    metadata: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_nothing")]
    aliases: Vec<EntityAlias>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) group_ids: Vec<Box<str>>,
}

#[derive(Debug, Deserialize)]
struct EntityAlias {
    id: String,
    name: String,
    mount_accessor: String,
    #[serde(default, deserialize_with = "or_nothing")]
    metadata: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_nothing")]
    custom_metadata: BTreeMap<String, String>,
}

/// `data` of `identity/group/id/:id` (OpenBao `internal/vault/identity_store_groups.go`).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct GroupData {
    id: String,
    name: String,
    #[serde(default)]
    namespace_id: String,
    #[serde(default, deserialize_with = "or_nothing")]
    metadata: BTreeMap<String, String>,
}

/// `data` of an answer.
#[derive(Deserialize)]
pub(super) struct Answer<T> {
    pub(super) data: T,
}

impl Entity {
    /// With its groups, all in the namespace at `space`; `None`: some are of another one.
    pub(super) fn identity(self, groups: Vec<GroupData>, space: &str) -> Option<Identity> {
        let here = |group: &GroupData| group.namespace_id == self.namespace_id;
        if !groups.iter().all(here) {
            return None;
        }
        let aliases = self.aliases.into_iter().map(|alias| Alias {
            mount_accessor: alias.mount_accessor,
            id: alias.id,
            name: alias.name,
            metadata: alias.metadata,
            custom_metadata: alias.custom_metadata,
        });
        let groups = groups.into_iter().map(|group| Group {
            id: group.id,
            name: group.name,
            namespace: space.to_owned(),
            metadata: group.metadata,
        });
        Some(Identity {
            id: self.id,
            name: self.name,
            metadata: self.metadata,
            aliases: aliases.collect(),
            groups: groups.collect(),
        })
    }
}

/// Go writes an empty map or list as `null` too.
fn or_nothing<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
