//! A request on its way, and what the kernel holds meanwhile (section 6).

use std::time::Instant;

/// A lock held while the server works (4.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lock {
    /// `i_rwsem`, shared.
    RwsemShared,
    /// `i_rwsem`, exclusive.
    RwsemExclusive,
    /// The mapping invalidate lock, shared.
    InvalidateShared,
    /// The mapping invalidate lock, exclusive.
    InvalidateExclusive,
    /// Folios of the page cache.
    Folio,
    /// The parent directory's lock.
    Directory,
}

/// A request the server has not answered.
#[derive(Debug, Clone)]
pub struct PendingRequest {
    /// Its number.
    pub unique: u64,
    /// What is asked.
    pub opcode: u32,
    /// Of which node.
    pub nodeid: u64,
    /// What is held meanwhile.
    pub locks: Vec<Lock>,
    /// Since when.
    pub since: Instant,
    /// The channel it went to; `None` while it waits for one.
    pub channel: Option<usize>,
}

/// How long a successful reply's body is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// Exactly.
    Exactly(usize),
    /// At most.
    AtMost(usize),
    /// There is no reply.
    Nothing,
}

/// A request to be sent.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) opcode: u32,
    pub(crate) nodeid: u64,
    pub(crate) body: &'a [&'a [u8]],
    pub(crate) expect: Expect,
    pub(crate) locks: &'a [Lock],
}
