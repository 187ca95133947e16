//! The simulated kernel against a toy server: one file, blocks of a fixed place, in memory.
//! The server is served by threads over the sockets, as a real one is; each rule has a test in
//! which it breaks the rule and the kernel names it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod calls;
mod corners;
mod io;
mod ioctls;
mod notifications;
mod random;
mod rules;
mod start_up;
mod toy;
