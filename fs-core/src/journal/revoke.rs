//! Revoke records: blocks whose logged contents must no longer be written,
//! because they have been freed and may hold something else by now.

use std::collections::HashMap;

use zerocopy::FromBytes;

use super::descriptor::without_tail;
use super::log::Log;
use super::scan::Logged;
use super::tid::Tid;
use crate::error::{Error, Result};
use crate::format::journal::RevokeHeader;
use crate::types::FsBlock;

/// For each revoked block the youngest transaction that revoked it.
#[derive(Debug, Default)]
pub(super) struct RevokeTable(HashMap<FsBlock, Tid>);

impl RevokeTable {
    /// Reads the revoke blocks of all complete transactions.
    pub(super) fn collect(log: &Log<'_>, revoke_blocks: &[Logged]) -> Result<Self> {
        let mut table = Self::default();
        let mut block = log.block_buffer();
        for logged in revoke_blocks {
            let home = log.location.read_block(logged.at, &mut block)?;
            for target in records(log, &block, home)? {
                table.add(target, logged.tid);
            }
        }
        Ok(table)
    }

    fn add(&mut self, target: FsBlock, tid: Tid) {
        let youngest = self.0.entry(target).or_insert(tid);
        if tid.is_after(*youngest) {
            *youngest = tid;
        }
    }

    /// True if what transaction `tid` logged for `target` is void: the same or
    /// a younger transaction revoked it.
    pub(super) fn voids(&self, target: FsBlock, tid: Tid) -> bool {
        self.0
            .get(&target)
            .is_some_and(|&revoked| !tid.is_after(revoked))
    }

    /// Number of revoked blocks.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The block numbers in a revoke block.
fn records<'a>(
    log: &Log<'_>,
    block: &'a [u8],
    home: FsBlock,
) -> Result<impl Iterator<Item = FsBlock> + use<'a>> {
    let usable = without_tail(block, log.checksums);
    let used_bytes = RevokeHeader::ref_from_prefix(block)
        .ok()
        .and_then(|(header, _)| usize::try_from(header.r_count.get()).ok())
        .unwrap_or(usize::MAX);
    let Some(used) = usable.get(..used_bytes) else {
        let expected = format_args!("r_count up to {}", usable.len());
        return Err(Error::corrupt(
            "revoke block",
            Some(home),
            expected,
            used_bytes,
        ));
    };
    let record_bytes = if log.is_64bit { 8 } else { 4 };
    Ok(used
        .get(size_of::<RevokeHeader>()..)
        .unwrap_or(&[])
        .chunks_exact(record_bytes)
        .map(|record| FsBlock(record.iter().fold(0, |n, &byte| n << 8 | u64::from(byte)))))
}
