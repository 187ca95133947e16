//! The reply to CONFIG (1.7). Pure.

use crate::numbers::config;
use crate::personality::Variant;
use crate::rule::Rule;
use crate::tree::TREE_BYTES_DEFAULT;
use crate::wire::ConfigOut;

/// Bounds a tree's limit is brought into.
const TREE_BYTES_MIN: u32 = 256;
const TREE_BYTES_MAX: u32 = 2_097_152;
const UUID_BYTES: u8 = 16;
const SECOND_NS: u32 = 1_000_000_000;
/// Block sizes L's block layer takes.
const BLOCK_BYTES_MIN: u32 = 512;
const BLOCK_BYTES_MAX: u32 = 65_536;
/// A superblock's block size unless CONFIG says otherwise (7).
const BLOCK_BYTES_DEFAULT: u32 = 4096;

/// What the mount goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) block_bytes: u64,
    pub(crate) maxbytes: u64,
    pub(crate) tree_bytes_max: u32,
}

impl Default for Geometry {
    fn default() -> Self {
        Self {
            block_bytes: BLOCK_BYTES_DEFAULT.into(),
            maxbytes: i64::MAX as u64,
            tree_bytes_max: TREE_BYTES_DEFAULT,
        }
    }
}

/// Checks a reply as a variant does.
pub(crate) fn judge_config(reply: &ConfigOut, variant: Variant) -> Result<Geometry, Rule> {
    let has = |bit| reply.flags & bit != 0;
    let strict = variant == Variant::L;
    if reply.flags & !config::ALL != 0 {
        return Err(Rule::ConfigFlags);
    }
    if reply.s_uuid_len > UUID_BYTES {
        return Err(Rule::ConfigUuid);
    }
    if reply.s_pad != [0; 3] {
        return Err(Rule::ConfigPad);
    }
    let mut geometry = Geometry::default();
    if has(config::BLOCKSIZE) {
        let size = reply.s_blocksize;
        let fits = size.is_power_of_two() && (BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&size);
        if strict && !fits {
            return Err(Rule::ConfigBlockSize);
        }
        geometry.block_bytes = size.max(1).into();
    }
    if strict && has(config::TIME) && !(1..=SECOND_NS).contains(&reply.s_time_gran) {
        return Err(Rule::ConfigTime);
    }
    if has(config::MAXBYTES) {
        match u64::try_from(reply.s_maxbytes) {
            Ok(maxbytes) => geometry.maxbytes = maxbytes,
            Err(_) if strict => return Err(Rule::ConfigMaxbytes),
            Err(_) => {}
        }
    }
    if has(config::CACHE_MAXBYTES) && reply.cache_maxbytes != 0 {
        geometry.tree_bytes_max = reply.cache_maxbytes.clamp(TREE_BYTES_MIN, TREE_BYTES_MAX);
    }
    Ok(geometry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut ConfigOut)) -> [Result<Geometry, Rule>; 2] {
        let mut reply = ConfigOut {
            flags: config::ALL,
            s_uuid_len: 16,
            s_blocksize: 4096,
            s_time_gran: 1,
            s_maxbytes: 1 << 44,
            ..ConfigOut::default()
        };
        change(&mut reply);
        [Variant::S, Variant::L].map(|variant| judge_config(&reply, variant))
    }

    #[test]
    fn both_refuse_flags_uuid_and_pad() {
        assert_eq!(check(|r| r.flags |= 0x80), [Err(Rule::ConfigFlags); 2]);
        let long = |r: &mut ConfigOut| (r.flags, r.s_uuid_len) = (0, 17);
        assert_eq!(check(long), [Err(Rule::ConfigUuid); 2]);
        assert_eq!(check(|r| r.s_pad[2] = 1), [Err(Rule::ConfigPad); 2]);
    }

    #[test]
    fn only_l_checks_block_size_time_and_maxbytes() {
        for (change, rule) in [
            (
                (|r: &mut ConfigOut| r.s_blocksize = 3000) as fn(&mut ConfigOut),
                Rule::ConfigBlockSize,
            ),
            (|r| r.s_blocksize = 256, Rule::ConfigBlockSize),
            (|r| r.s_time_gran = 0, Rule::ConfigTime),
            (|r| r.s_time_gran = 1_000_000_001, Rule::ConfigTime),
            (|r| r.s_maxbytes = -1, Rule::ConfigMaxbytes),
        ] {
            let [s, l] = check(change);
            assert!(s.is_ok());
            assert_eq!(l, Err(rule));
        }
    }

    #[test]
    fn the_cache_limit_is_brought_into_bounds() {
        for (asked, got) in [(0, 262_144), (1, 256), (u32::MAX, 2_097_152), (4096, 4096)] {
            let [s, l] = check(|r| r.cache_maxbytes = asked);
            assert_eq!(s, l);
            assert_eq!(s.unwrap().tree_bytes_max, got);
        }
    }
}
