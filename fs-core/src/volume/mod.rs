//! An open file system: what callers hold.

mod fast_commits;
mod mapping_view;
mod mmp;
mod open;
mod orphans;
mod recovery;
mod space;
#[cfg(test)]
mod tests;
mod writable;
mod writing;

use std::sync::Arc;

use images::BlockDevice;

use crate::activity::CacheActivity;
use crate::directory::{self, DirEntry};
use crate::error::Result;
use crate::file::{self, SeekTarget, Segment};
use crate::format::group_descriptor::GroupDescriptor;
use crate::format::inode::Inode;
use crate::format::superblock::Superblock;
use crate::journal::JournalSuperblock;
use crate::mapping;
use crate::namespace;
use crate::run::MappedExtent;
use crate::store::Store;
use crate::types::{FileBlock, FsBlock, GroupNumber, InodeNumber};
use crate::xattr;
use std::ops::ControlFlow;

pub use mapping_view::MappingView;
pub use space::StatFs;
pub use writable::{
    AttributeChanges, ErrorsPolicy, NewInode, NewKind, RenameMode, TimeChange,
    USER_MODIFIABLE_FLAGS, WritableVolume, WriteOptions,
};
#[cfg(test)]
pub(crate) use writing::{close as close_writer, open as open_writer};

/// How a volume is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Read this copy of the superblock instead of the primary: its position
    /// in units of 1 KiB from the start of the device, as mount(8)'s `sb=`.
    pub superblock_kib: Option<u64>,
    /// What to do about a journal that was not emptied.
    pub recovery: Recovery,
    /// Bound of the metadata caches together, in bytes.
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

/// What to do about a journal that was not emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Replay it in memory; the device is not changed.
    InMemory,
    /// Show the device as it lies.
    None,
}

/// What recovery found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The volume was not unmounted cleanly (feature needs_recovery).
    pub journal_was_dirty: bool,
    /// Complete transactions replayed.
    pub transactions_replayed: u32,
    /// Blocks whose content comes from the log.
    pub blocks_replayed: u64,
    /// Fast commits replayed after the last transaction.
    pub fast_commits_replayed: u32,
    /// Inodes that were unlinked while open, or being truncated, when the
    /// system stopped.
    pub orphans: Vec<InodeNumber>,
}

/// An open file system, read-only, shared by all threads.
///
/// ```
/// # fn main() -> fs_core::Result<()> {
/// use std::sync::Arc;
/// # let device: Arc<dyn images::BlockDevice> = Arc::new(images::Memory::zeroed(4096));
/// // An empty device holds no file system; the error says so.
/// let error = fs_core::Volume::open(device, &fs_core::OpenOptions::default()).unwrap_err();
/// assert!(error.to_string().contains("not an ext2, ext3 or ext4 file system"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Volume {
    store: Store,
    report: RecoveryReport,
    unlinked: orphans::Unlinked,
}

impl Volume {
    /// Opens the file system on `device` for reading. Nothing is written: a
    /// dirty journal is replayed in memory.
    ///
    /// # Errors
    /// `NotExt4`, `Unsupported` by the feature's name, `Corrupt` with the
    /// backups that could be used instead of a bad superblock.
    pub fn open(device: Arc<dyn BlockDevice>, options: &OpenOptions) -> Result<Self> {
        let opened = open::open(&device, options)?;
        let (store, mut report) = recovery::recover(device, opened, options)?;
        report.orphans = orphans::collect(&store);
        let unlinked = match options.recovery {
            Recovery::InMemory => orphans::unlinked(&store, &report.orphans),
            Recovery::None => orphans::Unlinked::default(),
        };
        Ok(Self {
            store,
            report,
            unlinked,
        })
    }

    /// Looks at a file's map.
    ///
    /// # Errors
    /// `Stale`, and those of `look`.
    pub fn with_mapping<T>(
        &self,
        file: InodeNumber,
        look: impl FnOnce(&MappingView<'_>) -> Result<T>,
    ) -> Result<T> {
        let inode = self.inode(file)?;
        look(&MappingView::new(&self.store, None, &inode))
    }

    /// The device that [`Segment`]s refer to: the opened one, or that one with
    /// the blocks of a replayed journal over it.
    pub fn device(&self) -> &Arc<dyn BlockDevice> {
        self.store.cache.device()
    }

    /// The checked superblock, after recovery.
    pub fn superblock(&self) -> &Superblock {
        &self.store.superblock
    }

    /// What opening had to do.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.report
    }

    /// How often metadata was in memory.
    pub fn cache_activity(&self) -> CacheActivity {
        self.store.cache.activity()
    }

    /// The journal's superblock; `None` without an internal journal.
    pub fn journal(&self) -> Result<Option<JournalSuperblock>> {
        recovery::journal_superblock(&self.store)
    }

    /// Sizes and free counts as the kernel's ext4 reports them.
    pub fn statfs(&self) -> StatFs {
        space::statfs(&self.store, self.unlinked)
    }

    /// The inode with this number.
    ///
    /// # Errors
    /// `Stale` if it is out of range or not in use, `Corrupt` if damaged.
    pub fn inode(&self, number: InodeNumber) -> Result<Arc<Inode>> {
        self.store.inode(number)
    }

    /// Follows a path from the root; `follow` also resolves a symbolic link at
    /// its end. Links never lead out of the image.
    pub fn resolve(&self, path: &[u8], follow: bool) -> Result<Arc<Inode>> {
        namespace::resolve(&self.store, path, follow)
    }

    /// What `name` names in `directory`, if anything.
    pub fn lookup(&self, directory: &Inode, name: &[u8]) -> Result<Option<InodeNumber>> {
        directory::lookup(&self.store, directory, name)
    }

    /// The inode `name` leads to, checked to be in use.
    ///
    /// # Errors
    /// `NotFound` if there is no such name.
    pub fn child(&self, directory: &Inode, name: &[u8]) -> Result<Arc<Inode>> {
        namespace::child(&self.store, directory, name)
    }

    /// Visits the names behind `cookie` (0: all, "." and ".." included) until
    /// `visit` breaks. Names come in the order of their hashes where the directory has an
    /// index or may get one, else in the order of its blocks; a cookie stays good while
    /// names are added and removed.
    pub fn read_dir(
        &self,
        directory: &Inode,
        cookie: u64,
        visit: &mut dyn FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        directory::list(&self.store, directory, cookie, visit)
    }

    /// The target of a symbolic link, 1 byte to one block.
    pub fn read_link(&self, link: &Inode) -> Result<Vec<u8>> {
        file::read_link(&self.store, link)
    }

    /// Reads up to `buf.len()` bytes at `offset`; less only at the end.
    pub fn read(&self, file: &Inode, buf: &mut [u8], offset: u64) -> Result<usize> {
        file::read(&self.store, file, buf, offset)
    }

    /// Where the bytes of a range lie, cut at the file's end; appended to
    /// `segments` in order.
    pub fn read_plan(
        &self,
        file: &Inode,
        offset: u64,
        len_bytes: u64,
        segments: &mut Vec<Segment>,
    ) -> Result<()> {
        file::plan(&self.store, file, offset, len_bytes, segments)
    }

    /// What is at `block` of a file or directory, as far as the same goes;
    /// behind the last extent a hole.
    ///
    /// # Errors
    /// `InvalidInput` if the inode has no block map.
    pub fn map(&self, file: &Inode, block: FileBlock) -> Result<MappedExtent> {
        let limit = FileBlock(mapping::FILE_BLOCKS_MAX);
        mapping::map(&self.store, file, block, limit)
    }

    /// `SEEK_DATA` and `SEEK_HOLE` of lseek(2).
    ///
    /// # Errors
    /// `OutOfRange` at and beyond the end, and if no data follows.
    pub fn seek(&self, file: &Inode, offset: u64, target: SeekTarget) -> Result<u64> {
        file::seek(&self.store, file, offset, target)
    }

    /// The value of the extended attribute with this full name ("user.x");
    /// ACLs in the form of getxattr(2).
    ///
    /// # Errors
    /// `NoAttribute` if there is none.
    pub fn xattr(&self, inode: &Inode, name: &[u8]) -> Result<Vec<u8>> {
        xattr::get(&self.store, inode, name)
    }

    /// The full names of all extended attributes.
    pub fn xattr_names(&self, inode: &Inode) -> Result<Vec<Vec<u8>>> {
        xattr::names(&self.store, inode)
    }

    /// Number of block groups.
    pub fn group_count(&self) -> u32 {
        self.store.superblock.group_count
    }

    /// The checked descriptor of a group.
    pub fn group(&self, number: GroupNumber) -> Result<GroupDescriptor> {
        self.store.group(number)
    }

    /// The block that holds a group's descriptor.
    pub fn descriptor_block(&self, number: GroupNumber) -> Result<FsBlock> {
        self.store.descriptor_place(number).map(|(block, _)| block)
    }

    /// Free runs of a group, first block and length in blocks, from its
    /// checked bitmap.
    pub fn free_block_runs(&self, number: GroupNumber) -> Result<Vec<(FsBlock, u64)>> {
        space::free_block_runs(&self.store, number)
    }

    /// Free runs of a group's inodes, first number and length.
    pub fn free_inode_runs(&self, number: GroupNumber) -> Result<Vec<(InodeNumber, u32)>> {
        space::free_inode_runs(&self.store, number)
    }
}
