//! Default mount options: `default_mntopts` of a profile.

use super::usage::unusable;
use crate::Result;

/// Bits of `s_default_mount_opts` by mke2fs's names. The three journal modes
/// are values of one field of two bits.
const KNOWN: &[(&str, u32)] = &[
    ("debug", 0x1),
    ("bsdgroups", 0x2),
    ("user_xattr", 0x4),
    ("acl", 0x8),
    ("uid16", 0x10),
    ("journal_data", JOURNAL_DATA),
    ("journal_data_ordered", JOURNAL_DATA_ORDERED),
    ("journal_data_writeback", JOURNAL_MODE),
    ("nobarrier", 0x100),
    ("block_validity", 0x200),
    ("discard", 0x400),
    ("nodelalloc", 0x800),
];
const JOURNAL_DATA: u32 = 0x20;
const JOURNAL_DATA_ORDERED: u32 = 0x40;
const JOURNAL_MODE: u32 = JOURNAL_DATA | JOURNAL_DATA_ORDERED;

/// Reads a list as features are written: `acl,^user_xattr`.
pub(super) fn parse(list: &str) -> Result<u32> {
    let mut bits = 0;
    for item in list.split([',', ' ']).filter(|item| !item.is_empty()) {
        let off = item.strip_prefix(['^', '-']);
        let name = off.unwrap_or(item);
        let (_, mask) = KNOWN
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .ok_or_else(|| unusable("default_mntopts", list))?;
        // One journal mode takes the place of another.
        if mask & JOURNAL_MODE != 0 {
            bits &= !JOURNAL_MODE;
        }
        match off {
            Some(_) => bits &= !mask,
            None => bits |= mask,
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parse("acl,user_xattr").unwrap(), 0xc);
        assert_eq!(parse("acl,user_xattr,^acl").unwrap(), 0x4);
        assert_eq!(parse("journal_data,journal_data_ordered").unwrap(), 0x40);
        assert_eq!(parse("journal_data_writeback").unwrap(), 0x60);
        assert_eq!(parse("").unwrap(), 0);
        assert!(parse("acl,fast").is_err());
    }
}
