//! The structures of ext4 and its log, one file each: layout, field names and
//! checksums as the format has them. What is read here is not yet validated.

pub(crate) mod checksum;
pub(crate) mod fast_commit;
pub(crate) mod journal;
