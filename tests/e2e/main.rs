//! vaultlet from outside: real processes, a real OpenBao, bytes on sockets. One test binary, so
//! that the program and its libraries are linked once.
//!
//! Nothing here knows the program's insides, but for `policies` and `store_key`, which each hold one
//! of its parts against the server. What the rest may rely on is what users rely on: the command
//! line, the configuration file, HTTP, signals, and the log.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::similar_names,
    clippy::unwrap_used
)]

mod admin;
mod attacks;
mod bao;
mod cache;
mod client;
mod clients;
mod cluster;
mod differential;
mod explain;
mod guardrails;
mod kubernetes;
mod leases;
mod listeners;
mod local_policies;
mod mint;
mod oldest;
mod outage;
mod passthrough;
mod policies;
mod postgres;
mod process;
mod raw;
mod roles;
mod service_accounts;
mod status;
mod store_key;
mod stub;
mod tenants;
mod upgrade;
mod vaultlet;
mod world;
