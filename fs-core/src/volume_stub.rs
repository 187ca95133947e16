//! STUB of the public API of fs-core: signatures only. The real code replaces this file.
#![allow(missing_docs, clippy::unimplemented, unused_variables)]
use crate::error::Result;
use crate::types::*;
use images::BlockDevice;
use std::ops::ControlFlow;
use std::sync::Arc;

/// How a volume is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Read this copy of the superblock instead of the primary: its position in
    /// units of 1 KiB from the start of the device (mount(8)'s `sb=`).
    pub superblock_kib: Option<u64>,
    pub recovery: Recovery,
    /// Bound of the metadata cache, in bytes.
    pub cache_bytes: usize,
}
impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            superblock_kib: None,
            recovery: Recovery::InMemory,
            cache_bytes: 32 << 20,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Replay a dirty journal in memory; the device is not changed.
    InMemory,
    /// Show the device as it lies.
    None,
}

/// An open file system, shared by all threads.
#[derive(Debug)]
pub struct Volume {
    _private: (),
}

/// statfs numbers as the kernel's ext4 reports them (blocks in units of block_bytes).
#[derive(Debug, Clone, Copy)]
pub struct StatFs {
    pub block_bytes: u32,
    pub blocks: u64,
    pub blocks_free: u64,
    pub blocks_available: u64,
    pub inodes: u64,
    pub inodes_free: u64,
    pub name_len_max: u32,
}

/// What is at a position of a file: one step of a mapping walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappedExtent {
    pub file_block: FileBlock,
    pub len_blocks: u64,
    pub state: ExtentState,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentState {
    Hole,
    /// Written data at this device block.
    Written(FsBlock),
    /// Allocated, reads as zeros.
    Unwritten(FsBlock),
}

/// A piece of a file's content, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Bytes of the device returned by [`Volume::device`].
    Device { offset: u64, len_bytes: u64 },
    /// Zeros.
    Zero { len_bytes: u64 },
    /// Bytes kept in metadata (inline data).
    Inline(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeekTarget {
    Data,
    Hole,
}

/// One name of a directory, borrowed during a visit.
#[derive(Debug, Clone, Copy)]
pub struct DirEntry<'a> {
    pub name: &'a [u8],
    pub inode: InodeNumber,
    /// None when the file system does not store types (feature filetype off).
    pub file_type: Option<FileType>,
    /// Give this to `read_dir` to continue after this entry. Never 0.
    pub next_cookie: u64,
}

#[derive(Debug, Clone)]
pub struct Inode {
    _private: (),
}
impl Inode {
    pub fn number(&self) -> InodeNumber {
        unimplemented!()
    }
    pub fn file_type(&self) -> FileType {
        unimplemented!()
    }
    /// Type and permission bits as in st_mode.
    pub fn mode(&self) -> u16 {
        unimplemented!()
    }
    pub fn uid(&self) -> u32 {
        unimplemented!()
    }
    pub fn gid(&self) -> u32 {
        unimplemented!()
    }
    pub fn size_bytes(&self) -> u64 {
        unimplemented!()
    }
    /// st_blocks: units of 512 bytes.
    pub fn blocks_512(&self) -> u64 {
        unimplemented!()
    }
    pub fn links(&self) -> u32 {
        unimplemented!()
    }
    pub fn generation(&self) -> u32 {
        unimplemented!()
    }
    /// i_flags as FS_IOC_GETFLAGS shows them are `flags() & USER_VISIBLE_FLAGS`.
    pub fn flags(&self) -> InodeFlags {
        unimplemented!()
    }
    pub fn project_id(&self) -> u32 {
        unimplemented!()
    }
    pub fn accessed(&self) -> Timestamp {
        unimplemented!()
    }
    pub fn modified(&self) -> Timestamp {
        unimplemented!()
    }
    pub fn changed(&self) -> Timestamp {
        unimplemented!()
    }
    /// Creation time; None in 128-byte inodes.
    pub fn created(&self) -> Option<Timestamp> {
        unimplemented!()
    }
    /// (major, minor) of a device node.
    pub fn device_number(&self) -> Option<(u32, u32)> {
        unimplemented!()
    }
}
bitflags::bitflags! {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct InodeFlags: u32 {
        const SECRM = 0x1; const UNRM = 0x2; const COMPR = 0x4; const SYNC = 0x8; const IMMUTABLE = 0x10; const APPEND = 0x20; const NODUMP = 0x40; const NOATIME = 0x80;
        const ENCRYPT = 0x800; const INDEX = 0x1000; const JOURNAL_DATA = 0x4000; const NOTAIL = 0x8000; const DIRSYNC = 0x1_0000; const TOPDIR = 0x2_0000; const HUGE_FILE = 0x4_0000; const EXTENTS = 0x8_0000; const VERITY = 0x10_0000; const EA_INODE = 0x20_0000; const DAX = 0x200_0000; const INLINE_DATA = 0x1000_0000; const PROJINHERIT = 0x2000_0000; const CASEFOLD = 0x4000_0000;
        const _ = !0;
    }
}
/// The flags FS_IOC_GETFLAGS reports.
pub const USER_VISIBLE_FLAGS: InodeFlags = InodeFlags::from_bits_retain(0x725B_DFFF);

impl Volume {
    pub fn open(device: Arc<dyn BlockDevice>, options: &OpenOptions) -> Result<Self> {
        unimplemented!()
    }
    /// The device segments refer to: the opened one, or (after a replay) that device with the replayed blocks on top.
    pub fn device(&self) -> &Arc<dyn BlockDevice> {
        unimplemented!()
    }
    pub fn superblock(&self) -> &Superblock {
        unimplemented!()
    }
    pub fn statfs(&self) -> StatFs {
        unimplemented!()
    }
    /// The inode with this number. `Stale` if the number is out of range or the inode is not in use.
    pub fn inode(&self, number: InodeNumber) -> Result<Arc<Inode>> {
        unimplemented!()
    }
    /// Follows a path from the root; `follow` also resolves a final symlink. Symlinks stay inside the image.
    pub fn resolve(&self, path: &[u8], follow: bool) -> Result<Arc<Inode>> {
        unimplemented!()
    }
    pub fn lookup(&self, directory: &Inode, name: &[u8]) -> Result<Option<InodeNumber>> {
        unimplemented!()
    }
    /// Visits the entries after `cookie` (0: from the start), "." and ".." included, until `visit` breaks.
    pub fn read_dir(
        &self,
        directory: &Inode,
        cookie: u64,
        visit: &mut dyn FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        unimplemented!()
    }
    pub fn read_link(&self, link: &Inode) -> Result<Vec<u8>> {
        unimplemented!()
    }
    /// Reads up to `buf.len()` bytes from `offset`; 0 at and beyond the end.
    pub fn read(&self, file: &Inode, buf: &mut [u8], offset: u64) -> Result<usize> {
        unimplemented!()
    }
    /// Where the bytes of a range lie, clipped to the file's size; appended to `segments`.
    pub fn read_plan(
        &self,
        file: &Inode,
        offset: u64,
        len_bytes: u64,
        segments: &mut Vec<Segment>,
    ) -> Result<()> {
        unimplemented!()
    }
    /// What is at `block`, and as far as it goes (holes too, up to 2^32 blocks).
    pub fn map(&self, file: &Inode, block: FileBlock) -> Result<MappedExtent> {
        unimplemented!()
    }
    /// SEEK_DATA / SEEK_HOLE as Linux defines them; `OutOfRange` (ENXIO) as there.
    pub fn seek(&self, file: &Inode, offset: u64, target: SeekTarget) -> Result<u64> {
        unimplemented!()
    }
    /// The value of an xattr by its full name ("user.x", "system.posix_acl_access" in the kernel's form). `NoAttribute` if absent.
    pub fn xattr(&self, inode: &Inode, name: &[u8]) -> Result<Vec<u8>> {
        unimplemented!()
    }
    /// All full names.
    pub fn xattr_names(&self, inode: &Inode) -> Result<Vec<Vec<u8>>> {
        unimplemented!()
    }
    /// Number of block groups.
    pub fn group_count(&self) -> u32 {
        unimplemented!()
    }
    pub fn group(&self, number: GroupNumber) -> Result<GroupDescriptor> {
        unimplemented!()
    }
    /// Free runs of a group's block bitmap (start, length), verified.
    pub fn free_block_runs(&self, number: GroupNumber) -> Result<Vec<(FsBlock, u64)>> {
        unimplemented!()
    }
    /// Free runs of a group's inode bitmap.
    pub fn free_inode_runs(&self, number: GroupNumber) -> Result<Vec<(InodeNumber, u32)>> {
        unimplemented!()
    }
    /// One sentence for the user, if opening replayed a journal or left something undone.
    pub fn recovery_report(&self) -> &RecoveryReport {
        unimplemented!()
    }
}
/// What recovery found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The journal was dirty (needs_recovery).
    pub journal_was_dirty: bool,
    pub transactions_replayed: u32,
    pub blocks_replayed: u64,
    pub fast_commits_replayed: u32,
    /// Inodes of the orphan list and orphan file (unlinked or half truncated when the system stopped).
    pub orphans: Vec<InodeNumber>,
}
/// Validated superblock: typed fields, units in names.
#[derive(Debug, Clone)]
pub struct Superblock {
    pub block_bytes: u32,
    pub uuid: uuid::Uuid,
    pub label: Vec<u8>,
    pub blocks_count: u64,
    pub inodes_count: u32, /* many more: the real type has every field dumpe2fs -h prints */
}
#[derive(Debug, Clone)]
pub struct GroupDescriptor {
    pub number: GroupNumber,
    pub block_bitmap: FsBlock,
    pub inode_bitmap: FsBlock,
    pub inode_table: FsBlock,
    pub free_blocks: u32,
    pub free_inodes: u32,
    pub used_directories: u32,
    pub unused_inodes: u32,
    pub flags: u16,
    pub checksum: u16,
}
