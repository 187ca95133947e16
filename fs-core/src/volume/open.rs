//! Finding a superblock that can be trusted.

use std::sync::Arc;

use images::BlockDevice;
use zerocopy::FromBytes;

use crate::error::{Error, ErrorKind, Result};
use crate::format::superblock::{PRIMARY_OFFSET_BYTES, RawSuperblock, SIZE_BYTES, Superblock};
use crate::types::FsBlock;
use crate::volume::OpenOptions;

/// A superblock and where it lay.
pub(super) struct Opened {
    pub(super) superblock: Superblock,
    pub(super) offset_bytes: u64,
}

impl Opened {
    /// The block the superblock lies in: the descriptors follow it.
    pub(super) fn block(&self) -> FsBlock {
        FsBlock(self.offset_bytes / u64::from(self.superblock.block_bytes))
    }
}

/// Reads and checks the primary superblock, or the copy the options name.
pub(super) fn open(device: &Arc<dyn BlockDevice>, options: &OpenOptions) -> Result<Opened> {
    let Some(kib) = options.superblock_kib else {
        return match read(device, PRIMARY_OFFSET_BYTES) {
            Err(error) if wants_backup(&error) => Err(name_backups(device, error)),
            other => other,
        };
    };
    let offset = kib.checked_mul(1024).ok_or(ErrorKind::InvalidInput(
        "the superblock's position is beyond 2^64 bytes",
    ))?;
    // "sb=1" is the primary, also where blocks are larger than 1 KiB.
    read(device, offset).map_err(|error| error.context(format_args!("superblock at sb={kib}")))
}

fn wants_backup(error: &Error) -> bool {
    error.is_corruption() || matches!(error.kind(), ErrorKind::NotExt4 { .. })
}

/// The superblock at a byte offset, checked.
pub(super) fn read(device: &Arc<dyn BlockDevice>, offset_bytes: u64) -> Result<Opened> {
    let size = device.size_bytes();
    let fits = offset_bytes
        .checked_add(SIZE_BYTES as u64)
        .is_some_and(|end| end <= size);
    if !fits {
        return Err(ErrorKind::NotExt4 {
            found: format!("the device has only {size} bytes"),
        }
        .into());
    }
    let mut bytes = [0; SIZE_BYTES];
    device.read_at(&mut bytes, offset_bytes)?;
    let raw = RawSuperblock::ref_from_bytes(&bytes)
        .map_err(|_| Error::corrupt("superblock", None, "1024 bytes", bytes.len()))?;
    Ok(Opened {
        superblock: raw.validate(size)?,
        offset_bytes,
    })
}

/// Group sizes tried: from 2^12 times the usual one (clusters) down to 2^-7 of it.
const GROUP_SIZES_LARGER: u32 = 12;
const GROUP_SIZES: u32 = 20;

/// Groups that hold a copy whatever the features, but for sparse_super2.
const BACKUP_GROUPS: [u64; 6] = [1, 3, 5, 7, 9, 25];

/// Adds to an error which copies of the superblock are good.
fn name_backups(device: &Arc<dyn BlockDevice>, error: Error) -> Error {
    let mut usable = Vec::new();
    for log_block_size in 0..=6 {
        let block_bytes = 1024u64 << log_block_size;
        // mke2fs makes groups of one block of bitmap unless it is told to make
        // smaller ones, or larger ones of clusters.
        for shift in 0..GROUP_SIZES {
            let group_blocks = ((block_bytes * 8) << GROUP_SIZES_LARGER) >> shift;
            for group in BACKUP_GROUPS {
                let first_block = u64::from(log_block_size == 0);
                for block in [group * group_blocks + first_block, group * group_blocks] {
                    if let Ok(copy) = read(device, block * block_bytes)
                        && u64::from(copy.superblock.block_bytes) == block_bytes
                        && u64::from(copy.superblock.block_group) == group
                    {
                        usable.push(block * block_bytes / 1024);
                    }
                }
            }
        }
    }
    usable.sort_unstable();
    usable.dedup();
    let usable: Vec<String> = usable.iter().map(u64::to_string).collect();
    match usable.as_slice() {
        [] => error,
        [first, ..] => error.context(format_args!(
            "the superblock cannot be used, but its backups at {} can, with sb={first}",
            usable.join(", ")
        )),
    }
}
