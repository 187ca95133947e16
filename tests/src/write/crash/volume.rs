//! The small volumes crashes happen to.

use std::sync::Arc;

use anyhow::{Context, Result};
use fs_core::{GroupNumber, OpenOptions, Volume, WritableVolume};
use images::{BlockDevice, Memory};

use super::record::{Holds, options};
use crate::scratch::Scratch;
use crate::write::operation::Operation;

/// How one is made.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// Arguments of mke2fs.
    pub mke2fs: &'static [&'static str],
    /// Bytes of the image.
    pub len_bytes: u64,
}

const SMALL_BYTES: u64 = 2100 << 10;

/// Volumes with a journal.
pub const JOURNALLED: &[Kind] = &[
    Kind {
        name: "ext4",
        mke2fs: &[
            "-b",
            "1024",
            "-N",
            "64",
            "-J",
            "size=1",
            "-O",
            "^resize_inode,orphan_file",
        ],
        len_bytes: SMALL_BYTES,
    },
    Kind {
        name: "ext4 without checksums, 64bit and orphan file",
        mke2fs: &[
            "-b",
            "1024",
            "-N",
            "64",
            "-J",
            "size=1",
            "-O",
            "^resize_inode,^metadata_csum,^64bit,^orphan_file",
        ],
        len_bytes: SMALL_BYTES,
    },
    Kind {
        name: "ext3",
        mke2fs: &[
            "-t",
            "ext3",
            "-b",
            "1024",
            "-N",
            "64",
            "-J",
            "size=1",
            "-O",
            "^resize_inode",
        ],
        len_bytes: SMALL_BYTES,
    },
    Kind {
        name: "ext4 with inline data",
        mke2fs: &[
            "-b",
            "1024",
            "-N",
            "64",
            "-J",
            "size=1",
            "-O",
            "^resize_inode,inline_data,^orphan_file",
        ],
        len_bytes: SMALL_BYTES,
    },
];

/// One that is as good as full after [`crowded_setup`](super::workload::crowded_setup).
pub const CROWDED: Kind = Kind {
    name: "ext4, full",
    mke2fs: &[
        "-b",
        "1024",
        "-m",
        "0",
        "-N",
        "64",
        "-J",
        "size=1",
        "-O",
        "^resize_inode,^orphan_file",
    ],
    len_bytes: SMALL_BYTES,
};

/// Volumes without one.
pub const UNJOURNALLED: &[Kind] = &[
    Kind {
        name: "ext4 without journal",
        mke2fs: &["-b", "1024", "-N", "64", "-O", "^has_journal,^resize_inode"],
        len_bytes: 1 << 20,
    },
    Kind {
        name: "ext2",
        mke2fs: &[
            "-t",
            "ext2",
            "-b",
            "1024",
            "-N",
            "64",
            "-O",
            "^resize_inode",
        ],
        len_bytes: 1 << 20,
    },
];

/// The time of preparations.
const SETUP_SECONDS: i64 = 1_700_000_000;
/// What free space holds: nobody may ever see it.
pub const STALE: u8 = 0xDB;

/// An image with some files, closed cleanly, whose free blocks hold [`STALE`].
///
/// # Errors
/// If it cannot be made.
pub fn prepare(kind: &Kind, setup: &[Operation]) -> Result<Vec<u8>> {
    let scratch = Scratch::new()?;
    let path = scratch.mke2fs("image", kind.len_bytes, kind.mke2fs)?;
    let memory = Arc::new(Memory::new(std::fs::read(path)?));
    let device: Arc<dyn BlockDevice> = memory.clone();
    let volume = WritableVolume::open(device, &options(SETUP_SECONDS))?;
    let mut holds = Holds::default();
    for operation in setup {
        holds
            .apply(&volume, operation)
            .with_context(|| format!("{operation:?}"))?;
    }
    volume.close()?;
    let mut image = memory.snapshot();
    fill_free_blocks(&mut image)?;
    Ok(image)
}

/// Gives all free blocks a content that must never be seen.
///
/// # Errors
/// If the image cannot be read.
pub fn fill_free_blocks(image: &mut [u8]) -> Result<()> {
    let device: Arc<dyn BlockDevice> = Arc::new(Memory::read_only(image.to_vec()));
    let volume = Volume::open(device, &OpenOptions::default())?;
    let block_bytes = volume.superblock().block_bytes as usize;
    for group in 0..volume.group_count() {
        for (start, len) in volume.free_block_runs(GroupNumber(group))? {
            let start = start.0 as usize * block_bytes;
            image[start..start + len as usize * block_bytes].fill(STALE);
        }
    }
    Ok(())
}
