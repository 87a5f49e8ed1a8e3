//! Which credentials has the database been asked for, and how long do they live?

use std::collections::HashMap;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::said::{self, Frame, Said};
use super::tokens::Tokens;
use crate::scenario::Role;

/// One of them. Not `Debug`: it knows a token.
struct Lease {
    path: String,
    role: Role,
    token: String,
    made: Instant,
    renewed: Option<Instant>,
    ends: Instant,
}

/// All of them, by id.
#[derive(Default)]
pub(super) struct Leases {
    leases: HashMap<String, Lease>,
    made: u64,
}

impl Leases {
    /// `database/creds/ROLE`.
    pub(super) fn issue(&mut self, path: &str, role: &Role, token: &str, id: u64) -> Said {
        self.made += 1;
        let lease = format!("{path}/{:024}", self.made);
        let now = Instant::now();
        let (made, ends) = (now, now + role.ttl);
        let (path, token, role) = (path.to_owned(), token.to_owned(), role.clone());
        let ttl = role.ttl;
        let data = json!({
            "password": format!("model-{:014}", self.made),
            "username": format!("v-jwt-model-{:020}-1790000000", self.made),
        });
        self.leases.insert(lease.clone(), Lease { path, role, token, made, renewed: None, ends });
        said::ok(&Frame { lease: Some((lease, ttl)), ..Frame::of(data) }.body(id))
    }

    /// How many live.
    pub(super) fn count(&mut self, tokens: &Tokens) -> u64 {
        self.tidy(tokens);
        self.leases.len() as u64
    }

    /// Lets go of what has ended: a lease does with its token.
    pub(super) fn tidy(&mut self, tokens: &Tokens) {
        let now = Instant::now();
        self.leases.retain(|_, lease| now < lease.ends && tokens.lives(&lease.token));
    }

    fn find(&mut self, body: &Value, tokens: &Tokens) -> Option<(String, &mut Lease)> {
        let id = body["lease_id"].as_str()?;
        let now = Instant::now();
        let lease = self.leases.get_mut(id)?;
        (now < lease.ends && tokens.lives(&lease.token)).then(|| (id.to_owned(), lease))
    }

    /// `sys/leases/lookup`.
    pub(super) fn look_up(&mut self, body: &Value, tokens: &Tokens, id: u64) -> Said {
        let now = Instant::now();
        let Some((lease, known)) = self.find(body, tokens) else {
            return said::no(StatusCode::BAD_REQUEST, "invalid lease");
        };
        let left = known.ends.duration_since(now);
        let data = json!({
            "expire_time": said::ahead(left),
            "id": lease,
            "issue_time": said::ago(now.duration_since(known.made)),
            "last_renewal": known.renewed.map(|at| said::ago(now.duration_since(at))),
            "path": known.path,
            "renewable": true,
            "ttl": left.as_secs(),
        });
        said::ok(&Frame::of(data).body(id))
    }

    /// `sys/leases/renew`: for as much as was asked, within the longest life of its role.
    pub(super) fn renew(&mut self, body: &Value, tokens: &Tokens, id: u64) -> Said {
        let now = Instant::now();
        let Some((lease, known)) = self.find(body, tokens) else {
            return said::no(StatusCode::BAD_REQUEST, "lease not found");
        };
        let asked = body["increment"].as_u64().filter(|asked| *asked > 0);
        let asked = asked.map_or(known.role.ttl, Duration::from_secs);
        let longest = (known.made + known.role.max_ttl).saturating_duration_since(now);
        // Rounded up, as the server rounds what is left when it caps.
        let longest =
            Duration::from_secs(longest.as_secs() + u64::from(longest.subsec_nanos() > 0));
        let capped = asked > longest;
        let life = asked.min(longest);
        known.ends = now + life;
        known.renewed = Some(now);
        let warnings = if capped {
            let (asked, life) = (asked.as_secs(), life.as_secs());
            json!([format!(
                "TTL of \"{asked}s\" exceeded the effective max_ttl of \"{life}s\"; TTL value is \
                 capped accordingly"
            )])
        } else {
            Value::Null
        };
        said::ok(&Frame { lease: Some((lease, life)), warnings, ..Frame::default() }.body(id))
    }
}
