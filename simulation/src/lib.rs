//! vaultlet's own code in time that is not real, in front of a server that misbehaves.
//!
//! Everything random comes from one number, the seed: what callers ask and when, how long each
//! request takes on its way there and back, what goes wrong, what changes at the server meanwhile. A
//! seed that fails fails again, step for step. docs/simulation.md says what is played and what must
//! be so.

mod callers;
mod history;
mod properties;
mod seed;
mod server;
mod settings;
mod situations;
mod trace;
mod wire;
mod wish;
mod world;

pub use seed::{Outcome, play};
pub use situations::{Met, Situation};
