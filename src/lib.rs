//! vaultlet: a node-local caching proxy for HashiCorp Vault and OpenBao.
//!
//! `docs/architecture.md` has the life of a request; [`proxy::Proxy::handle`] is where to begin
//! reading. The modules below are in layers, bottom first: each imports only from those above it
//! in this list, which `tests/layering.rs` checks.

// Leaves: know nothing about Vault.
pub mod clock;
pub mod config;
pub mod error;
pub mod flight;
pub mod hardening;
pub mod metrics;
pub mod policy;
pub mod secret;
pub mod telemetry;
pub mod tenant;
pub mod twin;

pub mod audit;
pub mod body;
pub mod dial;
pub mod sealed;
pub mod trust;
pub mod watch;

// The question.
pub mod request;

// What this node takes away.
pub mod guardrails;
pub mod handover;

// Vault, and who asks it.
pub mod upstream;

pub mod identity;
pub mod store_key;

pub mod kubernetes;

pub mod badge;
pub mod caller;
pub mod exchange;

// Answers.
pub mod cache;
pub mod kv;
pub mod lease;

pub mod forward;
pub mod route;

// The product.
pub mod proxy;

// Surfaces.
pub mod refusals;
pub mod status;

pub mod admin;
pub mod edge;
pub mod server;
pub mod snapshot;
pub mod takeover;
pub mod witness;

// Composition.
pub mod app;
pub mod dev;
pub mod explain;

pub mod cli;
