//! The server on a kernel with FUSE iomap: the real session loops against the simulated kernel.

mod basic;
mod closing;
mod conformance;
mod device;
mod functional;
mod hostile;
mod random;
mod reach;
mod refused;
mod rig;
mod startup;
mod trouble;
