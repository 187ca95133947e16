//! A volume open for writing: what a program that edits an image holds.

mod access_acl;
mod attributes;
mod delete;
mod durability;
mod files;
mod holding;
mod identity;
mod kernel_content;
mod names;
mod new_inode;
mod open;
mod rename;
mod retained;
mod trouble;
mod upkeep;

use std::ops::ControlFlow;
use std::sync::Arc;

use images::BlockDevice;

use crate::activity::Activity;
use crate::change::Writer;
use crate::clock::Clock;
use crate::directory::{self, DirEntry};
use crate::error::{ErrorKind, Result};
use crate::file::{self, SeekTarget, Segment};
use crate::format::inode::Inode;
use crate::format::superblock::Superblock;
use crate::inode_locks::InodeLocks;
use crate::mapping;
use crate::namespace;
use crate::run::MappedExtent;
use crate::store::Store;
use crate::types::{FileBlock, FsBlock, GroupNumber, InodeNumber};
use crate::volume::mmp::MmpHold;
use crate::volume::{RecoveryReport, StatFs};
use crate::xattr;

pub use attributes::{AttributeChanges, TimeChange, USER_MODIFIABLE_FLAGS};
pub use new_inode::{NewInode, NewKind};
pub use rename::RenameMode;
pub use trouble::ErrorsPolicy;

/// How a volume is opened for writing.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Bound of the metadata caches together, in bytes.
    pub cache_bytes: usize,
    /// Where the times of changes come from.
    pub clock: Clock,
    /// What happens when damage is found; `None` for what the superblock says.
    pub errors: Option<ErrorsPolicy>,
    /// Tell the device of blocks that become free.
    pub discard: bool,
    /// Commit in the background this often, in milliseconds; 0 only when asked to.
    pub commit_interval_ms: u64,
    /// Make everything durable as well when nothing has changed for so long, in
    /// milliseconds; 0 for never. In steps of 20.
    pub quiet_ms: u64,
    /// Commit before each change: operations that take several are then interrupted between
    /// any two of them by a crash. Slow; for tests.
    pub commit_each_change: bool,
    /// Where the volume is mounted, for the superblock; at most 63 bytes are kept.
    pub mounted_on: Option<Vec<u8>>,
    /// Who uses the volume, for others who find it in use (multiple mount protection).
    pub host: String,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            clock: Clock::System,
            errors: None,
            discard: false,
            commit_interval_ms: 5000,
            quiet_ms: 0,
            commit_each_change: false,
            mounted_on: None,
            host: "extmap".to_owned(),
        }
    }
}

/// An ext2, ext3 or ext4 file system open for reading and writing, shared by all threads.
///
/// Every change is one transaction's: after a crash it is there as a whole or not at all.
/// It is durable once [`sync`](Self::sync) or [`fsync`](Self::fsync) has returned, or a few
/// seconds later. An operation that fails leaves everything as it was. Dropping the volume
/// closes it; [`close`](Self::close) says whether that worked.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use fs_core::{InodeNumber, NewInode, WritableVolume, WriteOptions};
///
/// let device: Arc<dyn images::BlockDevice> = Arc::new(images::Memory::zeroed(16 << 20));
/// # use mkfs::{Foundation, Plan, Tree, options::{Options, Target}};
/// # let target = Target { size_bytes: 16 << 20, known_zeroed: true, ..Target::default() };
/// # let tree = Tree::empty(Options::default().now);
/// # let request = mkfs::fitted(&Options::default(), &target, &tree)?;
/// # Plan::new(&Foundation::new(&request)?, &tree)?.write(device.as_ref(), &())?;
/// let volume = WritableVolume::open(device, &WriteOptions::default())?;
///
/// let root = InodeNumber::ROOT;
/// let etc = volume.create(root, b"etc", &NewInode::directory(0o755))?;
/// let file = volume.create(etc.number(), b"hostname", &NewInode::file(0o644))?;
/// volume.write(file.number(), b"atlantis\n", 0)?;
/// volume.create(root, b"name", &NewInode::symlink(b"etc/hostname"))?;
///
/// let found = volume.resolve(b"/name", true)?;
/// let mut content = vec![0; 64];
/// let len = volume.read(found.number(), &mut content, 0)?;
/// assert_eq!(&content[..len], b"atlantis\n");
/// volume.close()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WritableVolume {
    shared: Arc<Shared>,
    background: upkeep::Background,
    mmp: parking_lot::Mutex<Option<MmpHold>>,
    /// It is being finished, or has been: nothing begins any more.
    is_finished: std::sync::atomic::AtomicBool,
}

/// What the volume's threads share.
#[derive(Debug)]
struct Shared {
    writer: Writer,
    locks: InodeLocks,
    /// Moves of directories, one at a time: who is whose ancestor must not change while it
    /// is looked at. Taken before inode locks.
    moves: parking_lot::Mutex<()>,
    retained: retained::Retained,
    trouble: trouble::Trouble,
    report: RecoveryReport,
}

impl WritableVolume {
    /// The device that [`Segment`]s refer to.
    pub fn device(&self) -> &Arc<dyn BlockDevice> {
        self.store().cache.device()
    }

    /// The superblock as it was when the volume was opened, after recovery.
    pub fn superblock(&self) -> &Superblock {
        &self.store().superblock
    }

    /// What opening had to do.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.shared.report
    }

    fn store(&self) -> &Store {
        &self.shared.writer.store
    }

    fn writer(&self) -> &Writer {
        &self.shared.writer
    }

    /// Runs a look at an inode under its lock.
    fn look<T>(&self, inode: InodeNumber, look: impl FnOnce(&Store) -> Result<T>) -> Result<T> {
        let _lock = self.shared.locks.shared(inode);
        self.noted(look(self.store()))
    }

    /// The inode with this number, as it is now.
    ///
    /// # Errors
    /// `Stale` if it is out of range or not in use, `Corrupt` if damaged.
    pub fn inode(&self, number: InodeNumber) -> Result<Arc<Inode>> {
        self.look(number, |_| self.in_use(number))
    }

    /// The same for who holds its lock.
    fn in_use(&self, number: InodeNumber) -> Result<Arc<Inode>> {
        let found = self.store().inode(number)?;
        // What was removed keeps its type on the device.
        if found.links() == 0 && !self.shared.retained.is_held(number) {
            return Err(ErrorKind::Stale.into());
        }
        Ok(found)
    }

    /// What `name` names in a directory, if anything.
    pub fn lookup(&self, parent: InodeNumber, name: &[u8]) -> Result<Option<InodeNumber>> {
        self.look(parent, |store| {
            directory::lookup(store, self.in_use(parent)?.as_ref(), name)
        })
    }

    /// The inode `name` leads to.
    ///
    /// # Errors
    /// `NotFound` if there is no such name.
    pub fn child(&self, parent: InodeNumber, name: &[u8]) -> Result<Arc<Inode>> {
        self.look(parent, |store| {
            namespace::child(store, self.in_use(parent)?.as_ref(), name)
        })
    }

    /// Follows a path from the root; `follow` also resolves a symbolic link at its end.
    pub fn resolve(&self, path: &[u8], follow: bool) -> Result<Arc<Inode>> {
        let (children, links) = (
            |parent: InodeNumber, name: &[u8]| self.child(parent, name),
            |link: InodeNumber| self.read_link(link),
        );
        namespace::resolve_with(
            self.inode(InodeNumber::ROOT)?,
            path,
            follow,
            &children,
            &links,
        )
    }

    /// Visits the names behind `cookie` (0: all, "." and ".." included) until `visit`
    /// breaks. The directory does not change meanwhile; `visit` must not change it.
    pub fn read_dir(
        &self,
        parent: InodeNumber,
        cookie: u64,
        visit: &mut dyn FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.look(parent, |store| {
            directory::list(store, self.in_use(parent)?.as_ref(), cookie, visit)
        })
    }

    /// The target of a symbolic link.
    pub fn read_link(&self, link: InodeNumber) -> Result<Vec<u8>> {
        self.look(link, |store| {
            file::read_link(store, self.in_use(link)?.as_ref())
        })
    }

    /// Reads up to `buf.len()` bytes at `offset`; less only at the end.
    pub fn read(&self, file: InodeNumber, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.look(file, |store| {
            file::read(store, self.in_use(file)?.as_ref(), buf, offset)
        })
    }

    /// Lends where the bytes of a range lie, cut at the file's end. They stay there until
    /// `use_plan` returns; it must not change the file.
    pub fn with_read_plan<T>(
        &self,
        file: InodeNumber,
        offset: u64,
        len_bytes: u64,
        use_plan: impl FnOnce(&[Segment]) -> T,
    ) -> Result<T> {
        self.look(file, |store| {
            let mut segments = Vec::new();
            let inode = self.in_use(file)?;
            file::plan(store, &inode, offset, len_bytes, &mut segments)?;
            Ok(use_plan(&segments))
        })
    }

    /// What is at `block` of a file or directory, as far as the same goes.
    ///
    /// # Errors
    /// `InvalidInput` if the inode has no block map.
    pub fn map(&self, file: InodeNumber, block: FileBlock) -> Result<MappedExtent> {
        self.look(file, |store| {
            let limit = FileBlock(mapping::FILE_BLOCKS_MAX);
            mapping::map(store, self.in_use(file)?.as_ref(), block, limit)
        })
    }

    /// `SEEK_DATA` and `SEEK_HOLE` of lseek(2).
    ///
    /// # Errors
    /// `OutOfRange` at and beyond the end, and if no data follows.
    pub fn seek(&self, file: InodeNumber, offset: u64, target: SeekTarget) -> Result<u64> {
        self.look(file, |store| {
            file::seek(store, self.in_use(file)?.as_ref(), offset, target)
        })
    }

    /// The value of the extended attribute with this full name ("user.x"); ACLs in the
    /// form of getxattr(2).
    ///
    /// # Errors
    /// `NoAttribute` if there is none.
    pub fn xattr(&self, inode: InodeNumber, name: &[u8]) -> Result<Vec<u8>> {
        self.look(inode, |store| {
            xattr::get(store, self.in_use(inode)?.as_ref(), name)
        })
    }

    /// The full names of all extended attributes.
    pub fn xattr_names(&self, inode: InodeNumber) -> Result<Vec<Vec<u8>>> {
        self.look(inode, |store| {
            xattr::names(store, self.in_use(inode)?.as_ref())
        })
    }

    /// Sizes and free counts as the kernel's ext4 reports them.
    pub fn statfs(&self) -> StatFs {
        let counts = self.writer().space.counts();
        let ahead = self.writer().space.ahead().count();
        super::space::statfs_with(self.store(), counts.blocks, counts.inodes.into(), ahead)
    }

    /// What was done since the volume was opened, and whether it can go on.
    pub fn activity(&self) -> Activity {
        let transactions = &self.writer().transactions;
        Activity {
            transactions_committed: transactions.committed().0,
            journal: transactions.journal_activity(),
            cache: self.store().cache.activity(),
            held_inodes: self.shared.retained.count() as u64,
            why_read_only: self.why_read_only(),
        }
    }

    /// Free runs of a group as they are now, first block and length in blocks; those included
    /// that are reserved for growing files or wait for a commit.
    pub fn free_block_runs(&self, group: GroupNumber) -> Result<Vec<(FsBlock, u64)>> {
        self.noted(self.writer().space.free_runs(self.store(), group))
    }
}
