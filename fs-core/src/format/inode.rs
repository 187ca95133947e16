//! Inodes: 128 bytes of the old form, then as many extra fields as
//! `i_extra_isize` says, then extended attributes (ext4 on-disk layout,
//! "Index Nodes").

use std::sync::OnceLock;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, ErrorKind, Result};
use crate::format::checksum::crc32c_raw;
use crate::format::features::{IncompatFeatures, RoCompatFeatures};
use crate::format::inode_flags::InodeFlags;
use crate::format::superblock::Superblock;
use crate::format::xattr;
use crate::types::{FileType, FsBlock, InodeNumber, Timestamp};

/// The part every inode has.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawInode {
    pub(crate) i_mode: U16,            // 0x00
    pub(crate) i_uid: U16,             // 0x02
    pub(crate) i_size_lo: U32,         // 0x04
    pub(crate) i_atime: U32,           // 0x08
    pub(crate) i_ctime: U32,           // 0x0C
    pub(crate) i_mtime: U32,           // 0x10
    pub(crate) i_dtime: U32,           // 0x14
    pub(crate) i_gid: U16,             // 0x18
    pub(crate) i_links_count: U16,     // 0x1A
    pub(crate) i_blocks_lo: U32,       // 0x1C
    pub(crate) i_flags: U32,           // 0x20
    pub(crate) l_i_version: U32,       // 0x24
    pub(crate) i_block: [u8; 60],      // 0x28
    pub(crate) i_generation: U32,      // 0x64
    pub(crate) i_file_acl_lo: U32,     // 0x68
    pub(crate) i_size_high: U32,       // 0x6C
    pub(crate) i_obso_faddr: U32,      // 0x70
    pub(crate) l_i_blocks_high: U16,   // 0x74
    pub(crate) l_i_file_acl_high: U16, // 0x76
    pub(crate) l_i_uid_high: U16,      // 0x78
    pub(crate) l_i_gid_high: U16,      // 0x7A
    pub(crate) l_i_checksum_lo: U16,   // 0x7C
    pub(crate) l_i_reserved: U16,      // 0x7E
}

/// The extra fields, each there only if `i_extra_isize` reaches past it.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Default)]
#[repr(C)]
struct RawExtra {
    i_extra_isize: U16,  // 0x80
    i_checksum_hi: U16,  // 0x82
    i_ctime_extra: U32,  // 0x84
    i_mtime_extra: U32,  // 0x88
    i_atime_extra: U32,  // 0x8C
    i_crtime: U32,       // 0x90
    i_crtime_extra: U32, // 0x94
    i_version_hi: U32,   // 0x98
    i_projid: U32,       // 0x9C
}

/// Size of the part every inode has.
pub(crate) const BASE_BYTES: usize = 128;
const EXTRA_BYTES: usize = size_of::<RawExtra>();
/// Where `i_block` lies in an inode.
pub(crate) const BLOCK_AREA: std::ops::Range<usize> = 0x28..0x64;
/// Where `i_dtime` lies.
pub(crate) const DTIME: std::ops::Range<usize> = 0x14..0x18;
const CHECKSUM_LO_OFFSET: usize = 0x7C;
const CHECKSUM_HI_OFFSET: usize = 0x82;
const EXTRA_ISIZE_OFFSET: usize = 0x80;
/// Offset, within the extra fields, of the first byte after `i_checksum_hi`.
const CHECKSUM_HI_END: usize = 4;

const _: () = assert!(size_of::<RawInode>() == BASE_BYTES && EXTRA_BYTES == 32);

/// An inode whose checksum and type are right. What its block map or xattrs
/// say is checked where they are read.
#[derive(Debug, Clone)]
// In this order: what every look-up reads lies beside the reference counts.
#[repr(C)]
pub struct Inode {
    number: InodeNumber,
    links: u16,
    mode: u16,
    file_type: FileType,
    flags: InodeFlags,
    uid: u32,
    gid: u32,
    generation: u32,
    size_bytes: u64,
    blocks_512: u64,
    project_id: u32,
    accessed: Timestamp,
    modified: Timestamp,
    changed: Timestamp,
    created: Option<Timestamp>,
    deleted_at: u32,
    version: u64,
    xattr_block: Option<FsBlock>,
    block_area: [u8; 60],
    extra_isize: u16,
    xattr_area: Box<[u8]>,
    checksum_seed: u32,
    /// Set once the root of the block map has been checked.
    root_is_checked: OnceLock<()>,
}

#[cfg(test)]
impl Inode {
    /// An empty file, for who needs no more than an inode.
    pub(crate) fn example(number: InodeNumber) -> Self {
        Self {
            number,
            file_type: FileType::Regular,
            mode: 0o100_644,
            uid: 0,
            gid: 0,
            size_bytes: 0,
            blocks_512: 0,
            links: 1,
            generation: 0,
            flags: InodeFlags::empty(),
            project_id: 0,
            accessed: Timestamp::default(),
            modified: Timestamp::default(),
            changed: Timestamp::default(),
            created: None,
            deleted_at: 0,
            version: 0,
            xattr_block: None,
            block_area: [0; 60],
            extra_isize: 32,
            xattr_area: Box::default(),
            checksum_seed: 0,
            root_is_checked: OnceLock::new(),
        }
    }
}

impl Inode {
    /// Runs `check` on the root of the block map unless that was accepted before: this
    /// inode never changes, its successor is another.
    pub(crate) fn check_root(&self, check: impl FnOnce(&[u8; 60]) -> Result<()>) -> Result<()> {
        if self.root_is_checked.get().is_none() {
            check(&self.block_area)?;
            // Another thread may have set it.
            let _ = self.root_is_checked.set(());
        }
        Ok(())
    }

    /// Its number.
    pub fn number(&self) -> InodeNumber {
        self.number
    }

    /// What it is.
    pub fn file_type(&self) -> FileType {
        self.file_type
    }

    /// Type and permission bits, as in `st_mode`.
    pub fn mode(&self) -> u16 {
        self.mode
    }

    /// Owner.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Owning group.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Length of the content in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Space taken, in units of 512 bytes, as in `st_blocks`. Files with inline
    /// data report their size, as Linux does, lest archivers take them for holes.
    pub fn blocks_512(&self) -> u64 {
        if self.file_type == FileType::Regular && self.has_inline_data() {
            self.blocks_512
                .saturating_add(self.size_bytes.div_ceil(512))
        } else {
            self.blocks_512
        }
    }

    /// Space taken, in units of 512 bytes, as the inode states it.
    pub(crate) fn stored_blocks_512(&self) -> u64 {
        self.blocks_512
    }

    /// Number of names. 1 stands for "many" in a directory of 65,000 or more.
    pub fn links(&self) -> u32 {
        self.links.into()
    }

    /// Tells uses of the same number apart.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// All flags; FS_IOC_GETFLAGS shows those in [`USER_VISIBLE_FLAGS`].
    pub fn flags(&self) -> InodeFlags {
        self.flags
    }

    /// Project, 0 where the inode has no room for one.
    pub fn project_id(&self) -> u32 {
        self.project_id
    }

    /// Last access.
    pub fn accessed(&self) -> Timestamp {
        self.accessed
    }

    /// Last change of the content.
    pub fn modified(&self) -> Timestamp {
        self.modified
    }

    /// Last change of content or attributes.
    pub fn changed(&self) -> Timestamp {
        self.changed
    }

    /// Creation; `None` where the inode has no room for it.
    pub fn created(&self) -> Option<Timestamp> {
        self.created
    }

    /// Deletion in seconds since 1970, or the next inode of the orphan list.
    pub fn deleted_at(&self) -> u32 {
        self.deleted_at
    }

    /// NFS change counter.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// (major, minor) of a device node; `None` for anything else.
    pub fn device_number(&self) -> Option<(u32, u32)> {
        if !matches!(self.file_type, FileType::CharDevice | FileType::BlockDevice) {
            return None;
        }
        let word = |at: usize| {
            self.block_area
                .get(at..)
                .and_then(|bytes| U32::read_from_prefix(bytes).ok())
                .map_or(0, |(word, _)| word.get())
        };
        // The old form (8:8 bits) in the first word, else the new one (12:20) in the second.
        let (old, new) = (word(0), word(4));
        Some(if old != 0 {
            (old >> 8 & 0xFF, old & 0xFF)
        } else {
            ((new & 0xF_FF00) >> 8, new & 0xFF | new >> 12 & 0xF_FF00)
        })
    }

    /// True if content lies in the inode itself.
    pub fn has_inline_data(&self) -> bool {
        self.flags.contains(InodeFlags::INLINE_DATA)
    }

    /// The block of extended attributes, if there is one.
    pub(crate) fn xattr_block(&self) -> Option<FsBlock> {
        self.xattr_block
    }

    /// `i_block`: root of the block map, inline data, or a short symlink.
    pub(crate) fn block_area(&self) -> &[u8; 60] {
        &self.block_area
    }

    /// The bytes after the extra fields; empty if they hold no attributes.
    pub(crate) fn xattr_area(&self) -> &[u8] {
        &self.xattr_area
    }

    /// How many bytes attributes may take in the inode, once
    /// [`ensure_extra`](crate::format::inode_edit::InodeEdit::ensure_extra) was called.
    pub(crate) fn xattr_area_bytes(&self, superblock: &Superblock) -> usize {
        let room = usize::from(superblock.inode_bytes).saturating_sub(BASE_BYTES);
        let extra = match usize::from(self.extra_isize) {
            0 => usize::from(superblock.want_extra_isize).min(room),
            extra => extra,
        };
        match extra {
            0 => 0,
            extra => room.saturating_sub(extra),
        }
    }

    /// Seed of the checksums of everything that belongs to this inode.
    pub(crate) fn checksum_seed(&self) -> u32 {
        self.checksum_seed
    }

    /// True if a symlink's target lies in `i_block`. Linux decides by the
    /// absence of blocks other than the xattr block's; under ea_inode, where
    /// i_blocks counts the blocks of EA inodes too, by the size.
    pub(crate) fn is_fast_symlink(&self, superblock: &Superblock) -> bool {
        if self.file_type != FileType::Symlink || self.has_inline_data() {
            return false;
        }
        if superblock.has_incompat(IncompatFeatures::EA_INODE) {
            return (1..BLOCK_AREA.len() as u64).contains(&self.size_bytes);
        }
        let xattr_blocks_512 = self
            .xattr_block
            .map_or(0, |_| u64::from(superblock.cluster_bytes / 512));
        self.blocks_512 == xattr_blocks_512
    }
}

fn timestamp(seconds_low: U32, extra: Option<U32>) -> Timestamp {
    let low = i64::from(seconds_low.get().cast_signed());
    match extra {
        None => Timestamp {
            seconds: low,
            nanos: 0,
        },
        Some(extra) => Timestamp {
            // Two epoch bits extend the signed 32-bit seconds upwards.
            seconds: low + (i64::from(extra.get() & 3) << 32),
            nanos: (extra.get() >> 2).min(999_999_999),
        },
    }
}

/// Seed of an inode's own checksum and of all that belongs to it.
pub(crate) fn seed_of(superblock: &Superblock, number: InodeNumber, generation: u32) -> u32 {
    let seed = crc32c_raw(superblock.checksum_seed, &number.0.to_le_bytes());
    crc32c_raw(seed, &generation.to_le_bytes())
}

/// The checksum an inode's bytes ought to carry: all of them, with the
/// checksum's own fields as zero. 32 bits if `i_checksum_hi` is there.
fn computed_checksum(seed: u32, bytes: &[u8], has_high: bool) -> u32 {
    let piece = |range: std::ops::Range<usize>| bytes.get(range).unwrap_or(&[]);
    let mut crc = crc32c_raw(seed, piece(0..CHECKSUM_LO_OFFSET));
    crc = crc32c_raw(crc, &[0, 0]);
    if has_high {
        crc = crc32c_raw(crc, piece(CHECKSUM_LO_OFFSET + 2..CHECKSUM_HI_OFFSET));
        crc = crc32c_raw(crc, &[0, 0]);
        crc32c_raw(crc, piece(CHECKSUM_HI_OFFSET + 2..bytes.len()))
    } else {
        crc32c_raw(crc, piece(CHECKSUM_LO_OFFSET + 2..bytes.len()))
    }
}

/// `i_extra_isize`, or 0 if the inode has no room for it.
pub(super) fn extra_isize(bytes: &[u8]) -> usize {
    bytes
        .get(EXTRA_ISIZE_OFFSET..EXTRA_ISIZE_OFFSET + 2)
        .and_then(|field| U16::read_from_bytes(field).ok())
        .map_or(0, |size| usize::from(size.get()))
}

/// True if two states of an inode's bytes differ in more than times, the version counter,
/// which goes with them, and the checksum.
pub(crate) fn is_more_than_times(before: &[u8], after: &[u8]) -> bool {
    const EXTRA_TIMES: std::ops::Range<usize> = 0x84..0x9C;
    // Where the extra fields end before, attributes lie in their place.
    let has_extra_times = extra_isize(after) >= EXTRA_TIMES.end - BASE_BYTES;
    let rest = if has_extra_times {
        EXTRA_TIMES.end
    } else {
        EXTRA_TIMES.start
    };
    let differ = |start: usize, end: usize| {
        before.get(start..end.min(before.len())) != after.get(start..end.min(after.len()))
    };
    differ(0, 0x08)
        || differ(DTIME.start, 0x24)
        || differ(BLOCK_AREA.start, CHECKSUM_LO_OFFSET)
        || differ(CHECKSUM_LO_OFFSET + 2, CHECKSUM_HI_OFFSET)
        || differ(rest, usize::MAX)
}

/// Writes the right checksum into an inode's bytes, if the volume wants one.
pub(crate) fn set_checksum(superblock: &Superblock, number: InodeNumber, bytes: &mut [u8]) {
    if !superblock.has_metadata_csum() {
        return;
    }
    let Ok((raw, _)) = RawInode::ref_from_prefix(bytes) else {
        return;
    };
    let seed = seed_of(superblock, number, raw.i_generation.get());
    let has_high = extra_isize(bytes) >= CHECKSUM_HI_END;
    // Its own fields count as zero, so they are zeroed: one pass.
    for (is_there, at) in [(true, CHECKSUM_LO_OFFSET), (has_high, CHECKSUM_HI_OFFSET)] {
        if is_there && let Some(field) = bytes.get_mut(at..at + 2) {
            field.fill(0);
        }
    }
    let [b0, b1, b2, b3] = crc32c_raw(seed, bytes).to_le_bytes();
    if let Some(low) = bytes.get_mut(CHECKSUM_LO_OFFSET..CHECKSUM_LO_OFFSET + 2) {
        low.copy_from_slice(&[b0, b1]);
    }
    if has_high && let Some(high) = bytes.get_mut(CHECKSUM_HI_OFFSET..CHECKSUM_HI_OFFSET + 2) {
        high.copy_from_slice(&[b2, b3]);
    }
}

/// Everything an inode on disk states, for who writes one.
#[derive(Debug, Clone)]
pub struct InodeFields<'a> {
    /// Type and permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Length of the content in bytes.
    pub size_bytes: u64,
    /// Names; a directory with more than 64,999 subdirectories has 1 (dir_nlink).
    pub links: u16,
    /// Space taken, in units of 512 bytes, mapping and attribute blocks included.
    pub blocks_512: u64,
    /// Flags; HUGE_FILE is set by [`encode`] where `blocks_512` needs it.
    pub flags: InodeFlags,
    /// Tells uses of the same number apart.
    pub generation: u32,
    /// Last access.
    pub accessed: Timestamp,
    /// Last change of the content.
    pub modified: Timestamp,
    /// Last change of content or attributes.
    pub changed: Timestamp,
    /// Creation, where the inode has room for it.
    pub created: Timestamp,
    /// The block of extended attributes, 0 for none.
    pub xattr_block: FsBlock,
    /// NFS change counter; for an EA inode the low half of its reference count.
    pub version: u64,
    /// `i_block`.
    pub block_area: [u8; 60],
    /// What follows the extra fields: attributes with their magic number, or nothing.
    pub xattr_area: &'a [u8],
}

/// Writes an inode into `bytes` (`inode_bytes` long), checksum included.
/// Times beyond what the inode can hold become the nearest it can.
///
/// # Errors
/// `InvalidInput` if `xattr_area` has no room or `blocks_512` needs huge_file.
pub fn encode(
    superblock: &Superblock,
    number: InodeNumber,
    fields: &InodeFields<'_>,
    bytes: &mut [u8],
) -> Result<()> {
    let extra_isize = match usize::from(superblock.inode_bytes).saturating_sub(BASE_BYTES) {
        0 => 0,
        room => usize::from(superblock.want_extra_isize).min(room),
    };
    encode_with(superblock, number, fields, extra_isize, bytes)
}

/// Like [`encode`], but without extra fields even where the inode has room for them:
/// the inode of bad blocks is kept so.
///
/// # Errors
/// Those of [`encode`].
pub fn encode_base(
    superblock: &Superblock,
    number: InodeNumber,
    fields: &InodeFields<'_>,
    bytes: &mut [u8],
) -> Result<()> {
    encode_with(superblock, number, fields, 0, bytes)
}

/// Writes an inode that is not in use: zeros, and the checksum they need.
pub fn encode_blank(superblock: &Superblock, number: InodeNumber, bytes: &mut [u8]) {
    bytes.fill(0);
    set_checksum(superblock, number, bytes);
}

fn encode_with(
    superblock: &Superblock,
    number: InodeNumber,
    fields: &InodeFields<'_>,
    extra_isize: usize,
    bytes: &mut [u8],
) -> Result<()> {
    let too_small = || Error::from(ErrorKind::InvalidInput("the inode has no room for this"));
    let (mut flags, blocks) = (fields.flags, blocks_on_disk(superblock, fields)?);
    flags.set(InodeFlags::HUGE_FILE, blocks.in_fs_blocks);
    let [version_lo, version_hi] = halves(fields.version);
    let [size_lo, size_hi] = halves(fields.size_bytes);
    let [acl_lo, acl_hi] = halves(fields.xattr_block.0);
    let wide = |end: usize| extra_isize >= end;
    let raw = RawInode {
        i_mode: fields.mode.into(),
        i_uid: low16(fields.uid),
        i_size_lo: size_lo,
        i_atime: seconds(fields.accessed, wide(16)).0,
        i_ctime: seconds(fields.changed, wide(8)).0,
        i_mtime: seconds(fields.modified, wide(12)).0,
        i_dtime: U32::ZERO,
        i_gid: low16(fields.gid),
        i_links_count: fields.links.into(),
        i_blocks_lo: halves(blocks.count)[0],
        i_flags: flags.bits().into(),
        l_i_version: version_lo,
        i_block: fields.block_area,
        i_generation: fields.generation.into(),
        i_file_acl_lo: acl_lo,
        i_size_high: size_hi,
        i_obso_faddr: U32::ZERO,
        l_i_blocks_high: low16(halves(blocks.count)[1].get()),
        l_i_file_acl_high: low16(acl_hi.get()),
        l_i_uid_high: low16(fields.uid >> 16),
        l_i_gid_high: low16(fields.gid >> 16),
        l_i_checksum_lo: U16::ZERO,
        l_i_reserved: U16::ZERO,
    };
    let extra = RawExtra {
        i_extra_isize: low16(u32::try_from(extra_isize).unwrap_or(0)),
        i_checksum_hi: U16::ZERO,
        i_ctime_extra: seconds(fields.changed, true).1,
        i_mtime_extra: seconds(fields.modified, true).1,
        i_atime_extra: seconds(fields.accessed, true).1,
        i_crtime: seconds(fields.created, wide(24)).0,
        i_crtime_extra: seconds(fields.created, true).1,
        i_version_hi: version_hi,
        i_projid: U32::ZERO,
    };
    bytes.fill(0);
    let (base, rest) = bytes
        .split_at_mut_checked(BASE_BYTES)
        .ok_or_else(too_small)?;
    base.copy_from_slice(raw.as_bytes());
    let (to, rest) = rest
        .split_at_mut_checked(extra_isize)
        .ok_or_else(too_small)?;
    let present = extra_isize.min(EXTRA_BYTES);
    if let (Some(to), Some(from)) = (to.get_mut(..present), extra.as_bytes().get(..present)) {
        to.copy_from_slice(from);
    }
    rest.get_mut(..fields.xattr_area.len())
        .ok_or_else(too_small)?
        .copy_from_slice(fields.xattr_area);
    set_checksum(superblock, number, bytes);
    Ok(())
}

/// `i_block` of a device node; `None` if the format cannot hold the number:
/// 12 bits of major, 20 of minor. Linux writes the old form (8:8 bits) where it suffices.
pub fn device_number(major: u32, minor: u32) -> Option<[u8; 60]> {
    if major >= 1 << 12 || minor >= 1 << 20 {
        return None;
    }
    let (old, new) = if major < 256 && minor < 256 {
        (major << 8 | minor, 0)
    } else {
        (0, minor & 0xFF | major << 8 | (minor & !0xFF) << 12)
    };
    let mut area = [0; 60];
    let words = old.to_le_bytes().into_iter().chain(u32::to_le_bytes(new));
    area.iter_mut().zip(words).for_each(|(to, byte)| *to = byte);
    Some(area)
}

/// `i_blocks` and its unit.
struct BlocksOnDisk {
    count: u64,
    in_fs_blocks: bool,
}

fn blocks_on_disk(superblock: &Superblock, fields: &InodeFields<'_>) -> Result<BlocksOnDisk> {
    let count = fields.blocks_512;
    if count <= u64::from(u32::MAX) {
        return Ok(BlocksOnDisk {
            count,
            in_fs_blocks: false,
        });
    }
    if !superblock.has_ro_compat(RoCompatFeatures::HUGE_FILE) {
        return Err(ErrorKind::InvalidInput("files of 2 TiB or more need huge_file").into());
    }
    let in_fs_blocks = count >= 1 << 48;
    Ok(BlocksOnDisk {
        count: if in_fs_blocks {
            count / u64::from(superblock.block_bytes / 512)
        } else {
            count
        },
        in_fs_blocks,
    })
}

pub(super) fn halves(number: u64) -> [U32; 2] {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    [U32::from_bytes([a, b, c, d]), U32::from_bytes([e, f, g, h])]
}

pub(super) fn low16(number: u32) -> U16 {
    let [a, b, _, _] = number.to_le_bytes();
    U16::from_bytes([a, b])
}

/// The seconds and the extra field of a time, `wide` if the inode has the latter.
pub(super) fn seconds(time: Timestamp, wide: bool) -> (U32, U32) {
    const LOW: i64 = i32::MIN as i64;
    const HIGH: i64 = i32::MAX as i64;
    let clamped = time
        .seconds
        .clamp(LOW, if wide { HIGH + (3 << 32) } else { HIGH });
    // What the signed low half says, and how many times 2^32 are missing.
    let [low, _] = halves(clamped.cast_unsigned());
    let epoch = (clamped - i64::from(low.get().cast_signed())) >> 32;
    let nanos = if clamped == time.seconds {
        time.nanos
    } else {
        0
    };
    let [epoch, _] = halves(epoch.cast_unsigned());
    (low, (epoch.get() & 3 | nanos << 2).into())
}

/// Checks and types the inode in `bytes` (`inode_bytes` long), which lies in `block`.
///
/// # Errors
/// `Stale` if the inode is not in use, `Corrupt` for a bad checksum or type.
pub(crate) fn parse(
    superblock: &Superblock,
    number: InodeNumber,
    block: FsBlock,
    bytes: &[u8],
) -> Result<Inode> {
    let has_checksum = superblock.has_metadata_csum();
    parse_as(superblock, number, block, bytes, has_checksum)
}

/// [`parse`] of bytes whose checksum the caller has just set.
pub(crate) fn parse_sealed(
    superblock: &Superblock,
    number: InodeNumber,
    block: FsBlock,
    bytes: &[u8],
) -> Result<Inode> {
    parse_as(superblock, number, block, bytes, false)
}

fn parse_as(
    superblock: &Superblock,
    number: InodeNumber,
    block: FsBlock,
    bytes: &[u8],
    verify: bool,
) -> Result<Inode> {
    let name = || format!("inode {number}");
    let bad = |expected: &dyn std::fmt::Display, found: &dyn std::fmt::Display| {
        Error::corrupt(name(), Some(block), expected, found)
    };
    let (raw, rest) =
        RawInode::ref_from_prefix(bytes).map_err(|_| bad(&"128 or more bytes", &bytes.len()))?;
    if raw.i_links_count.get() == 0 && raw.i_mode.get() == 0 {
        return Err(Error::from(ErrorKind::Stale).context(name()));
    }
    let extra_isize = extra_isize(bytes);
    if extra_isize > rest.len() || !extra_isize.is_multiple_of(4) {
        let expected = format!("i_extra_isize a multiple of 4 up to {}", rest.len());
        return Err(bad(&expected, &extra_isize));
    }
    let seed = seed_of(superblock, number, raw.i_generation.get());
    let mut extra = RawExtra::default();
    let present = extra_isize.min(EXTRA_BYTES);
    if let (Some(to), Some(from)) = (extra.as_mut_bytes().get_mut(..present), rest.get(..present)) {
        to.copy_from_slice(from);
    }
    if verify {
        check_checksum(raw, &extra, seed, bytes).map_err(|(computed, stored)| {
            Error::bad_checksum(name(), Some(block), computed, stored)
        })?;
    }
    let file_type = FileType::from_mode(raw.i_mode.get()).ok_or_else(|| {
        bad(
            &"a file type in i_mode",
            &format!("{:#o}", raw.i_mode.get()),
        )
    })?;
    let xattr_area = rest
        .get(extra_isize..)
        .filter(|area| extra_isize != 0 && xattr::has_magic(area))
        .unwrap_or(&[]);
    typed(
        superblock,
        number,
        raw,
        &extra,
        extra_isize,
        file_type,
        xattr_area,
        seed,
    )
    .map_err(|size| bad(&"a size below 2^63 bytes", &size))
}

fn check_checksum(
    raw: &RawInode,
    extra: &RawExtra,
    seed: u32,
    bytes: &[u8],
) -> std::result::Result<(), (u32, u32)> {
    let has_high = usize::from(extra.i_extra_isize.get()) >= CHECKSUM_HI_END;
    let computed = computed_checksum(seed, bytes, has_high);
    let low = u32::from(raw.l_i_checksum_lo.get());
    let (computed, stored) = if has_high {
        (computed, low | u32::from(extra.i_checksum_hi.get()) << 16)
    } else {
        (computed & 0xFFFF, low)
    };
    if computed == stored {
        Ok(())
    } else {
        Err((computed, stored))
    }
}

#[allow(clippy::too_many_arguments)] // One caller; the parts of one inode.
fn typed(
    superblock: &Superblock,
    number: InodeNumber,
    raw: &RawInode,
    extra: &RawExtra,
    extra_isize: usize,
    file_type: FileType,
    xattr_area: &[u8],
    checksum_seed: u32,
) -> std::result::Result<Inode, u64> {
    let has = |end: usize| extra_isize >= end;
    let flags = InodeFlags::from_bits_retain(raw.i_flags.get());
    // Directories have 64-bit sizes only with large_dir: the field meant
    // something else in the directories of older systems.
    let size_is_wide =
        file_type == FileType::Regular || superblock.has_incompat(IncompatFeatures::LARGEDIR);
    let size_high = if size_is_wide {
        raw.i_size_high.get()
    } else {
        0
    };
    let size_bytes = u64::from(raw.i_size_lo.get()) | u64::from(size_high) << 32;
    if size_bytes > i64::MAX.unsigned_abs() {
        return Err(size_bytes);
    }
    let xattr_block = u64::from(raw.i_file_acl_lo.get())
        | if superblock.has_incompat(IncompatFeatures::BIT64) {
            u64::from(raw.l_i_file_acl_high.get()) << 32
        } else {
            0
        };
    Ok(Inode {
        number,
        file_type,
        mode: raw.i_mode.get(),
        uid: u32::from(raw.i_uid.get()) | u32::from(raw.l_i_uid_high.get()) << 16,
        gid: u32::from(raw.i_gid.get()) | u32::from(raw.l_i_gid_high.get()) << 16,
        size_bytes,
        blocks_512: blocks_512(superblock, raw, flags),
        links: raw.i_links_count.get(),
        generation: raw.i_generation.get(),
        flags,
        project_id: if has(32) { extra.i_projid.get() } else { 0 },
        changed: timestamp(raw.i_ctime, has(8).then_some(extra.i_ctime_extra)),
        modified: timestamp(raw.i_mtime, has(12).then_some(extra.i_mtime_extra)),
        accessed: timestamp(raw.i_atime, has(16).then_some(extra.i_atime_extra)),
        created: has(20)
            .then(|| timestamp(extra.i_crtime, has(24).then_some(extra.i_crtime_extra))),
        deleted_at: raw.i_dtime.get(),
        version: u64::from(raw.l_i_version.get())
            | if has(28) {
                u64::from(extra.i_version_hi.get()) << 32
            } else {
                0
            },
        xattr_block: (xattr_block != 0).then_some(FsBlock(xattr_block)),
        block_area: raw.i_block,
        extra_isize: extra.i_extra_isize.get(),
        xattr_area: xattr_area.into(),
        checksum_seed,
        root_is_checked: OnceLock::new(),
    })
}

fn blocks_512(superblock: &Superblock, raw: &RawInode, flags: InodeFlags) -> u64 {
    let low = u64::from(raw.i_blocks_lo.get());
    if !superblock.has_ro_compat(RoCompatFeatures::HUGE_FILE) {
        return low;
    }
    let blocks = low | u64::from(raw.l_i_blocks_high.get()) << 32;
    if flags.contains(InodeFlags::HUGE_FILE) {
        // 48 bits of blocks of at most 2^16 bytes: 2^55 units of 512 at most.
        blocks * u64::from(superblock.block_bytes / 512)
    } else {
        blocks
    }
}
