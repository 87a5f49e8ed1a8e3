//! vaultlet with a real cluster: kube-apiserver, etcd, OpenBao and the program, each a process.
//!
//! `make test-kubernetes` builds the first two and runs this; everywhere else it is ignored. What
//! the stand-in of `tests/e2e` answers is what the tests there believe; these ask the real one.
//! There is no kubelet and no controller: a pod is an object that tokens are bound to.
#![allow(missing_docs, unreachable_pub, clippy::print_stdout, clippy::unwrap_used)]

mod apiserver;
mod callers;
mod changes;
mod cluster;
mod servers;
mod site;

// As they are: the end-to-end tests use the rest of them.
#[allow(dead_code)]
#[path = "../e2e/bao.rs"]
mod bao;
#[allow(dead_code)]
#[path = "../e2e/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../e2e/vaultlet.rs"]
mod vaultlet;
#[allow(dead_code)]
#[path = "../e2e/world.rs"]
mod world;
