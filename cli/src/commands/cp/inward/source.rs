//! What files are copied from: a local tree or an image.

use fs_core::{FileType, NewKind, Timestamp};

/// What tells files of one source apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    /// The device; 0 where there is only one.
    pub(super) device: u64,
    /// The inode on it.
    pub(super) inode: u64,
}

/// What a file is, but for its content, attributes and a link's target.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) id: FileId,
    pub(super) file_type: FileType,
    /// 12 bits.
    pub(super) permissions: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) links: u32,
    pub(super) size_bytes: u64,
    /// Major and minor number of a device.
    pub(super) device: (u32, u32),
    pub(super) accessed: Timestamp,
    pub(super) modified: Timestamp,
}

impl Status {
    /// What to make, of anything but a symbolic link.
    pub(super) fn kind(&self) -> NewKind {
        let (major, minor) = self.device;
        match self.file_type {
            FileType::Directory => NewKind::Directory,
            FileType::CharDevice => NewKind::CharDevice { major, minor },
            FileType::BlockDevice => NewKind::BlockDevice { major, minor },
            FileType::Fifo => NewKind::Fifo,
            FileType::Socket => NewKind::Socket,
            FileType::Regular | FileType::Symlink => NewKind::File,
        }
    }
}

/// Extended attributes: full names and values, ACLs as getxattr(2) gives them.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// A tree to copy from.
pub(super) trait Source {
    /// A file, found: what happens to its name later does not matter.
    type Node;
    /// The same, ready to be read.
    type Content: Content;

    /// How messages name the file at `path`.
    fn place(&self, path: &[u8]) -> String;

    /// Finds what was named on the command line.
    fn find(&self, path: &[u8], follow: bool) -> anyhow::Result<Self::Node>;

    /// Finds a name in a directory; symbolic links are not followed.
    fn child(&self, directory: &Self::Node, name: &[u8]) -> anyhow::Result<Self::Node>;

    /// Finds the directory `id` again, from one in it.
    fn parent(&self, child: &Self::Node, id: FileId) -> anyhow::Result<Self::Node>;

    /// What a file is.
    fn status(&self, node: &Self::Node) -> anyhow::Result<Status>;

    /// The names in a directory, sorted, without "." and ".."; and whether they are all.
    fn names(&self, directory: &Self::Node) -> (Vec<Vec<u8>>, anyhow::Result<()>);

    /// The extended attributes that can be read.
    fn xattrs(&self, node: &Self::Node) -> anyhow::Result<Xattrs>;

    /// The target of a symbolic link.
    fn link_target(&self, node: &Self::Node) -> anyhow::Result<Vec<u8>>;

    /// Opens a regular file for reading.
    fn content(&self, node: &Self::Node, status: &Status) -> anyhow::Result<Self::Content>;
}

/// A regular file that is being read.
pub(super) trait Content {
    /// The first range of data that begins or goes on at `offset`; none if only a hole
    /// follows, or nothing. A file that does not know its size ends where reading ends.
    fn next_data(&mut self, offset: u64) -> anyhow::Result<Option<(u64, u64)>>;

    /// Reads at least one byte of the data at `offset`; none only at the end.
    fn read(&self, buffer: &mut [u8], offset: u64) -> anyhow::Result<usize>;

    /// Fails if the file was changed while it was read.
    fn check_unchanged(&self) -> anyhow::Result<()>;
}
