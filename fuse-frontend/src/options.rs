//! How a volume is mounted.

use std::num::NonZero;
use std::path::PathBuf;

use fuser::{MountOption, SessionACL};

/// Who may use a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// The user who mounts, nobody else, not even root.
    #[default]
    Owner,
    /// The user who mounts, and root.
    Root,
    /// Everybody, as far as permissions go.
    Other,
}

/// What [`Session::mount`](crate::Session::mount) is asked for.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// An existing directory.
    pub mountpoint: PathBuf,
    /// What `/proc/mounts` and `df` call the source: the image's path.
    pub fs_name: String,
    /// Who may use the mount. [`Access::Root`] and [`Access::Other`] imply
    /// `default_permissions`: without it every one of them could read everything.
    pub access: Access,
    /// The kernel checks owner, mode and ACL of every file. Without it whoever
    /// may use the mount may read all of it.
    pub default_permissions: bool,
    /// Number of threads that serve requests; by default as many as there are
    /// cores, at least [`THREADS_MIN`] for an image in memory's reach,
    /// [`THREADS_MIN_WRITING`] if it is written, and
    /// [`THREADS_MIN_UNMAPPED`] where each read waits for a device.
    pub threads: Option<NonZero<usize>>,
    /// Show every file as this user's.
    pub uid: Option<u32>,
    /// Show every file as this group's.
    pub gid: Option<u32>,
    /// Show every file with the permissions missing from this number, as
    /// mount.fuse(8) has it; set-id bits and ACLs no longer count.
    pub umask: Option<u16>,
    /// Set-user-id programs and file capabilities count. Only root gets this.
    pub suid: bool,
    /// Device nodes can be opened. Only root gets this.
    pub dev: bool,
    /// Programs can be run.
    pub exec: bool,
    /// The mount is listed as `noatime`. (The kernel's FUSE never tells of reads
    /// out of its cache, so times of access change only when they are set.)
    pub noatime: bool,
    /// What is written stays in the page cache until it is synced or some seconds old.
    /// Otherwise write(2) waits until the server has it.
    pub writeback: bool,
    /// Every change is durable before the call that makes it returns.
    pub sync: bool,
    /// The image, to be mounted for writing as a file system on a block device where that is
    /// possible: umount(2) then returns when the image is clean. `None` to do without.
    pub block_source: Option<PathBuf>,
    /// Every open(2) on a mount for writing asks the server, which then refuses
    /// immutable and append-only files at once; otherwise writing fails later.
    pub ask_opens: bool,
    /// Why a mount that nobody wanted for reading only is, for who asks the server.
    pub why_read_only: Option<String>,
    /// Whether the kernel is to move the content of files.
    pub iomap: IomapMode,
}

/// Whether the kernel is to move the content of files by itself (FUSE iomap).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum IomapMode {
    /// Where it can.
    #[default]
    Auto,
    /// Or the mount fails.
    Always,
    /// It is not, for this reason (half a sentence).
    Never(String),
}

/// Fewest threads chosen by default: one may wait for the device while another answers.
pub const THREADS_MIN: usize = 2;

/// The same for images that are open for writing: who syncs waits for the disk.
pub const THREADS_MIN_WRITING: usize = 4;

/// The same for images that are not mapped into memory (block devices): a
/// thread waits while the device reads, and a device is fast only if several do.
pub const THREADS_MIN_UNMAPPED: usize = 8;

/// The file system type is `fuse.` and this.
const SUBTYPE: &str = "extmap";

impl MountOptions {
    /// The defaults: for the owner only, without set-user-id and device nodes.
    pub fn new(mountpoint: impl Into<PathBuf>, fs_name: impl Into<String>) -> Self {
        Self {
            mountpoint: mountpoint.into(),
            fs_name: fs_name.into(),
            access: Access::Owner,
            default_permissions: false,
            threads: None,
            uid: None,
            gid: None,
            umask: None,
            suid: false,
            dev: false,
            exec: true,
            noatime: false,
            writeback: true,
            sync: false,
            block_source: None,
            ask_opens: false,
            why_read_only: None,
            iomap: IomapMode::Auto,
        }
    }

    /// Whether the kernel checks permissions.
    pub(crate) fn checks_permissions(&self) -> bool {
        self.default_permissions || self.access != Access::Owner
    }

    /// Whether the kernel should judge by POSIX ACLs: it checks permissions,
    /// and no `umask=` has replaced what the ACLs belong to.
    pub(crate) fn wants_acls(&self) -> bool {
        self.checks_permissions() && self.umask.is_none()
    }

    /// `is_mapped`: file content has addresses in this process. `writes`: it is changed.
    pub(crate) fn thread_count(&self, is_mapped: bool, writes: bool) -> usize {
        let fewest_mapped = either(writes, THREADS_MIN_WRITING, THREADS_MIN);
        let fewest = either(is_mapped, fewest_mapped, THREADS_MIN_UNMAPPED);
        match self.threads {
            Some(count) => count.get(),
            None => std::thread::available_parallelism().map_or(fewest, |n| n.get().max(fewest)),
        }
    }

    /// The same for fuser. `privileged`: we may call mount(2) ourselves;
    /// otherwise fusermount3 does, with other rules for names and flags.
    pub(crate) fn to_fuser(&self, privileged: bool, writes: bool) -> fuser::Config {
        let mut list = vec![
            either(writes, MountOption::RW, MountOption::RO),
            MountOption::FSName(source_name(&self.fs_name, privileged)),
            // Not MountOption::Subtype, which fuser drops when it mounts itself.
            MountOption::CUSTOM(format!("subtype={SUBTYPE}")),
        ];
        if self.checks_permissions() {
            list.push(MountOption::DefaultPermissions);
        }
        // fusermount3 sets nosuid and nodev for everybody but root.
        if privileged {
            list.push(either(self.suid, MountOption::Suid, MountOption::NoSuid));
            list.push(either(self.dev, MountOption::Dev, MountOption::NoDev));
        }
        if !self.exec {
            list.push(MountOption::NoExec);
        }
        if self.noatime {
            list.push(MountOption::NoAtime);
        }
        if self.sync && writes {
            list.push(MountOption::Sync);
        }
        let mut config = fuser::Config::default();
        config.mount_options = list;
        config.acl = match self.access {
            Access::Owner => SessionACL::Owner,
            Access::Root => SessionACL::RootAndOwner,
            Access::Other => SessionACL::All,
        };
        config
    }
}

fn either<T>(condition: bool, yes: T, no: T) -> T {
    if condition { yes } else { no }
}

impl MountOptions {
    /// The source as mount(2) is to show it.
    pub(crate) fn plain_source_name(&self) -> String {
        source_name(&self.fs_name, true)
    }
}

/// The source's name as mount(2) takes it, or as fusermount3 does: there it is
/// part of a list, in which a backslash takes commas their meaning.
fn source_name(name: &str, privileged: bool) -> String {
    // A NUL cannot be passed at all, an empty name hides the mount from df.
    let mut plain: String = name.chars().filter(|&c| c != '\0').collect();
    if plain.is_empty() {
        plain = SUBTYPE.to_owned();
    }
    if privileged {
        return plain;
    }
    let mut escaped = String::with_capacity(plain.len());
    for c in plain.chars() {
        if matches!(c, ',' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_for_fusermount_only() {
        assert_eq!(source_name("/a,b\\c d", false), "/a\\,b\\\\c d");
        assert_eq!(source_name("/a,b\\c d", true), "/a,b\\c d");
        assert_eq!(source_name("", true), "extmap");
    }

    #[test]
    fn more_users_mean_permission_checks() {
        let mut options = MountOptions::new("/mnt", "image");
        assert!(!options.checks_permissions());
        options.access = Access::Root;
        assert!(options.checks_permissions());
        options.access = Access::Other;
        assert!(options.wants_acls());
        options.umask = Some(0o22);
        assert!(!options.wants_acls());
    }

    #[test]
    fn suid_and_dev_are_asked_for_only_where_they_can_be_had() {
        let mut options = MountOptions::new("/mnt", "image");
        options.suid = true;
        let privileged = options.to_fuser(true, false).mount_options;
        assert!(privileged.contains(&MountOption::Suid));
        assert!(privileged.contains(&MountOption::NoDev));
        let user = options.to_fuser(false, true).mount_options;
        assert!(!user.contains(&MountOption::Suid));
    }

    #[test]
    fn enough_threads_by_default() {
        let mut options = MountOptions::new("/mnt", "image");
        assert!(options.thread_count(true, false) >= THREADS_MIN);
        assert!(options.thread_count(true, true) >= THREADS_MIN_WRITING);
        assert!(options.thread_count(false, true) >= THREADS_MIN_UNMAPPED);
        options.threads = NonZero::new(1);
        assert_eq!(options.thread_count(false, true), 1);
    }
}
