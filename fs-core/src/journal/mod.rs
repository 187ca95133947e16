//! Recovery of the log for reading: what the volume's blocks are once every
//! complete transaction has been written home, found without writing anything.
//!
//! ```text
//! superblock ── where the log begins and how it is read
//!      |
//!    scan ───── which transactions are complete         (pass 1)
//!      |
//!   revoke ──── which blocks must not be written        (pass 2)
//!      |
//!   replay ──── the last copy of every other block      (pass 3)
//!      |
//! fast_commit ─ operations since the last full commit
//! ```
//!
//! The three passes are jbd2's. Blocks stay in the log: the result says where,
//! one block is in memory at a time. A volume that Linux would refuse to mount
//! because its log is damaged is refused here too; what the log's end is and
//! what damage is stands in `scan`. Fast commits are the one exception, see
//! `fast_commit`.
//!
//! Every walk visits each block of the log once at most, whatever the blocks
//! say.

mod descriptor;
mod fast_commit;
mod log;
mod replay;
mod revoke;
mod ring;
mod scan;
mod superblock;
mod tid;
mod write_format;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

pub(crate) use fast_commit::{FastCommitName, FastCommitOp};
pub(crate) use log::LogLocation;
pub(crate) use replay::ReplayedBlock;
pub use superblock::JournalSuperblock;
pub(crate) use superblock::read_superblock;
pub(crate) use tid::Tid;
pub(crate) use writer::{LogFeatures, LogWriter};

use crate::error::Result;
use crate::types::FsBlock;
use log::Log;
use revoke::RevokeTable;
use ring::LogBlock;

/// What recovery found.
#[derive(Debug)]
pub(crate) struct Replay {
    /// The content of every block that is not what lies in its place. A log
    /// block that is itself a target means what lies on the device.
    pub(crate) blocks: BTreeMap<FsBlock, ReplayedBlock>,
    /// Number of complete transactions.
    pub(crate) transactions: u32,
    /// The first and the last complete transaction, if there is one.
    pub(crate) tids: Option<(Tid, Tid)>,
    /// Number of blocks with a revoke record.
    pub(crate) revoked_blocks: usize,
    /// Number of fast commits after the last complete transaction.
    pub(crate) fast_commit_count: u32,
    /// Their operations, in the order they must be applied, upon `blocks`.
    pub(crate) fast_commits: Vec<FastCommitOp>,
}

/// Reads the whole log. A clean log gives an empty result.
///
/// # Errors
///
/// `Unsupported` for features that are not known, `Corrupt` if Linux would
/// refuse the log, `Device` if the log cannot be read.
pub(crate) fn recover(location: &LogLocation<'_>) -> Result<Replay> {
    let superblock = read_superblock(location)?;
    let log = Log::new(location, &superblock)?;
    if !superblock.is_dirty() {
        return Ok(Replay {
            blocks: BTreeMap::new(),
            transactions: 0,
            tids: None,
            revoked_blocks: 0,
            fast_commit_count: 0,
            fast_commits: Vec::new(),
        });
    }
    let first_tid = Tid(superblock.sequence);
    let scan = scan::scan(&log, LogBlock(superblock.start_block), first_tid)?;
    let revoked = RevokeTable::collect(&log, &scan.revokes)?;
    let blocks = replay::replay(&log, &scan.descriptors, &revoked)?;
    let fast_commits = fast_commit::scan(&log, superblock.fast_commit_area(), scan.end_tid)?;
    let last_tid = Tid(scan.end_tid.0.wrapping_sub(1));
    Ok(Replay {
        blocks,
        transactions: scan.transactions,
        tids: (scan.transactions > 0).then_some((first_tid, last_tid)),
        revoked_blocks: revoked.len(),
        fast_commit_count: fast_commits.commits,
        fast_commits: fast_commits.operations,
    })
}
