//! Changing an inode's bytes field by field: what this program does not know stays.

use zerocopy::FromBytes;
use zerocopy::little_endian::{U16, U32};

use super::inode::{
    BASE_BYTES, BLOCK_AREA, RawInode, extra_isize, halves, low16, seconds, set_checksum,
};
use crate::error::{Error, ErrorKind, Result};
use crate::format::features::{IncompatFeatures, RoCompatFeatures};
use crate::format::inode_flags::InodeFlags;
use crate::format::superblock::Superblock;
use crate::types::{FsBlock, InodeNumber, Timestamp};

/// Offsets of the extra fields.
const CTIME_EXTRA: usize = 0x84;
const MTIME_EXTRA: usize = 0x88;
const ATIME_EXTRA: usize = 0x8C;
const CRTIME: usize = 0x90;
const VERSION_HI: usize = 0x98;

/// An inode's bytes being changed. The checksum is set when the change ends.
#[derive(Debug)]
pub(crate) struct InodeEdit<'a> {
    superblock: &'a Superblock,
    number: InodeNumber,
    bytes: &'a mut [u8],
}

impl<'a> InodeEdit<'a> {
    /// `bytes` are `inode_bytes` long.
    pub(crate) fn new(
        superblock: &'a Superblock,
        number: InodeNumber,
        bytes: &'a mut [u8],
    ) -> Self {
        Self {
            superblock,
            number,
            bytes,
        }
    }

    /// Sets the checksum.
    pub(crate) fn seal(self) {
        set_checksum(self.superblock, self.number, self.bytes);
    }

    /// All bytes.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes
    }

    fn raw(&mut self) -> Result<&mut RawInode> {
        let len = self.bytes.len();
        match RawInode::mut_from_prefix(self.bytes) {
            Ok((raw, _)) => Ok(raw),
            Err(_) => Err(Error::corrupt("inode", None, "128 or more bytes", len)),
        }
    }

    /// Sets the 32 bits at `offset` of the extra fields, if the inode has them.
    fn set_extra(&mut self, offset: usize, value: U32) {
        let end = BASE_BYTES + extra_isize(self.bytes);
        if offset + 4 <= end
            && let Some(field) = self.bytes.get_mut(offset..offset + 4)
        {
            field.copy_from_slice(&value.get().to_le_bytes());
        }
    }

    fn has_extra(&self, offset: usize) -> bool {
        offset + 4 <= BASE_BYTES + extra_isize(self.bytes)
    }

    /// Type and permission bits.
    pub(crate) fn set_mode(&mut self, mode: u16) -> Result<()> {
        self.raw()?.i_mode = mode.into();
        Ok(())
    }

    /// Owner and group.
    pub(crate) fn set_owner(&mut self, uid: u32, gid: u32) -> Result<()> {
        let raw = self.raw()?;
        raw.i_uid = low16(uid);
        raw.l_i_uid_high = low16(uid >> 16);
        raw.i_gid = low16(gid);
        raw.l_i_gid_high = low16(gid >> 16);
        Ok(())
    }

    /// Length of the content in bytes.
    pub(crate) fn set_size(&mut self, size_bytes: u64) -> Result<()> {
        let [low, high] = halves(size_bytes);
        let raw = self.raw()?;
        raw.i_size_lo = low;
        raw.i_size_high = high;
        Ok(())
    }

    /// Number of names.
    pub(crate) fn set_links(&mut self, links: u16) -> Result<()> {
        self.raw()?.i_links_count = links.into();
        Ok(())
    }

    /// Space taken, in units of 512 bytes, as `st_blocks` has it.
    ///
    /// # Errors
    /// `FileTooLarge` if the volume cannot store it.
    pub(crate) fn set_blocks_512(&mut self, count: u64) -> Result<()> {
        let has_huge = self.superblock.has_ro_compat(RoCompatFeatures::HUGE_FILE);
        if count > u64::from(u32::MAX) && !has_huge {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let in_fs_blocks = count >= 1 << 48;
        let stored = if in_fs_blocks {
            count / u64::from(self.superblock.block_bytes / 512)
        } else {
            count
        };
        let [low, high] = halves(stored);
        let raw = self.raw()?;
        raw.i_blocks_lo = low;
        if has_huge {
            raw.l_i_blocks_high = low16(high.get());
            let mut flags = InodeFlags::from_bits_retain(raw.i_flags.get());
            flags.set(InodeFlags::HUGE_FILE, in_fs_blocks);
            raw.i_flags = flags.bits().into();
        }
        Ok(())
    }

    /// All flags; HUGE_FILE stays as [`set_blocks_512`](Self::set_blocks_512) left it.
    pub(crate) fn set_flags(&mut self, flags: InodeFlags) -> Result<()> {
        let raw = self.raw()?;
        let huge = InodeFlags::from_bits_retain(raw.i_flags.get()) & InodeFlags::HUGE_FILE;
        raw.i_flags = (flags.difference(InodeFlags::HUGE_FILE) | huge)
            .bits()
            .into();
        Ok(())
    }

    /// Tells uses of the same number apart. Changes the seed of all checksums of what
    /// belongs to the inode.
    pub(crate) fn set_generation(&mut self, generation: u32) -> Result<()> {
        self.raw()?.i_generation = generation.into();
        Ok(())
    }

    /// Last access.
    pub(crate) fn set_accessed(&mut self, time: Timestamp) -> Result<()> {
        let (low, extra) = seconds(time, self.has_extra(ATIME_EXTRA));
        self.raw()?.i_atime = low;
        self.set_extra(ATIME_EXTRA, extra);
        Ok(())
    }

    /// Last change of the content.
    pub(crate) fn set_modified(&mut self, time: Timestamp) -> Result<()> {
        let (low, extra) = seconds(time, self.has_extra(MTIME_EXTRA));
        self.raw()?.i_mtime = low;
        self.set_extra(MTIME_EXTRA, extra);
        Ok(())
    }

    /// Last change of content or attributes.
    pub(crate) fn set_changed(&mut self, time: Timestamp) -> Result<()> {
        let (low, extra) = seconds(time, self.has_extra(CTIME_EXTRA));
        self.raw()?.i_ctime = low;
        self.set_extra(CTIME_EXTRA, extra);
        Ok(())
    }

    /// Creation, where there is room for it.
    pub(crate) fn set_created(&mut self, time: Timestamp) {
        let (low, extra) = seconds(time, self.has_extra(CRTIME + 4));
        self.set_extra(CRTIME, low);
        self.set_extra(CRTIME + 4, extra);
    }

    /// Deletion in seconds since 1970, or the next inode of the orphan list.
    pub(crate) fn set_deleted_at(&mut self, seconds: u32) -> Result<()> {
        self.raw()?.i_dtime = seconds.into();
        Ok(())
    }

    /// NFS change counter; for an EA inode the low half of its reference count.
    pub(crate) fn set_version(&mut self, version: u64) -> Result<()> {
        let [low, high] = halves(version);
        self.raw()?.l_i_version = low;
        self.set_extra(VERSION_HI, high);
        Ok(())
    }

    /// The block of extended attributes.
    pub(crate) fn set_xattr_block(&mut self, block: Option<FsBlock>) -> Result<()> {
        let is_wide = self.superblock.has_incompat(IncompatFeatures::BIT64);
        let [low, high] = halves(block.map_or(0, |block| block.0));
        let raw = self.raw()?;
        raw.i_file_acl_lo = low;
        if is_wide {
            raw.l_i_file_acl_high = low16(high.get());
        }
        Ok(())
    }

    /// `i_block`: root of the block map, inline data, or a short symlink.
    pub(crate) fn block_area_mut(&mut self) -> Result<&mut [u8; 60]> {
        let len = self.bytes.len();
        self.bytes
            .get_mut(BLOCK_AREA)
            .and_then(|area| area.try_into().ok())
            .ok_or_else(|| Error::corrupt("inode", None, "128 or more bytes", len))
    }

    /// The bytes after the extra fields, where attributes lie; empty if there are none.
    pub(crate) fn xattr_area_mut(&mut self) -> &mut [u8] {
        let start = BASE_BYTES + extra_isize(self.bytes);
        if start == BASE_BYTES {
            return &mut [];
        }
        self.bytes.get_mut(start..).unwrap_or_default()
    }

    /// Gives an inode of a volume with larger inodes its extra fields, all zero, if it has
    /// none and nothing lies there. What was made by other systems may lack them.
    pub(crate) fn ensure_extra(&mut self) {
        let room = self.bytes.len().saturating_sub(BASE_BYTES);
        let wanted = usize::from(self.superblock.want_extra_isize).min(room);
        if wanted >= 4
            && extra_isize(self.bytes) == 0
            && let Some(extra) = self.bytes.get_mut(BASE_BYTES..)
        {
            extra.fill(0);
            let size: U16 = low16(u32::try_from(wanted).unwrap_or(0));
            if let Some(field) = extra.get_mut(..2) {
                field.copy_from_slice(&size.get().to_le_bytes());
            }
        }
    }
}
