//! Structures of the format, written: what mkfs builds a file system from.
//!
//! Each function stands beside the one that reads the same structure; this
//! module only opens the door to them. Who calls them has planned where the
//! bytes go and holds a [`Superblock`] that has passed the checks of a superblock
//! that was read.

use crate::types::InodeNumber;
use crate::{Result, Superblock};

pub use crate::format::acl::to_disk_form as acl_to_disk_form;
pub use crate::format::bitmap::checksum as bitmap_checksum;
pub use crate::format::directory_block::DirectoryBlock;
pub use crate::format::extent::{
    WRITTEN_LEN_MAX, capacity as extent_capacity, encode_index, encode_leaf,
    set_checksum as set_extent_checksum,
};
pub use crate::format::group_descriptor::encode as group_descriptor;
pub use crate::format::hash::Hasher as NameHasher;
pub use crate::format::htree::{
    RootFields as HashTreeRoot, encode_node as hash_tree_node, encode_root as hash_tree_root,
    node_capacity as hash_tree_node_capacity, root_capacity as hash_tree_root_capacity,
};
pub use crate::format::inode::{
    InodeFields, device_number, encode as inode, encode_base as base_inode,
    encode_blank as blank_inode,
};
pub use crate::format::journal::{NewJournal, encode_superblock as journal_superblock};
pub use crate::format::mmp::encode_clean as mmp_block;
pub use crate::format::orphan::encode_empty as orphan_block;
pub use crate::format::superblock::RawSuperblock;
pub use crate::format::xattr::{
    INDEX_ACL_ACCESS, INDEX_ACL_DEFAULT, INDEX_SYSTEM, VALUE_BYTES_MAX as XATTR_VALUE_BYTES_MAX,
    split_name as split_xattr_name,
};
pub use crate::format::xattr_encode::{
    NewValue as NewXattrValue, NewXattr, REFERENCES_MAX as XATTR_BLOCK_REFERENCES_MAX,
    block_room as xattr_block_room, encode_block as xattr_block,
    encode_inode_area as xattr_inode_area, inode_room as xattr_inode_room,
    value_hash as xattr_value_hash,
};

/// Checks a superblock that was composed as if it had been read from `device_bytes`.
///
/// # Errors
/// `Corrupt` or `Unsupported` with the field that contradicts the format.
pub fn superblock(raw: &RawSuperblock, device_bytes: u64) -> Result<Superblock> {
    raw.validate(device_bytes)
}

/// The seed of the checksums of all that belongs to an inode: extent nodes,
/// directory blocks, attributes.
pub fn inode_checksum_seed(superblock: &Superblock, inode: InodeNumber, generation: u32) -> u32 {
    crate::format::inode::seed_of(superblock, inode, generation)
}

/// The hash function of the names in new directories; `None` if it cannot be
/// computed (SipHash, which needs a key).
pub fn name_hasher(superblock: &Superblock) -> Option<NameHasher> {
    NameHasher::new(
        superblock.default_hash_version,
        superblock.hash_is_unsigned(),
        superblock.hash_seed,
    )
}
