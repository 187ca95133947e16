//! From extents to the kernel's mappings, and from its bytes to blocks.

use std::ops::Range;

use fs_core::{ExtentState, FileBlock, FsBlock, MappedExtent, Superblock};

use super::devices::Device;
use crate::wire::{IomapIo, NO_ADDRESS, iomap_flag, iomap_type};

/// Sizes of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Bytes of a block, a power of two.
    pub(crate) block_bytes: u32,
    /// Bytes of the largest file.
    pub(crate) max_bytes: u64,
}

impl Geometry {
    /// Of a volume; `offered` is what the kernel can have at most, 0 if it did not say.
    pub(super) fn of(superblock: &Superblock, offered: i64) -> Self {
        let most = u64::try_from(offered).ok().filter(|&most| most > 0);
        Self {
            block_bytes: superblock.block_bytes.max(1),
            max_bytes: superblock.max_file_bytes().min(most.unwrap_or(u64::MAX)),
        }
    }

    /// The block of a file that holds a byte.
    pub(super) fn block_of(&self, byte: u64) -> FileBlock {
        FileBlock(byte / u64::from(self.block_bytes))
    }

    /// The first block that begins at or behind a byte.
    pub(super) fn block_from(&self, byte: u64) -> FileBlock {
        FileBlock(byte.div_ceil(u64::from(self.block_bytes)))
    }

    /// Bytes before a block; the last there are for blocks beyond all.
    pub(super) fn bytes_of(&self, blocks: u64) -> u64 {
        let room = NO_ADDRESS - NO_ADDRESS % u64::from(self.block_bytes);
        blocks
            .checked_mul(u64::from(self.block_bytes))
            .map_or(room, |bytes| bytes.min(room))
    }

    /// A range of blocks as the kernel has it: offset and length in bytes, the length 0 if it
    /// is empty.
    pub(super) fn byte_range(&self, blocks: &Range<FileBlock>) -> (u64, u64) {
        let start = self.bytes_of(blocks.start.0);
        (start, self.bytes_of(blocks.end.0).saturating_sub(start))
    }

    /// A run of a file's blocks as a mapping. Flags depend on nothing but the kind of file, so
    /// that the kernel can merge what lies side by side.
    pub(super) fn mapping(&self, run: &MappedExtent, device: Device, has_extents: bool) -> IomapIo {
        let (offset, length) = self.byte_range(&(run.file_block..run.end()));
        let address = |start: FsBlock| self.bytes_of(start.0).saturating_add(device.base_offset);
        // A fresh map may not be durable when the data is. Marked so always, a synchronous
        // write is followed by FSYNC, which knows whether there is anything to do.
        let mut flags = iomap_flag::DIRTY;
        if !has_extents {
            flags |= iomap_flag::MERGED;
        }
        let placed = |kind, start, flags| IomapIo {
            offset,
            length,
            addr: address(start),
            kind,
            flags,
            dev: device.id,
        };
        match run.state {
            ExtentState::Hole => placeless(iomap_type::HOLE, offset, length),
            ExtentState::Written(start) => placed(iomap_type::MAPPED, start, flags),
            ExtentState::Unwritten(start) => placed(iomap_type::UNWRITTEN, start, 0),
        }
    }

    /// The blocks of a mapping that these bytes lie in. Writeback goes on with what it was
    /// answered for as long as that lasts, and has only the pages it asked for locked.
    pub(super) fn cut(&self, mapping: IomapIo, pos: u64, count: u64) -> IomapIo {
        let block = u64::from(self.block_bytes);
        let mapped_end = mapping.offset.saturating_add(mapping.length);
        let start = (pos - pos % block).max(mapping.offset);
        let end = pos.saturating_add(count).checked_next_multiple_of(block);
        let end = end.unwrap_or(mapped_end).min(mapped_end);
        let addr = match mapping.addr {
            NO_ADDRESS => NO_ADDRESS,
            addr => addr.saturating_add(start - mapping.offset),
        };
        IomapIo {
            offset: start,
            length: end.saturating_sub(start),
            addr,
            ..mapping
        }
    }

    /// Content kept in the inode: the first block, and nothing behind it.
    pub(super) fn inline_mapping(&self, byte: u64) -> IomapIo {
        let block = u64::from(self.block_bytes);
        if byte < block {
            return placeless(iomap_type::INLINE, 0, block);
        }
        let end = self
            .bytes_of(u64::MAX)
            .min(i64::MAX.unsigned_abs() - (block - 1));
        let end = end - end % block;
        match byte < end {
            true => placeless(iomap_type::HOLE, block, end - block),
            // Beyond all sizes: one block is enough said.
            false => placeless(iomap_type::HOLE, byte - byte % block, block),
        }
    }
}

/// A mapping without a place on a device.
pub(super) fn placeless(kind: u16, offset: u64, length: u64) -> IomapIo {
    IomapIo {
        offset,
        length,
        addr: NO_ADDRESS,
        kind,
        flags: 0,
        dev: 0,
    }
}

/// The same range without saying anything of it.
pub(super) fn beside(mapping: &IomapIo, kind: u16) -> IomapIo {
    placeless(kind, mapping.offset, mapping.length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: Geometry = Geometry {
        block_bytes: 1024,
        max_bytes: 1 << 40,
    };
    const DEVICE: Device = Device {
        id: 7,
        base_offset: 1 << 20,
        is_atomic: false,
    };

    fn run(state: ExtentState) -> MappedExtent {
        MappedExtent {
            file_block: FileBlock(3),
            len_blocks: 5,
            state,
        }
    }

    #[test]
    fn a_mapping_is_cut_to_whole_blocks() {
        let mapping = GEOMETRY.mapping(&run(ExtentState::Written(FsBlock(100))), DEVICE, true);
        let cut = GEOMETRY.cut(mapping, 5000, 1000);
        assert_eq!((cut.offset, cut.length), (4096, 2048));
        assert_eq!(cut.addr, mapping.addr + 1024);
        let whole = GEOMETRY.cut(mapping, 3072, 1 << 40);
        assert_eq!((whole.offset, whole.length), (3072, 5120));
        let hole = GEOMETRY.mapping(&run(ExtentState::Hole), DEVICE, true);
        assert_eq!(GEOMETRY.cut(hole, 5000, u64::MAX).addr, hole.addr);
    }

    #[test]
    fn each_state_is_a_kind_of_mapping() {
        let written = GEOMETRY.mapping(&run(ExtentState::Written(FsBlock(100))), DEVICE, true);
        assert_eq!((written.offset, written.length), (3072, 5120));
        assert_eq!((written.addr, written.dev), ((1 << 20) + 102_400, 7));
        assert_eq!(written.kind, iomap_type::MAPPED);
        let unwritten = GEOMETRY.mapping(&run(ExtentState::Unwritten(FsBlock(9))), DEVICE, false);
        assert_eq!(
            (unwritten.kind, unwritten.flags),
            (iomap_type::UNWRITTEN, 0)
        );
        let hole = GEOMETRY.mapping(&run(ExtentState::Hole), DEVICE, true);
        assert_eq!(
            (hole.kind, hole.addr, hole.dev),
            (iomap_type::HOLE, NO_ADDRESS, 0)
        );
    }

    #[test]
    fn nothing_wraps() {
        let huge = MappedExtent {
            file_block: FileBlock(u64::MAX / 2),
            len_blocks: u64::MAX / 2,
            state: ExtentState::Hole,
        };
        let mapping = GEOMETRY.mapping(&huge, DEVICE, true);
        assert_eq!(mapping.offset % 1024, 0);
        assert_eq!(mapping.length % 1024, 0);
        assert!(mapping.offset.checked_add(mapping.length).is_some());
        for byte in [0, 1023, 1024, 1 << 62, u64::MAX] {
            let inline = GEOMETRY.inline_mapping(byte);
            assert!(
                inline.offset <= byte && byte - inline.offset < inline.length,
                "{byte}"
            );
            assert_eq!((inline.offset % 1024, inline.length % 1024), (0, 0));
        }
    }
}
