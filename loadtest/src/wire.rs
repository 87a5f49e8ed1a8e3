//! How does a request get to a server, and its answer back?
//!
//! HTTP/1.1, over TCP, TLS or a unix socket. Each node has connections of its own, as many as it
//! needs at once; the one that was used last is used first.

use std::cell::RefCell;
use std::sync::Once;
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::HOST;

use crate::stage::{Answer, Failure};

pub use address::Address;
pub(crate) use address::names_nobody;
use connection::{Connection, Lost};
pub(crate) use token::token;

mod address;
mod connection;
mod descriptors;
#[cfg(test)]
mod tests;
mod token;

/// How long an answer may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// Connections to the servers of a cluster's nodes.
#[derive(Debug)]
pub struct Pool {
    nodes: Vec<Node>,
    timeout: Duration,
    exhausted: RefCell<Option<String>>,
}

#[derive(Debug)]
struct Node {
    address: Address,
    idle: RefCell<Vec<Connection>>,
}

impl Pool {
    /// Node `n` is served at `addresses[n]`; where there are fewer, they are taken in turn.
    pub fn new(addresses: Vec<Address>, timeout: Duration) -> Self {
        static RAISED: Once = Once::new();
        RAISED.call_once(descriptors::raise);
        let node = |address| Node { address, idle: RefCell::default() };
        let nodes = addresses.into_iter().map(node).collect();
        Self { nodes, timeout, exhausted: RefCell::default() }
    }

    /// Whether each of them accepts a connection.
    ///
    /// # Errors
    /// Which one does not, and why.
    pub async fn probe(&self) -> Result<(), String> {
        for node in &self.nodes {
            let opened = tokio::time::timeout(self.timeout, Connection::open(&node.address)).await;
            let said = match opened {
                Ok(Ok(connection)) => {
                    node.idle.borrow_mut().push(connection);
                    continue;
                }
                Ok(Err(problem)) => problem.to_string(),
                Err(_) => format!("no connection within {} s", self.timeout.as_secs()),
            };
            return Err(format!("{}: {said}; does it listen there?", node.address));
        }
        Ok(())
    }

    /// Sends a request, whose target is a path and whose `Host` is set here; the whole answer.
    ///
    /// # Errors
    /// There is none, at the latest after the time that the pool was made with.
    pub async fn send(&self, node: u32, mut request: Request<Bytes>) -> Result<Answer, Failure> {
        let node = &self.nodes[node as usize % self.nodes.len()];
        request.headers_mut().insert(HOST, node.address.host());
        let answer = tokio::time::timeout(self.timeout, self.exchange(node, request)).await;
        answer.unwrap_or(Err(Failure::TimedOut))
    }

    /// What it ran out of, in words.
    pub fn exhausted(&self) -> Option<String> {
        self.exhausted.borrow().clone()
    }

    async fn exchange(&self, node: &Node, request: Request<Bytes>) -> Result<Answer, Failure> {
        let mut request = request.map(Full::new);
        loop {
            let idle = node.idle.borrow_mut().pop();
            let (mut connection, new) = match idle {
                Some(connection) => (connection, false),
                None => (self.open(node).await?, true),
            };
            match connection.exchange(request).await {
                Ok(answer) => {
                    if connection.is_open() {
                        node.idle.borrow_mut().push(connection);
                    }
                    return Ok(answer);
                }
                // The server had closed it since the last answer: nobody has seen the request.
                Err(Lost::Unsent(unsent)) if !new => request = *unsent,
                Err(_) => return Err(Failure::Broken),
            }
        }
    }

    async fn open(&self, node: &Node) -> Result<Connection, Failure> {
        Connection::open(&node.address).await.map_err(|problem| {
            if let Some(words) = descriptors::exhausted(&problem) {
                self.exhausted.borrow_mut().get_or_insert(words);
            }
            Failure::Connect
        })
    }
}
