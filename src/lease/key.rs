//! Which requests for a credential are the same request, and whose?
//!
//! A credential is shared by whoever asks the same thing as the same owner. The same thing: verb,
//! namespace, path, query, byte for byte, and a body that means the same.

use std::sync::Arc;

use aws_lc_rs::digest;

use super::canonical::canonical;
use crate::exchange::Place;
use crate::secret::Fingerprint;

/// Who a credential is issued to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Owner {
    /// All pods of a service account, by the login they share, whichever that is by then.
    Account(Arc<Place>),
    /// One pod of it, where they share the login and nothing else.
    Borrower(Arc<Place>, Fingerprint),
    /// Whoever brings this credential.
    Credential(Fingerprint),
}

/// What a credential is found by.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    /// Whose it is.
    pub(super) owner: Owner,
    /// What was asked for.
    pub(super) request: Request,
}

/// What was asked for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Request {
    /// A write, whose body counts, or a read.
    pub(super) writes: bool,
    /// Namespace and path, as policies see them.
    pub(super) path: Box<str>,
    /// How many bytes of it name the namespace.
    pub(super) namespace: usize,
    /// As it came.
    pub(super) query: Box<[u8]>,
    /// What stands for the body.
    pub(super) body: Sum,
}

/// What stands for a body.
pub(super) type Sum = [u8; digest::SHA256_OUTPUT_LEN];

/// That of a body, by what it means to the server; `None` where that is not beyond doubt.
pub(super) fn sum(body: &[u8]) -> Option<Sum> {
    let canonical = canonical(body)?;
    let mut sum = Sum::default();
    sum.copy_from_slice(digest::digest(&digest::SHA256, &canonical).as_ref());
    Some(sum)
}
