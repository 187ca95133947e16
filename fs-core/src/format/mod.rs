//! One file a structure: layout with the format's own field names, validation,
//! checksum. What leaves these modules has been checked.

pub(crate) mod acl;
pub(crate) mod bitmap;
pub(crate) mod checksum;
pub(crate) mod directory_block;
pub(crate) mod directory_records;
pub(crate) mod extent;
pub(crate) mod fast_commit;
pub(crate) mod features;
pub(crate) mod group_descriptor;
pub(crate) mod hash;
pub(crate) mod htree;
pub(crate) mod inode;
pub(crate) mod inode_edit;
pub(crate) mod inode_flags;
pub(crate) mod journal;
pub(crate) mod mmp;
pub(crate) mod orphan;
pub(crate) mod superblock;
pub(crate) mod xattr;
pub(crate) mod xattr_encode;

#[cfg(test)]
mod mutation_tests;
