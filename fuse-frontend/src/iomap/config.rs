//! The answer to CONFIG: what the kernel is to know of the volume.

use fs_core::Superblock;

use super::Geometry;
use crate::wire::{ConfigIn, ConfigOut, config_flag};

/// What one tree of the kernel holds if nothing is said of it: 8,192 mappings.
pub(crate) const TREE_BYTES_DEFAULT: u32 = 262_144;

/// Most names an ext4 inode has (`EXT4_LINK_MAX`).
const LINKS_MAX: u32 = 65_000;

/// The times an inode can tell, in seconds: of 32 bits, and with two bits of epoch.
const SECONDS_MIN: i64 = i32::MIN as i64;
const SECONDS_MAX_SMALL: i64 = i32::MAX as i64;
const SECONDS_MAX_LARGE: i64 = (3 << 32) + SECONDS_MAX_SMALL;

const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// An answer of all the kernel knows to ask for, and how many bytes one tree of mappings then
/// holds.
pub(crate) fn answer(
    offer: &ConfigIn,
    geometry: &Geometry,
    superblock: &Superblock,
) -> (ConfigOut, u32) {
    let has_long_times = superblock.inode_bytes > 128;
    let mut s_id = [0; 32];
    // The last byte stays a NUL.
    let name: &[u8] = match superblock.label.as_slice() {
        [] => b"extmap",
        label => label,
    };
    s_id.iter_mut()
        .take(31)
        .zip(name)
        .for_each(|(to, from)| *to = *from);
    let tree_bytes = match offer.cache_maxbytes {
        0 => TREE_BYTES_DEFAULT,
        offered => offered,
    };
    let wanted = config_flag::SID
        | config_flag::UUID
        | config_flag::BLOCKSIZE
        | config_flag::MAX_LINKS
        | config_flag::TIME
        | config_flag::MAXBYTES
        | config_flag::CACHE_MAXBYTES;
    let answer = ConfigOut {
        flags: offer.flags & wanted,
        s_id,
        s_uuid: superblock.uuid.into_bytes(),
        s_uuid_len: 16,
        s_pad: [0; 3],
        s_blocksize: geometry.block_bytes,
        s_max_links: LINKS_MAX,
        s_time_gran: match has_long_times {
            true => 1,
            false => NANOS_PER_SECOND,
        },
        s_time_min: SECONDS_MIN,
        s_time_max: match has_long_times {
            true => SECONDS_MAX_LARGE,
            false => SECONDS_MAX_SMALL,
        },
        s_maxbytes: i64::try_from(geometry.max_bytes).unwrap_or(i64::MAX),
        cache_maxbytes: tree_bytes,
        padding: 0,
    };
    (answer, tree_bytes)
}
