//! Does everything that vaultlet does not understand go through as it came?

mod bodies;
mod crosstalk;
mod headers;
mod redirects;
