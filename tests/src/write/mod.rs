//! Writing judged: operations as values, a model of what they should do, and those who
//! compare a volume with it.
//!
//! ```text
//!   property ── draw ── operation ── run ─┬─ model ── tree ── content
//!      kinds                       judge ─┴─ load, kernel
//! ```

pub mod content;
pub mod crash;
pub mod device;
pub mod draw;
pub mod faults;
pub mod judge;
pub mod kernel;
pub mod kinds;
pub mod load;
pub mod model;
pub mod operation;
pub mod property;
pub mod run;
pub mod tree;
