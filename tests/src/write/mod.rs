//! Writing judged: operations as values, a model of what they should do, and those who
//! compare a volume with it.

pub mod content;
pub mod crash;
pub mod faults;
pub mod model;
pub mod operation;
pub mod tree;
