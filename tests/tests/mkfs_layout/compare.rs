//! What must be equal, and the few bytes that may differ (docs/format.md says why).

use super::oracle::{GARBAGE, Pair};
use anyhow::{Context, Result, ensure};
use fs_core::encode::RawSuperblock;
use rustix::fs::SeekFrom;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use system_tests::tool;

/// Lines of dumpe2fs that may differ, by their beginning.
const DIFFERENT_LINES: &[&str] = &[
    // What counts as written is defined otherwise.
    "Lifetime writes:",
    // Of the superblock: follows from the line before.
    "Checksum: ",
    // Neither the machine nor the device is named, nor the time of the day told.
    "    mmp_update_date:",
    "    mmp_update_time:",
    "    mmp_node_name:",
    "    mmp_device_name:",
];
/// Bytes of a superblock that may differ: `s_kbytes_written` and `s_checksum`.
const DIFFERENT_IN_SUPERBLOCK: &[std::ops::Range<u64>] = &[0x178..0x180, 0x3FC..0x400];
/// And of one with a journal of more extents than an inode holds: the copy of unused
/// entries, in which mke2fs leaves what was there before the tree grew.
const UNUSED_JOURNAL_ENTRIES: std::ops::Range<u64> = 0x10C + 24..0x10C + 60;
/// The same in the journal's inode, and the inode's checksum.
const DIFFERENT_IN_JOURNAL_INODE: &[std::ops::Range<u64>] =
    &[0x28 + 24..0x28 + 60, 0x7C..0x7E, 0x82..0x84];
/// Bytes of the MMP block that may differ: time, names, checksum.
const DIFFERENT_IN_MMP: &[std::ops::Range<u64>] = &[0x8..0x70, 0x3FC..0x400];

/// mke2fs wipes the first 4 KiB, we wipe this much.
const SIGNATURES_BYTES: u64 = 65536;
/// A superblock, in a block of its own that mke2fs leaves as it was behind it.
const SUPERBLOCK_BYTES: u64 = 1024;

/// Compares what dumpe2fs says: the header and all groups.
pub(crate) fn listings(pair: &Pair) -> Result<()> {
    let list = |image: &Path| -> Result<Vec<String>> {
        let text = tool::run("dumpe2fs", &[image])?;
        let lines = text.lines().filter(|line| {
            let is_different = |begin: &&str| line.starts_with(*begin);
            !DIFFERENT_LINES.iter().any(is_different)
        });
        Ok(lines.map(str::to_owned).collect())
    };
    let (ours, theirs) = (list(&pair.ours)?, list(&pair.theirs)?);
    for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        ensure!(
            ours == theirs,
            "line {number}:\n   ours: {ours}\n theirs: {theirs}"
        );
    }
    ensure!(
        ours.len() == theirs.len(),
        "dumpe2fs lists different lengths"
    );
    Ok(())
}

/// Compares all bytes; holes in both images are skipped.
pub(crate) fn bytes(pair: &Pair) -> Result<()> {
    let (ours, theirs) = (File::open(&pair.ours)?, File::open(&pair.theirs)?);
    let len = ours.metadata()?.len();
    let mut at = 0;
    let mut different = Vec::new();
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    while let Some(start) = next_data(&ours, at)?
        .into_iter()
        .chain(next_data(&theirs, at)?)
        .min()
    {
        let start = start - start % (1 << 20);
        let piece = usize::try_from((len - start).min(1 << 20))?;
        ours.read_exact_at(&mut a[..piece], start)?;
        theirs.read_exact_at(&mut b[..piece], start)?;
        if a[..piece] != b[..piece] {
            let offsets = (start..).zip(a[..piece].iter().zip(&b[..piece]));
            for (offset, (ours, theirs)) in offsets.filter(|(_, (a, b))| a != b) {
                let is_old = *theirs == GARBAGE && *ours == 0;
                if !(is_old && is_cleared(pair, offset)) {
                    different.push(offset);
                }
            }
        }
        at = start + (1 << 20);
        if at >= len {
            break;
        }
    }
    different.retain(|&offset| !may_differ(pair, offset));
    if let Some(first) = different.first() {
        let block_bytes = 1024_u64 << pair.superblock.s_log_block_size.get();
        let blocks: std::collections::BTreeSet<u64> = different
            .iter()
            .map(|offset| offset / block_bytes)
            .collect();
        let blocks: Vec<u64> = blocks.into_iter().collect();
        let shown = &blocks[..blocks.len().min(20)];
        anyhow::bail!(
            "{} bytes differ, the first at {first} (block {}, byte {:#x}); blocks {shown:?}",
            different.len(),
            first / block_bytes,
            first % block_bytes
        );
    }
    Ok(())
}

fn next_data(file: &File, at: u64) -> Result<Option<u64>> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => Ok(Some(start)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno).context("looking for data"),
    }
}

fn may_differ(pair: &Pair, offset: u64) -> bool {
    let raw = &pair.superblock;
    let block_bytes = 1024_u64 << raw.s_log_block_size.get();
    let in_ranges = |start: u64, ranges: &[std::ops::Range<u64>]| {
        offset
            .checked_sub(start)
            .is_some_and(|byte| ranges.iter().any(|range| range.contains(&byte)))
    };
    let first = u64::from(raw.s_first_data_block.get());
    let per_group = u64::from(raw.s_blocks_per_group.get());
    let group = (offset / block_bytes).saturating_sub(first) / per_group;
    let superblock_at = match group {
        0 => 1024,
        _ => (group * per_group + first) * block_bytes,
    };
    let mmp_at = raw.s_mmp_block.get() * block_bytes;
    if has_deep_journal(raw) {
        let inode_at = pair.inode_table * block_bytes + 7 * u64::from(raw.s_inode_size.get());
        if in_ranges(superblock_at, &[UNUSED_JOURNAL_ENTRIES])
            || in_ranges(inode_at, DIFFERENT_IN_JOURNAL_INODE)
        {
            return true;
        }
    }
    in_ranges(superblock_at, DIFFERENT_IN_SUPERBLOCK)
        || mmp_at != 0 && in_ranges(mmp_at, DIFFERENT_IN_MMP)
}

/// True for places that we clear and mke2fs leaves as they were: the first 64 KiB, and
/// the blocks of backup superblocks behind these.
fn is_cleared(pair: &Pair, offset: u64) -> bool {
    let raw = &pair.superblock;
    let block_bytes = 1024_u64 << raw.s_log_block_size.get();
    let first = u64::from(raw.s_first_data_block.get());
    let block = (offset / block_bytes).saturating_sub(first);
    let is_first_of_group = block.is_multiple_of(u64::from(raw.s_blocks_per_group.get()));
    offset < SIGNATURES_BYTES || is_first_of_group && offset % block_bytes >= SUPERBLOCK_BYTES
}

/// True if the journal is mapped by a tree of extents with more than its root.
fn has_deep_journal(raw: &RawSuperblock) -> bool {
    const EXTENT_MAGIC: u32 = 0xF30A;
    let [first, second, ..] = raw.s_jnl_blocks;
    first.get() & 0xFFFF == EXTENT_MAGIC && second.get() >> 16 > 0
}
