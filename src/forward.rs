//! What passes through: everything the cache has no part in, as it came.
//!
//! The upstream answers, with the caller's own credential, and decides. What vaultlet does here is
//! to learn from what it sees pass: which entries a write makes old, which tokens are issued.

use std::sync::Arc;

use hyper::{Request, StatusCode};
use tokio_util::task::TaskTracker;

use crate::body::{self, Body, Response};
use crate::cache::Store;
use crate::cache::effect::Effect;
use crate::error::Error;
use crate::identity::{Facts, Logins, Place};
use crate::kv::mounts::{Engine, Mounts};
use crate::lease::Leases;
use crate::metrics::Route;
use crate::request::Call;
use crate::secret::Fingerprint;
use crate::tenant::Errand;
use crate::upstream::{Upstream, headers};

mod tunnel;

use tunnel::Tunnel;

/// Answers that are read for what they say of tokens are at most this large.
const LARGEST_LOGIN: usize = 256 * 1024;

/// The way through.
#[derive(Debug)]
pub struct Forward {
    upstream: Arc<Upstream>,
    store: Arc<Store>,
    mounts: Arc<Mounts>,
    logins: Arc<Logins>,
    leases: Arc<Leases>,
    tunnels: TaskTracker,
    namespace: String,
}

impl Forward {
    /// Over the given parts. `namespace`: that of requests that name none. `tunnels`: where
    /// upgraded connections are run, to be waited for before the process ends.
    pub fn new(
        parts: (Arc<Store>, Arc<Mounts>, Arc<Logins>, Arc<Upstream>),
        leases: Arc<Leases>,
        tunnels: TaskTracker,
        namespace: String,
    ) -> Self {
        let (store, mounts, logins, upstream) = parts;
        Self { upstream, store, mounts, logins, leases, tunnels, namespace }
    }

    /// Passes a request on, as a part of `errand`, and its answer back.
    ///
    /// # Errors
    /// The upstream did not begin an answer.
    pub async fn pass(
        &self,
        route: Route,
        errand: Errand,
        request: Request<Body>,
    ) -> Result<Response, Error> {
        let (mut head, body) = request.into_parts();
        let (change, lesson) = {
            let call = Call::parse(&head)?;
            (Change::begin(self, &call), Lesson::of(route, &call, &self.namespace))
        };
        let tunnel = Tunnel::asked(&mut head);
        let (asked, epoch) = (self.logins.now(), self.logins.epoch());
        headers::to_upstream(&mut head.headers, &self.namespace);
        if let Some(tunnel) = &tunnel {
            tunnel.ask(&mut head.headers);
        }
        let answer = self.upstream.forward(errand, Request::from_parts(head, body)).await;
        change.over(answer.as_ref().map(|answer| answer.status().as_u16()));
        self.store.forgotten_everywhere().await;
        let mut answer = answer?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let Some(tunnel) = tunnel.filter(|tunnel| tunnel.opened(&answer)) else {
                return Err(Error::nonsense("a switch to a protocol nobody asked for"));
            };
            tunnel.run(&mut answer, &self.tunnels);
            return Ok(answer);
        }
        headers::end_to_end(answer.headers_mut());
        if let Some(lesson) = lesson
            && answer.status().is_success()
        {
            answer = self.overhear(lesson, answer, asked, epoch).await?;
        }
        Ok(answer)
    }

    /// Reads what an answer says of a token, and gives it back unchanged.
    async fn overhear(
        &self,
        lesson: Lesson,
        answer: Response,
        asked: crate::clock::Time,
        epoch: crate::identity::Epoch,
    ) -> Result<Response, Error> {
        let (head, body) = answer.into_parts();
        let tasted = body::taste(body, LARGEST_LOGIN).await;
        let (body, whole) = tasted.map_err(Error::garbage)?;
        if let Some(bytes) = whole {
            let facts = match lesson {
                Lesson::Issued(place) => Facts::of_issue(&bytes, place),
                Lesson::LookedUp => self.logins.facts(&bytes).ok(),
            };
            if let Some(facts) = facts {
                self.logins.overhear(facts, asked, epoch);
            }
        }
        Ok(Response::from_parts(head, body))
    }

    /// The path of the secret that a write below a KV mount is about, or may be.
    fn secret_at(&self, path: &str) -> Option<String> {
        let (mount, engine) = self.mounts.find(path, false)?;
        match engine {
            Engine::KvV1 | Engine::Uncached => Some(path.to_owned()),
            // data, delete, destroy, metadata, subkeys, undelete: one secret, many verbs.
            Engine::KvV2 => {
                let (_, key) = path[mount..].split_once('/')?;
                Some(format!("{}data/{key}", &path[..mount]))
            }
            Engine::Fresh | Engine::Other(_) => None,
        }
    }
}

/// What an answer may say of a token.
enum Lesson {
    /// That one was issued, and all about it if that was a login, made there. A secret cannot pass
    /// for this: `auth` is never the caller's to write.
    Issued(Option<Place>),
    /// All about the caller's own. A secret can hold anything, and `cubbyhole/auth/token/lookup-self`
    /// is one, so only the token store's own path is believed, and only as it stands: a namespace
    /// written before it could as well be a mount.
    LookedUp,
}

impl Lesson {
    fn of(route: Route, call: &Call<'_>, namespace: &str) -> Option<Self> {
        match (route, call.target.decoded()?.as_slice()) {
            (_, b"auth/token/lookup-self") => Some(Self::LookedUp),
            (Route::Login, _) => Some(Self::Issued(login_at(call, namespace))),
            _ => None,
        }
    }
}

/// Where a request logs in, if it is beyond doubt that it does: `auth/<mount>/login`, with or
/// without a user's name, in the namespace before it. No namespace can be named `auth`.
fn login_at(call: &Call<'_>, namespace: &str) -> Option<Place> {
    let (path, _) = call.target.exact()?;
    let mut segments: Vec<&str> = call.namespace(namespace)?.split('/').collect();
    segments.extend(path.split('/'));
    segments.retain(|segment| !segment.is_empty());
    let start = segments.iter().position(|segment| *segment == "auth")?;
    let (namespace, login) = segments.split_at(start);
    match login {
        ["auth", "token", ..] => return None,
        ["auth", _, .., "login"] | ["auth", _, .., "login", _] => (),
        _ => return None,
    }
    let namespace = namespace.iter().flat_map(|segment| [segment, "/"]).collect();
    Some(Place { namespace, path: login.join("/") })
}

/// What a request may change, from before it leaves until its answer is known. Dropped before that
/// (the caller hung up) it counts as done: it may have been.
struct Change<'a> {
    forward: &'a Forward,
    effect: Effect,
    path: Option<Vec<u8>>,
    caller: Option<Fingerprint>,
    over: bool,
}

impl<'a> Change<'a> {
    fn begin(forward: &'a Forward, call: &Call<'_>) -> Self {
        let path = call.target.decoded();
        let namespace = call.namespace(&forward.namespace);
        let kv = |path: &str| {
            matches!(forward.mounts.find(path, false), Some((_, Engine::KvV1 | Engine::KvV2)))
        };
        let effect = Effect::of(call.method(), namespace, path.as_deref(), kv);
        let own = matches!(effect, Effect::OwnLogin);
        let caller =
            call.headers.token.filter(|_| own).map(|token| forward.logins.fingerprint(token));
        Self { forward, effect, path, caller, over: false }
    }

    /// A read under way may have seen what was there before, but its stamp is older than this.
    fn over(mut self, answer: Result<u16, &Error>) {
        self.over = true;
        let happened = match answer {
            Ok(status) => self.effect.happened(self.path.as_deref(), status),
            Err(error) => error.arrived(),
        };
        if happened {
            self.apply();
        }
    }

    fn apply(&self) {
        let Forward { store, mounts, logins, leases, .. } = self.forward;
        match &self.effect {
            Effect::Everything => {
                store.forget_all();
                mounts.forget_all();
                logins.doubt_all();
                leases.forget_unleased();
                leases.doubt_all();
            }
            Effect::Leases => {
                logins.doubt_all();
                leases.changed();
            }
            Effect::Logins => {
                logins.doubt_all();
                leases.doubt_all();
            }
            Effect::Nothing => (),
            Effect::OwnLogin => {
                if let Some(caller) = self.caller {
                    logins.forget(caller);
                }
                logins.doubt_children();
                leases.doubt_own();
            }
            // Its mount may have become known since the request left.
            Effect::Path(path) => match self.forward.secret_at(path) {
                Some(secret) => store.forget(&secret),
                None if mounts.find(path, false).is_none() => store.tell_unplaced(),
                None => (),
            },
        }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.apply();
        }
    }
}
