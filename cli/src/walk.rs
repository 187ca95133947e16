//! Small steps through a volume that several commands take.

use std::ops::ControlFlow;

use fs_core::{ExtentState, FileBlock, FileType, Inode, InodeNumber, MappedExtent, Volume};

use crate::failure::complain;

/// A directory entry that outlives the visit.
#[derive(Debug, Clone)]
pub(crate) struct OwnedEntry {
    /// The name: never empty, without '/' and NUL.
    pub(crate) name: Vec<u8>,
    /// The inode it names.
    pub(crate) inode: InodeNumber,
}

/// True for "." and "..".
pub(crate) fn is_dot(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

/// True for a name that can be one component of a path. `fs-core` refuses
/// others; a name that leaves a directory is checked where it would do harm.
pub(crate) fn is_component(name: &[u8]) -> bool {
    !name.is_empty() && !is_dot(name) && !name.iter().any(|b| matches!(b, 0 | b'/'))
}

/// The most names of one directory that are held in memory: a damaged directory
/// can name the same again and again, and no sound one has as many.
const ENTRIES_MAX: usize = 10_000_000;

/// The entries of a directory, "." and ".." included, sorted by their bytes;
/// and whether they are all. What stands before a damaged place is of use.
pub(crate) fn sorted_entries(
    volume: &Volume,
    directory: &Inode,
) -> (Vec<OwnedEntry>, fs_core::Result<()>) {
    let mut entries = Vec::new();
    let complete = volume.read_dir(directory, 0, &mut |entry| {
        entries.push(OwnedEntry {
            name: entry.name.to_vec(),
            inode: entry.inode,
        });
        if entries.len() < ENTRIES_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    if entries.len() >= ENTRIES_MAX {
        complain(&format!(
            "directory {}: only the first {ENTRIES_MAX} names are taken",
            directory.number()
        ));
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    (entries, complete)
}

/// A target of this many bytes or more does not fit into an inode.
const SHORT_LINK_BYTES: u64 = 60;

/// True if the content lies in the inode itself, not in blocks: inline data,
/// or the target of a short symbolic link.
pub(crate) fn is_inline(inode: &Inode) -> bool {
    let is_link = inode.file_type() == FileType::Symlink;
    inode.has_inline_data() || (is_link && inode.size_bytes() < SHORT_LINK_BYTES)
}

/// True if the type has content of its own.
pub(crate) fn has_content(inode: &Inode) -> bool {
    matches!(
        inode.file_type(),
        FileType::Regular | FileType::Directory | FileType::Symlink
    )
}

/// Visits what lies at each position of a file: every extent, every hole
/// before the end of the file, and blocks allocated beyond it.
pub(crate) fn visit_extents(
    volume: &Volume,
    inode: &Inode,
    visit: &mut dyn FnMut(MappedExtent) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let block_bytes = u64::from(volume.superblock().block_bytes);
    let end = inode.size_bytes().div_ceil(block_bytes.max(1));
    let mut block = FileBlock(0);
    // ext4 numbers a file's blocks with 32 bits.
    while block.0 < 1 << 32 {
        let mut extent = volume.map(inode, block)?;
        if extent.state == ExtentState::Hole {
            let next = block.0.saturating_add(extent.len_blocks);
            extent.len_blocks = next.min(end.max(block.0)) - block.0;
            if extent.len_blocks > 0 {
                visit(extent)?;
            }
            if next <= block.0 || next >= 1 << 32 {
                break;
            }
            block = FileBlock(next);
            continue;
        }
        visit(extent)?;
        match block.checked_add(extent.len_blocks) {
            Some(next) if next > block => block = next,
            _ => break,
        }
    }
    Ok(())
}
