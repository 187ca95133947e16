//! The types of real threads.

pub(crate) use std::sync::OnceLock;
pub(crate) use std::sync::atomic::AtomicU64;

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
