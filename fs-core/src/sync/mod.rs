//! Locks and atomics of the parts whose threads are explored: some tests run them under a
//! scheduler that tries one order of their steps after the other. Outside of tests these are
//! the usual types, by their names.

#[cfg(test)]
mod explored;
#[cfg(not(test))]
mod usual;

#[cfg(test)]
pub(crate) use explored::*;
#[cfg(not(test))]
pub(crate) use usual::*;
