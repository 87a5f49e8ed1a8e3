//! Where callers connect: sockets, certificates, limits, and how the process begins and ends.

mod limits;
mod signals;
mod sockets;
mod tls;
