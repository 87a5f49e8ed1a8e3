//! Which addresses has a host's name? Those it had last, while nobody can say.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::timeout;
use tower::Service;

use crate::error::BoxError;

/// Asks `R`, and remembers what it said last. There are as few names as configured addresses.
#[derive(Clone, Debug)]
pub(super) struct Names<R> {
    resolver: R,
    patience: Duration,
    known: Arc<Mutex<HashMap<String, Vec<SocketAddr>>>>,
}

impl<R> Names<R> {
    /// `patience`: how long `resolver` may take before what is known must do.
    pub(super) fn new(resolver: R, patience: Duration) -> Self {
        Self { resolver, patience, known: Arc::default() }
    }
}

impl<R> Service<Name> for Names<R>
where
    R: Service<Name, Response: Iterator<Item = SocketAddr>, Error: Into<BoxError>>,
    R::Future: Send + 'static,
{
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.resolver.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (host, known) = (name.as_str().to_owned(), Arc::clone(&self.known));
        let asked = timeout(self.patience, self.resolver.call(name));
        Box::pin(async move {
            let answer: Result<Vec<_>, BoxError> = match asked.await {
                Ok(Ok(addresses)) => Ok(addresses.collect()),
                Ok(Err(error)) => Err(error.into()),
                Err(late) => Err(late.into()),
            };
            // Nothing panics while it is held.
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            match answer {
                Ok(addresses) if !addresses.is_empty() => {
                    known.insert(host, addresses.clone());
                    Ok(addresses.into_iter())
                }
                answer => match known.get(&host) {
                    Some(addresses) => Ok(addresses.clone().into_iter()),
                    None => answer.map(Vec::into_iter),
                },
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tower::{ServiceExt as _, service_fn};

    use super::*;

    /// What the resolver does in turn: says this, fails, or says nothing.
    #[derive(Clone, Copy)]
    enum Says {
        Address(u16),
        Nothing,
        NoSuchName,
        None,
    }

    async fn resolved(turns: &[Says]) -> Vec<Option<u16>> {
        let mut turns_left = turns.iter().copied();
        let resolver = service_fn(move |_: Name| {
            let says = turns_left.next().unwrap();
            async move {
                let addresses = match says {
                    Says::Address(port) => vec![SocketAddr::from(([192, 0, 2, 1], port))],
                    Says::Nothing => std::future::pending().await,
                    Says::NoSuchName => return Err(io::Error::other("no such name")),
                    Says::None => Vec::new(),
                };
                Ok(addresses.into_iter())
            }
        });
        let mut names = Names::new(resolver, Duration::from_secs(1));
        let mut found = Vec::new();
        for _ in turns {
            let name: Name = "vault.internal".parse().unwrap();
            let addresses = names.ready().await.unwrap().call(name).await;
            found.push(addresses.ok().and_then(|mut all| all.next()).map(|address| address.port()));
        }
        found
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_known_is_good_until_something_else_is_said() {
        use Says::{Address, NoSuchName, None, Nothing};
        let turns = [NoSuchName, Address(1), NoSuchName, Nothing, None, Address(2), Nothing];

        let found = resolved(&turns).await;

        assert_eq!(found, [Option::None, Some(1), Some(1), Some(1), Some(1), Some(2), Some(2)]);
    }
}
