//! Does the cache give what the server would, to whom the server would, for as long as it may?

mod attacks;
mod controls;
mod flights;
pub mod lifetimes;
mod poison;
mod rights;
pub mod sharing;
mod windows;
pub mod writes;
