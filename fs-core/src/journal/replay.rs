//! Last pass: the final content of every block in the complete transactions.

use std::collections::BTreeMap;

use super::descriptor::{Tag, Tags};
use super::log::{Checksums, Log};
use super::revoke::RevokeTable;
use super::ring::LogBlock;
use super::scan::Logged;
use crate::error::{Error, ErrorKind, Result};
use crate::format::journal::{JBD2_MAGIC_BYTES, data_checksum};
use crate::types::FsBlock;

/// The most memory escaped blocks may take. They are rare (a block must begin
/// with the log's magic number), and everything else stays in the log.
const MAX_ESCAPED_BYTES: usize = 256 << 20;

/// The content of a block after recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReplayedBlock {
    /// That of this block of the device, in the log, as it lies there.
    InLog(FsBlock),
    /// These bytes: in the log the block is escaped.
    Bytes(Box<[u8]>),
}

/// Collects the logged blocks that no revoke record voids. A later copy of a
/// block takes the place of an earlier one.
pub(super) fn replay(
    log: &Log<'_>,
    descriptors: &[Logged],
    revoked: &RevokeTable,
) -> Result<BTreeMap<FsBlock, ReplayedBlock>> {
    let mut replayer = Replayer {
        log,
        revoked,
        data: log.block_buffer(),
        escaped_bytes: 0,
        blocks: BTreeMap::new(),
    };
    let mut block = log.block_buffer();
    for &descriptor in descriptors {
        log.location.read_block(descriptor.at, &mut block)?;
        replayer
            .descriptor(descriptor, &block)
            .map_err(|e| e.context(format_args!("journal transaction {}", descriptor.tid)))?;
    }
    Ok(replayer.blocks)
}

struct Replayer<'a> {
    log: &'a Log<'a>,
    revoked: &'a RevokeTable,
    /// Room for a logged block.
    data: Vec<u8>,
    escaped_bytes: usize,
    blocks: BTreeMap<FsBlock, ReplayedBlock>,
}

impl Replayer<'_> {
    fn descriptor(&mut self, descriptor: Logged, block: &[u8]) -> Result<()> {
        let Some(mut cursor) = self.log.ring.from(descriptor.at) else {
            return Ok(());
        };
        cursor.skip(1);
        for tag in Tags::new(block, self.log.checksums, self.log.is_64bit) {
            // The first pass has counted them; the device has changed since.
            let Some(at) = cursor.advance() else {
                return Err(Error::corrupt(
                    "descriptor block",
                    None,
                    "fewer tags",
                    "too many",
                ));
            };
            if self.revoked.voids(tag.target, descriptor.tid) {
                continue;
            }
            let content = self.content(tag, at, descriptor)?;
            self.blocks.insert(tag.target, content);
        }
        Ok(())
    }

    fn content(&mut self, tag: Tag, at: LogBlock, descriptor: Logged) -> Result<ReplayedBlock> {
        let limit = self.log.location.target_limit();
        if tag.target.0 >= limit {
            let home = self.log.location.home(descriptor.at)?;
            let expected = format_args!("t_blocknr below {limit}");
            return Err(Error::corrupt(
                "descriptor block",
                Some(home),
                expected,
                tag.target,
            ));
        }
        if self.log.checksums.block_seed().is_none() && !tag.is_escaped {
            return Ok(ReplayedBlock::InLog(self.log.location.home(at)?));
        }
        let home = self.log.location.read_block(at, &mut self.data)?;
        self.check_data(tag, home, descriptor)?;
        if !tag.is_escaped {
            return Ok(ReplayedBlock::InLog(home));
        }
        self.escaped_bytes = self.escaped_bytes.saturating_add(self.data.len());
        if self.escaped_bytes > MAX_ESCAPED_BYTES {
            let what = format!("a journal with more than {MAX_ESCAPED_BYTES} bytes escaped");
            return Err(ErrorKind::Unsupported(what).into());
        }
        let mut bytes: Box<[u8]> = self.data.as_slice().into();
        if let Some(magic) = bytes.first_chunk_mut() {
            *magic = JBD2_MAGIC_BYTES;
        }
        Ok(ReplayedBlock::Bytes(bytes))
    }

    /// Fails unless the logged block in `data` has its tag's checksum.
    fn check_data(&self, tag: Tag, home: FsBlock, descriptor: Logged) -> Result<()> {
        let (seed, mask) = match self.log.checksums {
            Checksums::None | Checksums::V1 => return Ok(()),
            Checksums::V2 { seed } => (seed, 0xFFFF),
            Checksums::V3 { seed } => (seed, u32::MAX),
        };
        let computed = data_checksum(seed, descriptor.tid.0, &self.data) & mask;
        if computed == tag.stored_checksum {
            return Ok(());
        }
        let structure = format!("logged copy of block {}", tag.target);
        Err(Error::bad_checksum(
            structure,
            Some(home),
            computed,
            tag.stored_checksum,
        ))
    }
}
