//! What is on a device already, so that nothing is destroyed by accident.
//!
//! File systems, partition tables, swap, RAID, LVM and encryption headers, disk
//! image containers and archives are known by their magic numbers (each format's
//! own specification; the places are the same ones file(1) and blkid(8) look at),
//! and few by more than that.
//! An ext2, ext3 or ext4 file system is described by its label and where it was
//! last mounted.

mod area;
mod ends;
mod partitions;
mod signatures;

use std::fmt;

use fs_core::encode::RawSuperblock;
use fs_core::{CompatFeatures, IncompatFeatures};
use images::BlockDevice;
use zerocopy::FromBytes;

use self::area::Area;
use crate::Result;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// The kind, with its article: "an ext4 file system".
    pub what: &'static str,
    /// More about it, if known: "labelled \"root\", last mounted on /".
    pub details: Option<String>,
}

impl fmt::Display for Existing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        match &self.details {
            Some(details) => write!(f, " ({details})"),
            None => Ok(()),
        }
    }
}

impl Existing {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            details: None,
        }
    }
}

/// Looks at the first `size_bytes` of a device, which are to be overwritten. What
/// is known by bytes behind them, such as the copy of a GPT at the device's end,
/// is not found.
///
/// # Errors
/// What the device says when it cannot be read.
pub fn look(device: &dyn BlockDevice, size_bytes: u64) -> Result<Option<Existing>> {
    let area = Area::new(device, size_bytes)?;
    if let Some(existing) = ext(area.head()) {
        return Ok(Some(existing));
    }
    if let Some(what) = signatures::find(&area)? {
        return Ok(Some(Existing::new(what)));
    }
    // The last partition may end with what looks like the end of the whole disk.
    if let Some(existing) = partitions::find(&area)? {
        return Ok(Some(existing));
    }
    Ok(ends::find(&area)?.map(Existing::new))
}

/// An ext2, ext3 or ext4 file system, if its superblock has the magic number.
fn ext(head: &[u8]) -> Option<Existing> {
    let (raw, _) = RawSuperblock::ref_from_prefix(head.get(1024..)?).ok()?;
    if !raw.has_magic() {
        return None;
    }
    let compat = CompatFeatures::from_bits_retain(raw.s_feature_compat.get());
    let incompat = IncompatFeatures::from_bits_retain(raw.s_feature_incompat.get());
    let ext4 = IncompatFeatures::EXTENTS
        .union(IncompatFeatures::BIT64)
        .union(IncompatFeatures::FLEX_BG);
    let what = if incompat.contains(IncompatFeatures::JOURNAL_DEV) {
        "a journal of ext3 or ext4"
    } else if incompat.intersects(ext4) || raw.s_feature_ro_compat.get() & !0x7 != 0 {
        "an ext4 file system"
    } else if compat.contains(CompatFeatures::HAS_JOURNAL) {
        "an ext3 file system"
    } else {
        "an ext2 file system"
    };
    let mut details = Vec::new();
    if let Some(label) = text(&raw.s_volume_name) {
        details.push(format!("labelled \"{label}\""));
    }
    if let Some(directory) = text(&raw.s_last_mounted) {
        details.push(format!("last mounted on {directory}"));
    }
    Some(Existing {
        what,
        details: (!details.is_empty()).then(|| details.join(", ")),
    })
}

/// Bytes up to the first NUL, made harmless for a terminal.
fn text(bytes: &[u8]) -> Option<String> {
    let name = bytes.split(|&byte| byte == 0).next()?;
    (!name.is_empty()).then(|| name.escape_ascii().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use images::Memory;

    fn look_at(places: &[(u64, &[u8])]) -> Option<String> {
        let device = Memory::zeroed(1 << 22);
        for (offset, bytes) in places {
            device.write_at(bytes, *offset).unwrap();
        }
        look(&device, 1 << 22)
            .unwrap()
            .map(|existing| existing.to_string())
    }

    #[test]
    fn zeros_are_nothing() {
        assert_eq!(look_at(&[]), None);
        assert_eq!(look(&Memory::zeroed(0), 0).unwrap(), None);
        assert_eq!(look(&Memory::zeroed(700), 700).unwrap(), None);
    }

    #[test]
    fn every_signature_is_found() {
        for signature in signatures::SIGNATURES {
            let found = look_at(&[(signature.offset, signature.magic)]);
            assert_eq!(found.as_deref(), Some(signature.what));
        }
    }

    #[test]
    fn an_ext_file_system_is_described() {
        let found = look_at(&[
            (1024 + 0x38, &[0x53, 0xEF]),
            (1024 + 0x60, &[0x40]),
            (1024 + 0x78, b"root\x1B"),
            (1024 + 0x88, b"/mnt"),
        ]);
        let expected = "an ext4 file system (labelled \"root\\x1b\", last mounted on /mnt)";
        assert_eq!(found.as_deref(), Some(expected));
        assert_eq!(
            look_at(&[(1024 + 0x38, &[0x53, 0xEF])]).as_deref(),
            Some("an ext2 file system")
        );
    }

    #[test]
    fn partition_tables_are_found() {
        assert_eq!(
            look_at(&[(512, b"EFI PART")]).as_deref(),
            Some("a GPT partition table")
        );
        assert_eq!(
            look_at(&[((1 << 22) - 512, b"EFI PART")]).as_deref(),
            Some("a GPT partition table")
        );
        let mbr: &[(u64, &[u8])] = &[(510, &[0x55, 0xAA]), (446 + 4, &[0x83])];
        assert_eq!(
            look_at(mbr).as_deref(),
            Some("an MBR partition table (1 partition)")
        );
        assert_eq!(look_at(&[(510, &[0x55, 0xAA])]), None, "no partition");
    }
}
