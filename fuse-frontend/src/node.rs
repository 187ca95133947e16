//! Node numbers of the protocol and inode numbers of ext4.
//!
//! FUSE calls the root 1, ext4 calls it 2; the two swap places and every other
//! number stands for itself. No table is needed, because the inodes of a
//! volume open for reading never change: a node may be forgotten and named
//! again at any time.

use fs_core::InodeNumber;

use crate::wire::FUSE_ROOT_ID;

const ROOT_INODE: u64 = InodeNumber::ROOT.0 as u64;

/// The node number the kernel knows an inode by.
pub(crate) fn node_of(inode: InodeNumber) -> u64 {
    swap(u64::from(inode.0))
}

/// The inode behind a node number; `None` for numbers no inode can have.
pub(crate) fn inode_of(nodeid: u64) -> Option<InodeNumber> {
    match u32::try_from(swap(nodeid)) {
        Ok(0) | Err(_) => None,
        Ok(number) => Some(InodeNumber(number)),
    }
}

fn swap(number: u64) -> u64 {
    match number {
        FUSE_ROOT_ID => ROOT_INODE,
        ROOT_INODE => FUSE_ROOT_ID,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_bad_blocks_swap_places() {
        assert_eq!(node_of(InodeNumber::ROOT), 1);
        assert_eq!(node_of(InodeNumber::BAD_BLOCKS), 2);
        assert_eq!(inode_of(1), Some(InodeNumber::ROOT));
        assert_eq!(inode_of(2), Some(InodeNumber::BAD_BLOCKS));
    }

    #[test]
    fn other_numbers_stand_for_themselves() {
        for number in [3, 11, 12, u32::MAX] {
            assert_eq!(node_of(InodeNumber(number)), u64::from(number));
            assert_eq!(inode_of(u64::from(number)), Some(InodeNumber(number)));
        }
        assert_eq!(inode_of(0), None);
        assert_eq!(inode_of(1 << 32), None);
        assert_eq!(inode_of(u64::MAX), None);
    }
}
