//! The smallest log, on a device without a file system: for tests of transactions.

use std::sync::Arc;

use images::BlockDevice;
use zerocopy::{FromZeros, IntoBytes};

use crate::format::journal::{JBD2_MAGIC_NUMBER, JBD2_MIN_JOURNAL_BLOCKS, RawJournalSuperblock};
use crate::journal::{
    LogFeatures, LogLocation, LogWriter, ReplayedBlock, read_superblock, recover,
};
use crate::types::FsBlock;

pub(crate) const BLOCK_BYTES: usize = 1024;
/// Blocks before the log.
pub(crate) const HOME_BLOCKS: u64 = 64;
const LOG_BLOCKS: u32 = JBD2_MIN_JOURNAL_BLOCKS;
pub(crate) const DEVICE_BYTES: usize = (HOME_BLOCKS as usize + LOG_BLOCKS as usize) * BLOCK_BYTES;

fn with_location<T>(
    device: &Arc<dyn BlockDevice>,
    use_it: impl FnOnce(&LogLocation<'_>) -> T,
) -> T {
    use_it(&LogLocation {
        device,
        block_bytes: BLOCK_BYTES as u32,
        blocks_count: HOME_BLOCKS + u64::from(LOG_BLOCKS),
        inode_bytes: 256,
        map: &|at| Ok(FsBlock(HOME_BLOCKS + u64::from(at))),
        len_blocks: LOG_BLOCKS,
    })
}

/// The bytes of a device with an empty log.
pub(crate) fn image() -> Vec<u8> {
    let mut raw = RawJournalSuperblock::new_zeroed();
    raw.s_header.h_magic = JBD2_MAGIC_NUMBER.into();
    raw.s_header.h_blocktype = 4.into();
    raw.s_blocksize = (BLOCK_BYTES as u32).into();
    raw.s_maxlen = LOG_BLOCKS.into();
    raw.s_first = 1.into();
    raw.s_sequence = 1.into();
    let mut image = vec![0; DEVICE_BYTES];
    let at = HOME_BLOCKS as usize * BLOCK_BYTES;
    image[at..at + 1024].copy_from_slice(raw.as_bytes());
    image
}

/// Takes over the log of an [`image`].
pub(crate) fn writer(device: &Arc<dyn BlockDevice>) -> LogWriter {
    with_location(device, |location| {
        let superblock = read_superblock(location).unwrap();
        let mut raw = RawJournalSuperblock::new_zeroed();
        let at = HOME_BLOCKS * BLOCK_BYTES as u64;
        device.read_at(raw.as_mut_bytes(), at).unwrap();
        let features = LogFeatures {
            has_checksums: true,
            is_64bit: true,
            has_fast_commits: false,
        };
        let mut writer = LogWriter::new(location, &superblock, raw, features, 1).unwrap();
        writer.restart().unwrap();
        writer
    })
}

/// The blocks before the log once it has been replayed, and the number of transactions.
pub(crate) fn recovered(image: Vec<u8>) -> (Vec<u8>, u32) {
    let device: Arc<dyn BlockDevice> = Arc::new(images::Memory::read_only(image.clone()));
    let replay = with_location(&device, recover).unwrap();
    let mut homes = image[..HOME_BLOCKS as usize * BLOCK_BYTES].to_vec();
    for (target, content) in &replay.blocks {
        let content = match content {
            ReplayedBlock::InLog(at) => &image[at.0 as usize * BLOCK_BYTES..][..BLOCK_BYTES],
            ReplayedBlock::Bytes(bytes) => bytes,
        };
        homes[target.0 as usize * BLOCK_BYTES..][..BLOCK_BYTES].copy_from_slice(content);
    }
    (homes, replay.transactions)
}
