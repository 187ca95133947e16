//! What is on a device already, so that nothing is destroyed by accident.
//!
//! File systems, partition tables, swap, RAID, LVM and encryption headers, disk
//! image containers and archives are known by their magic numbers (each format's
//! own specification; the places are the same ones file(1) and blkid(8) look at).
//! An ext2, ext3 or ext4 file system is described by its label and where it was
//! last mounted.

use std::fmt;

use fs_core::encode::RawSuperblock;
use fs_core::{CompatFeatures, IncompatFeatures};
use images::BlockDevice;
use zerocopy::FromBytes;

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

/// A magic number and where it lies.
struct Signature {
    what: &'static str,
    offset: u64,
    magic: &'static [u8],
}

const fn at(offset: u64, magic: &'static [u8], what: &'static str) -> Signature {
    Signature {
        what,
        offset,
        magic,
    }
}

/// Tried in this order: what is more specific comes first.
const SIGNATURES: &[Signature] = &[
    at(0, b"XFSB", "an XFS file system"),
    at(0x1_0040, b"_BHRfS_M", "a btrfs file system"),
    at(0x400, b"\x10\x20\xF5\xF2", "an F2FS file system"),
    at(0x400, b"\xE2\xE1\xF5\xE0", "an EROFS file system"),
    at(0, b"hsqs", "a SquashFS file system"),
    at(3, b"NTFS    ", "an NTFS file system"),
    at(3, b"EXFAT   ", "an exFAT file system"),
    at(54, b"FAT12   ", "a FAT file system"),
    at(54, b"FAT16   ", "a FAT file system"),
    at(82, b"FAT32   ", "a FAT file system"),
    at(0x8001, b"CD001", "an ISO 9660 file system"),
    at(0x8001, b"BEA01", "a UDF file system"),
    at(0x1_0034, b"ReIsErFs", "a ReiserFS file system"),
    at(0x1_0034, b"ReIsEr2Fs", "a ReiserFS file system"),
    at(0x8000, b"JFS1", "a JFS file system"),
    at(0x406, b"\x34\x34", "a NILFS2 file system"),
    at(
        0x1000,
        b"\xC6\x85\x73\xF6\x4E\x1A\x45\xCA\x82\x65\xF5\x7F\x48\xBA\x6D\x81",
        "a bcache device",
    ),
    at(
        0x1018,
        b"\xC6\x85\x73\xF6\x66\xCE\x90\xA9\xD9\x6A\x60\xCF\x80\x3D\xF7\xEF",
        "a bcachefs file system",
    ),
    at(
        0x1018,
        b"\xC6\x85\x73\xF6\x4E\x1A\x45\xCA\x82\x65\xF5\x7F\x48\xBA\x6D\x81",
        "a bcachefs file system",
    ),
    at(0x400, b"H+\x00\x04", "an HFS+ file system"),
    at(0x400, b"HX\x00\x05", "an HFS+ file system"),
    at(0x20, b"NXSB", "an APFS container"),
    at(0x1_0000, b"\x01\x16\x19\x70", "a GFS2 file system"),
    at(0x1000, b"OCFSV2", "an OCFS2 file system"),
    at(0x410, b"\x7F\x13", "a Minix file system"),
    at(0x410, b"\x8F\x13", "a Minix file system"),
    at(0x410, b"\x68\x24", "a Minix file system"),
    at(0x410, b"\x78\x24", "a Minix file system"),
    at(0x418, b"\x5A\x4D", "a Minix file system"),
    at(0, b"\x45\x3D\xCD\x28", "a cramfs file system"),
    at(0, b"-rom1fs-", "a romfs file system"),
    at(0, b"\xCE\xFA\xAD\x1B", "a BFS (UnixWare) file system"),
    at(0x255C, b"\x19\x01\x54\x19", "a UFS file system"),
    at(0x1_055C, b"\x19\x01\x54\x19", "a UFS file system"),
    at(0, b"LUKS\xBA\xBE", "a LUKS encrypted volume"),
    at(3, b"-FVE-FS-", "a BitLocker encrypted volume"),
    at(0x218, b"LVM2 001", "an LVM physical volume"),
    at(0x18, b"LVM2 001", "an LVM physical volume"),
    at(0, b"\xFC\x4E\x2B\xA9", "a RAID member"),
    at(0x1000, b"\xFC\x4E\x2B\xA9", "a RAID member"),
    at(4086, b"SWAPSPACE2", "swap space"),
    at(4086, b"SWAP-SPACE", "swap space"),
    at(65526, b"SWAPSPACE2", "swap space"),
    at(0x2_0000, b"\x0C\xB1\xBA\x00\x00\x00\x00\x00", "a ZFS pool"),
    at(0, b"QFI\xFB", "a QEMU disk image (qcow)"),
    at(0, b"KDMV", "a VMware disk image"),
    at(0x40, b"\x7F\x10\xDA\xBE", "a VirtualBox disk image"),
    at(0, b"vhdxfile", "a VHDX disk image"),
    at(0, b"conectix", "a VHD disk image"),
    at(0, b"\x3A\xFF\x26\xED", "an Android sparse image"),
    at(257, b"ustar", "a tar archive"),
    at(0, b"\x1F\x8B\x08", "a gzip archive"),
    at(0, b"\x28\xB5\x2F\xFD", "a zstd archive"),
    at(0, b"\xFD7zXZ\x00", "an xz archive"),
    at(0, b"PK\x03\x04", "a zip archive"),
    at(0, b"\x7FELF", "a program"),
];

/// Looks at the first 132 KiB and the last sectors of a device.
///
/// # Errors
/// What the device says when it cannot be read.
pub fn look(device: &dyn BlockDevice) -> Result<Option<Existing>> {
    let head = read_up_to(device, 0, HEAD_BYTES)?;
    if let Some(existing) = ext(&head) {
        return Ok(Some(existing));
    }
    for signature in SIGNATURES {
        if bytes_at(&head, signature.offset, signature.magic.len()) == Some(signature.magic) {
            return Ok(Some(found(signature.what)));
        }
    }
    partition_table(device, &head)
}

const HEAD_BYTES: u64 = 0x2_1000;

fn found(what: &'static str) -> Existing {
    Existing {
        what,
        details: None,
    }
}

fn read_up_to(device: &dyn BlockDevice, offset: u64, len: u64) -> Result<Vec<u8>> {
    let len = device.size_bytes().saturating_sub(offset).min(len);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    device.read_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn bytes_at(bytes: &[u8], offset: u64, len: usize) -> Option<&[u8]> {
    bytes.get(usize::try_from(offset).ok()?..)?.get(..len)
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

/// GPT (primary or backup), or an MBR with at least one partition.
fn partition_table(device: &dyn BlockDevice, head: &[u8]) -> Result<Option<Existing>> {
    const GPT: &[u8] = b"EFI PART";
    for sector in [512, 4096] {
        let last = device.size_bytes().saturating_sub(sector);
        let backup = read_up_to(device, last, GPT.len() as u64)?;
        if bytes_at(head, sector, GPT.len()) == Some(GPT) || backup == GPT {
            return Ok(Some(found("a GPT partition table")));
        }
    }
    let partitions = mbr_partitions(head);
    Ok((partitions > 0).then(|| Existing {
        what: "an MBR partition table",
        details: Some(format!(
            "{partitions} partition{}",
            if partitions == 1 { "" } else { "s" }
        )),
    }))
}

/// Number of partitions an MBR lists; 0 if it is none, or a boot sector only.
fn mbr_partitions(head: &[u8]) -> usize {
    let entries = head.get(446..510).unwrap_or_default();
    let is_mbr = head.get(510..512) == Some(&[0x55, 0xAA])
        && entries
            .chunks(16)
            .all(|entry| matches!(entry.first(), Some(0 | 0x80)));
    if !is_mbr {
        return 0;
    }
    entries
        .chunks(16)
        .filter(|entry| entry.get(4).is_some_and(|&kind| kind != 0))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use images::Memory;

    fn look_at(places: &[(u64, &[u8])]) -> Option<String> {
        let device = Memory::zeroed(1 << 20);
        for (offset, bytes) in places {
            device.write_at(bytes, *offset).unwrap();
        }
        look(&device).unwrap().map(|existing| existing.to_string())
    }

    #[test]
    fn zeros_are_nothing() {
        assert_eq!(look_at(&[]), None);
        assert_eq!(look(&Memory::zeroed(0)).unwrap(), None);
        assert_eq!(look(&Memory::zeroed(700)).unwrap(), None);
    }

    #[test]
    fn every_signature_is_found() {
        for signature in SIGNATURES {
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
            look_at(&[((1 << 20) - 512, b"EFI PART")]).as_deref(),
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
