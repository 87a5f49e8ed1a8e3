//! How does the server answer?
//!
//! As OpenBao 2.7.2 does, as far as vaultlet looks at the answer. Each rule is here because a
//! property needs it; `loadtest/src/model` is the model that is held against a real server.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::history::{Content, Lease, SECRETS};
use crate::situations::Situation;
use crate::wire::Asked;
use crate::world::{BEGINNING, CREDENTIALS, CREDENTIALS_PATH, State};

/// Status and body.
pub(crate) type Said = (u16, String);

/// How long a credential is good, and how long it can be made to last.
const TTL: Duration = Duration::from_secs(20);
const LONGEST: Duration = Duration::from_secs(50);

impl State {
    /// Answers a request, now.
    pub(crate) fn answer(&mut self, asked: &Asked, now: Duration) -> Said {
        self.requests += 1;
        let path = asked.path.strip_prefix("/v1/").unwrap_or_default();
        if path == "sys/health" {
            return self.health(now);
        }
        if self.sealed(now) {
            return no(503, "Vault is sealed");
        }
        let token = asked.token.strip_prefix("hvs.").and_then(|number| number.parse().ok());
        let Some(token) = token.filter(|token: &usize| *token < self.tokens.len()) else {
            return no(403, "permission denied");
        };
        let what = SECRETS.iter().position(|(its, _)| *its == path);
        if !self.tokens[token].lives(now) {
            if let Some(secret) = what {
                self.refused.insert((token, secret), now);
            }
            return no(403, "permission denied");
        }
        if let Some(uses) = &mut self.tokens[token].uses {
            *uses -= 1;
        }
        if let Some(secret) = what {
            if asked.method == "GET" && self.waiting[secret] == 0 {
                self.met(Situation::Ahead);
            }
            let said = self.secret(token, secret, asked, now);
            if said.0 == 403 {
                self.refused.insert((token, secret), now);
            }
            return said;
        }
        match path {
            "auth/token/lookup-self" => self.look_up(token, now),
            "auth/token/revoke-self" => {
                self.tokens[token].gone = Some(now);
                (204, String::new())
            }
            "sys/capabilities-self" => self.capabilities(token, &asked.json()),
            "sys/leases/lookup" => self.lease(asked, now, |lease, now, id| {
                let left = lease.ends.saturating_sub(now).as_secs();
                json!({ "data": { "id": id, "ttl": left, "renewable": true } })
            }),
            "sys/leases/renew" => self.lease(asked, now, |lease, now, id| {
                lease.ends = (now + TTL).min(lease.made + lease.longest);
                let left = lease.ends.saturating_sub(now).as_secs();
                json!({ "lease_id": id, "renewable": true, "lease_duration": left })
            }),
            "sys/leases/revoke" => {
                let said = self.lease(asked, now, |lease, now, _| {
                    lease.gone = Some(now);
                    Value::Null
                });
                if said.0 == 200 { (204, String::new()) } else { said }
            }
            CREDENTIALS_PATH => self.issue(token, now),
            _ => match path.strip_prefix("sys/internal/ui/mounts/") {
                Some(below) => self.mount(below),
                None => (404, "{\"errors\":[]}\n".to_owned()),
            },
        }
    }

    fn health(&self, now: Duration) -> Said {
        let sealed = self.sealed(now);
        let cluster = (!sealed).then(|| format!("cluster-{}", self.cluster));
        let body = json!({
            "initialized": true, "sealed": sealed, "standby": false, "version": "2.7.2",
            "cluster_id": cluster,
        });
        (if sealed { 503 } else { 200 }, body.to_string())
    }

    fn look_up(&self, token: usize, now: Duration) -> Said {
        let known = &self.tokens[token];
        let names: Vec<String> = known.policies.iter().map(|it| format!("policy-{it}")).collect();
        let left = known.ends.map_or(Duration::ZERO, |ends| ends.saturating_sub(now));
        let data = json!({
            "accessor": format!("accessor-{token}"),
            "id": format!("hvs.{token}"),
            "entity_id": "",
            "expire_time": known.ends.map(instant),
            // The last one's look-up says that it is spent: 0 would be one that is not counted.
            "num_uses": known.uses.map_or(0, |left| if left == 0 { -1 } else { i64::from(left) }),
            "orphan": true,
            "path": "auth/token/create-orphan",
            "policies": names,
            "ttl": left.as_secs(),
            "type": "service",
        });
        self.framed(json!({ "data": data }))
    }

    /// What KV versions 1 and 2 do.
    fn secret(&mut self, token: usize, secret: usize, asked: &Asked, now: Duration) -> Said {
        let (path, versioned) = SECRETS[secret];
        let held = self.contents[secret].last();
        if asked.method != "GET" {
            if !self.tokens[token].writes {
                return forbidden();
            }
            let deleted = asked.method == "DELETE";
            let version = held.version + u32::from(!deleted);
            let life = asked.json()["life"].as_u64().filter(|_| versioned);
            let dies = life.map(|life| whole(now + Duration::from_secs(life)));
            self.put(secret, Content { at: now, version, deleted, dies, ..held });
            if let Some(id) = asked.json()["id"].as_u64() {
                self.writes.push((id, secret, self.contents[secret].0.len() - 1));
            }
            for (_, read, fresh) in &mut self.reads {
                if *read == secret {
                    *fresh = None;
                }
            }
            if deleted || !versioned {
                return (204, String::new());
            }
            return self
                .framed(json!({ "data": metadata(&Content { version, dies, ..held }, None) }));
        }
        let allowed = |policy: &usize| self.policies[*policy].allows(secret);
        if !self.tokens[token].policies.iter().any(allowed) {
            return forbidden();
        }
        let nonce = format!("{path} {} {}", held.cluster, held.version);
        match (held.there(now), versioned) {
            (true, true) => {
                let metadata = metadata(&held, None);
                self.framed(json!({ "data": { "data": { "nonce": nonce }, "metadata": metadata } }))
            }
            (true, false) => {
                self.framed(json!({ "data": { "nonce": nonce }, "lease_duration": 2_764_800 }))
            }
            (false, true) if held.version > 0 => {
                let metadata = metadata(&held, Some(now));
                let (_, body) =
                    self.framed(json!({ "data": { "data": null, "metadata": metadata } }));
                (404, body)
            }
            _ => (404, "{\"errors\":[]}\n".to_owned()),
        }
    }

    fn capabilities(&self, token: usize, body: &Value) -> Said {
        let paths = body["paths"].as_array().cloned().unwrap_or_default();
        let may = |path: &Value| {
            let path = path.as_str()?.to_owned();
            let what = SECRETS.iter().position(|(its, _)| *its == path).unwrap_or(CREDENTIALS);
            let allows = |policy: &usize| self.policies[*policy].allows(what);
            let allowed = self.tokens[token].policies.iter().any(allows);
            Some((path, json!([if allowed { "read" } else { "deny" }])))
        };
        let data: serde_json::Map<_, _> = paths.iter().filter_map(may).collect();
        self.framed(json!({ "data": data }))
    }

    /// What is done with a lease that is there.
    fn lease(
        &mut self,
        asked: &Asked,
        now: Duration,
        what: impl FnOnce(&mut Lease, Duration, &str) -> Value,
    ) -> Said {
        let body = asked.json();
        let id = body["lease_id"].as_str().unwrap_or_default();
        let Some(number) = number(id).filter(|number| *number < self.leases.len()) else {
            return no(400, "invalid lease");
        };
        let holder = &self.tokens[self.leases[number].token];
        if now >= self.leases[number].over(holder) {
            let lookup = asked.path.ends_with("lookup");
            return no(400, if lookup { "invalid lease" } else { "lease not found" });
        }
        let body = what(&mut self.leases[number], now, id);
        self.framed(body)
    }

    fn issue(&mut self, token: usize, now: Duration) -> Said {
        let allowed = |policy: &usize| self.policies[*policy].allows(CREDENTIALS);
        if !self.tokens[token].policies.iter().any(allowed) {
            return forbidden();
        }
        let number = self.leases.len();
        let lease = Lease {
            token,
            made: now,
            ends: now + TTL,
            longest: LONGEST,
            gone: None,
            renewal: None,
            revoked: None,
        };
        self.leases.push(lease);
        self.met(Situation::Issued);
        let id = format!("{CREDENTIALS_PATH}/{number}");
        let left = TTL.as_secs();
        self.framed(json!({
            "lease_id": id, "renewable": true, "lease_duration": left,
            "data": { "username": format!("user-{number}"), "password": "none" },
        }))
    }

    fn mount(&self, below: &str) -> Said {
        let (name, kind, version) = match below.split('/').next().unwrap_or_default() {
            "kv" => ("kv/", "kv", Some("2")),
            "old" => ("old/", "kv", Some("1")),
            "db" => ("db/", "database", None),
            _ => return forbidden(),
        };
        let options = version.map_or_else(|| json!({}), |version| json!({ "version": version }));
        let uuid = format!("{name}{}", self.cluster);
        let data = json!({ "path": name, "type": kind, "options": options, "uuid": uuid });
        self.framed(json!({ "data": data }))
    }

    /// A success: what all of them have, and what this one has.
    fn framed(&self, own: Value) -> Said {
        let mut body = json!({
            "request_id": format!("request-{}", self.requests), "lease_id": "",
            "renewable": false, "lease_duration": 0, "data": null, "wrap_info": null,
            "warnings": null, "auth": null,
        });
        if let Value::Object(own) = own {
            for (key, value) in own {
                body[key] = value;
            }
        }
        (200, body.to_string())
    }
}

/// The number of a lease.
pub(crate) fn number(id: &str) -> Option<usize> {
    id.strip_prefix(CREDENTIALS_PATH)?.strip_prefix('/')?.parse().ok()
}

fn metadata(content: &Content, deleted: Option<Duration>) -> Value {
    json!({
        "created_time": instant(content.at), "custom_metadata": null, "destroyed": false,
        "deletion_time": content.dies.or(deleted).map(instant).unwrap_or_default(),
        "version": content.version,
    })
}

/// In whole seconds, cut.
fn whole(at: Duration) -> Duration {
    Duration::from_secs(at.as_secs())
}

fn instant(at: Duration) -> String {
    let since = (BEGINNING + at).as_nanos();
    let instant = i128::try_from(since).ok().and_then(|it| Timestamp::from_nanosecond(it).ok());
    instant.unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// A refusal in these words.
fn no(status: u16, why: &str) -> Said {
    (status, format!("{}\n", json!({ "errors": [why] })))
}

/// What no policy allows.
fn forbidden() -> Said {
    no(403, "1 error occurred:\n\t* permission denied\n\n")
}
