//! What is a server that is there already, to a scenario?
//!
//! A stage without a backstage: requests go to it, with one token, and nothing else can happen.

use hyper::Request;
use hyper::body::Bytes;
use zeroize::Zeroizing;

use crate::scenario::Phase;
use crate::stage::{Answer, Failure, Gauges, Stage};
use crate::wire::Pool;

/// The server.
pub(crate) struct Given {
    pool: Pool,
    token: Zeroizing<String>,
}

impl Given {
    /// What is behind `pool`; `token` is shown with every request.
    pub(crate) fn new(pool: Pool, token: Zeroizing<String>) -> Self {
        Self { pool, token }
    }
}

impl Stage for Given {
    fn name(&self) -> &'static str {
        "server"
    }

    fn pass(&self, _pod: u32) -> &Zeroizing<String> {
        &self.token
    }

    fn takes_service_accounts(&self) -> bool {
        false
    }

    fn login_path(&self) -> &'static str {
        "auth/kubernetes/login"
    }

    async fn send(&self, node: u32, request: Request<Bytes>) -> Result<Answer, Failure> {
        self.pool.send(node, request).await
    }

    async fn begin(&self, _phase: &Phase) -> Result<(), String> {
        Ok(())
    }

    async fn end(&self, _phase: &Phase) -> Result<(), String> {
        Ok(())
    }

    /// Nothing: whose server it is, and where, is not for its load to know.
    async fn gauges(&self) -> Gauges {
        Gauges::default()
    }

    fn exhausted(&self) -> Option<String> {
        self.pool.exhausted()
    }
}
