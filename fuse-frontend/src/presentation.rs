//! How inodes are shown: owners and permissions replaced where the mount says so.
//!
//! The one place where `uid=`, `gid=` and `umask=` act.

use fs_core::{FileType, Inode};

/// Replacements for what the inodes say.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Presentation {
    /// Every file belongs to this user.
    pub(crate) uid: Option<u32>,
    /// Every file belongs to this group.
    pub(crate) gid: Option<u32>,
    /// Every file has the permissions missing from this (as mount.fuse(8) has it).
    pub(crate) umask: Option<u16>,
}

/// Permission bits without set-user-id, set-group-id and the sticky bit.
const PERMISSIONS: u16 = 0o777;
/// The type's bits of a mode.
const TYPE: u16 = 0xF000;

impl Presentation {
    /// The owner shown.
    pub(crate) fn uid(&self, inode: &Inode) -> u32 {
        self.uid.unwrap_or_else(|| inode.uid())
    }

    /// The group shown.
    pub(crate) fn gid(&self, inode: &Inode) -> u32 {
        self.gid.unwrap_or_else(|| inode.gid())
    }

    /// The mode shown. A symbolic link's permissions mean nothing and stay.
    pub(crate) fn mode(&self, inode: &Inode) -> u16 {
        match self.umask {
            Some(umask) if inode.file_type() != FileType::Symlink => masked(inode.mode(), umask),
            _ => inode.mode(),
        }
    }
}

fn masked(mode: u16, umask: u16) -> u16 {
    (mode & TYPE) | (PERMISSIONS & !umask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn umask_replaces_permissions_and_keeps_the_type() {
        assert_eq!(masked(0o104_600, 0o022), 0o100_755);
        assert_eq!(masked(0o041_777, 0o077), 0o040_700);
        assert_eq!(masked(0o100_000, 0), 0o100_777);
    }
}
