//! What is known by a magic number, or little more, at a fixed place.

use super::area::Area;
use crate::Result;

/// A magic number and where it lies.
pub(super) struct Signature {
    pub(super) what: &'static str,
    pub(super) offset: u64,
    pub(super) magic: &'static [u8],
}

const fn at(offset: u64, magic: &'static [u8], what: &'static str) -> Signature {
    Signature {
        what,
        offset,
        magic,
    }
}

/// Tried in this order: what is more specific comes first.
pub(super) const SIGNATURES: &[Signature] = &[
    at(0, b"XFSB", "an XFS file system"),
    at(0x1_0040, b"_BHRfS_M", "a btrfs file system"),
    at(0x400, b"\x10\x20\xF5\xF2", "an F2FS file system"),
    at(0x400, b"\xE2\xE1\xF5\xE0", "an EROFS file system"),
    at(0, b"hsqs", "a SquashFS file system"),
    at(0, b"sqsh", "a SquashFS file system"),
    at(3, b"NTFS    ", "an NTFS file system"),
    at(3, b"EXFAT   ", "an exFAT file system"),
    at(54, b"FAT12   ", "a FAT file system"),
    at(54, b"FAT16   ", "a FAT file system"),
    at(54, b"FAT     ", "a FAT file system"),
    at(54, b"MSDOS", "a FAT file system"),
    at(82, b"FAT32   ", "a FAT file system"),
    at(82, b"MSWIN", "a FAT file system"),
    at(0x8001, b"CD001", "an ISO 9660 file system"),
    at(0x8001, b"BEA01", "a UDF file system"),
    at(0x8001, b"NSR0", "a UDF file system"),
    at(0x8009, b"CDROM", "a High Sierra file system"),
    at(0x1_0034, b"ReIsErFs", "a ReiserFS file system"),
    at(0x1_0034, b"ReIsEr2Fs", "a ReiserFS file system"),
    at(0x1_0034, b"ReIsEr3Fs", "a ReiserFS file system"),
    at(0x2034, b"ReIsErFs", "a ReiserFS file system"),
    at(0x1_0000, b"ReIsEr4", "a Reiser4 file system"),
    at(0x8000, b"JFS1", "a JFS file system"),
    at(0x406, b"\x34\x34", "a NILFS2 file system"),
    at(
        0x1018,
        b"\xC6\x85\x73\xF6\x66\xCE\x90\xA9\xD9\x6A\x60\xCF\x80\x3D\xF7\xEF",
        "a bcachefs file system",
    ),
    at(
        0x1018,
        b"\xC6\x85\x73\xF6\x4E\x1A\x45\xCA\x82\x65\xF5\x7F\x48\xBA\x6D\x81",
        "a bcache device",
    ),
    at(0x400, b"H+\x00\x04", "an HFS+ file system"),
    at(0x400, b"HX\x00\x05", "an HFS+ file system"),
    at(0x20, b"NXSB", "an APFS container"),
    at(0x1_0000, b"\x01\x16\x19\x70", "a GFS2 file system"),
    at(0x1000, b"OCFSV2", "an OCFS2 file system"),
    at(0x400, b"OCFSV2", "an OCFS2 file system"),
    at(0x800, b"OCFSV2", "an OCFS2 file system"),
    at(0x2000, b"OCFSV2", "an OCFS2 file system"),
    at(0x410, b"\x7F\x13", "a Minix file system"),
    at(0x410, b"\x8F\x13", "a Minix file system"),
    at(0x410, b"\x68\x24", "a Minix file system"),
    at(0x410, b"\x78\x24", "a Minix file system"),
    at(0x418, b"\x5A\x4D", "a Minix file system"),
    at(0x410, b"\x13\x7F", "a Minix file system"),
    at(0x410, b"\x13\x8F", "a Minix file system"),
    at(0x410, b"\x24\x68", "a Minix file system"),
    at(0x410, b"\x24\x78", "a Minix file system"),
    at(0x418, b"\x4D\x5A", "a Minix file system"),
    at(0, b"\x45\x3D\xCD\x28", "a cramfs file system"),
    at(0, b"\x28\xCD\x3D\x45", "a cramfs file system"),
    at(0x200, b"\x45\x3D\xCD\x28", "a cramfs file system"),
    at(0x200, b"\x28\xCD\x3D\x45", "a cramfs file system"),
    at(0, b"-rom1fs-", "a romfs file system"),
    at(0, b"\xCE\xFA\xAD\x1B", "a BFS (UnixWare) file system"),
    at(0x20, b"1SFB", "a BeFS file system"),
    at(0x20, b"BFS1", "a BeFS file system"),
    at(0x220, b"1SFB", "a BeFS file system"),
    at(0x220, b"BFS1", "a BeFS file system"),
    at(0x400, b"\xF5\xFC\x01\xA5", "a VxFS file system"),
    at(0x400, b"\xA5\x01\xFC\xF5", "a VxFS file system"),
    at(0x2000, b"\x49\xE8\x95\xF9", "an HPFS file system"),
    at(0, b"\0\0\0ReFS\0", "a ReFS file system"),
    at(0x1000, b"SPB5", "a NetWare file system"),
    at(0, b"SFOZ", "a zonefs file system"),
    at(0, b"EXFS", "an EXFS file system"),
    at(0, b"\x31\x18\x10\x06", "a UBIFS file system"),
    at(0, b"UBI#", "a UBI volume"),
    at(0x10_0000, b"\x0D\xD0\x01\xC0", "a VMFS volume"),
    at(0x20_0000, b"\x5E\xF1\xAB\x2F", "a VMFS file system"),
    at(0, b"bluestore block device", "a Ceph BlueStore device"),
    at(0, b"mpoolDev", "an mpool device"),
    at(0, b"dmvdo001", "a VDO device"),
    at(512, b"!Stra0tis\x86\xFF\x02^\x41rh", "a Stratis device"),
    at(0, b"SnAp", "a snapshot of the device mapper"),
    at(0, b"verity\0\0", "a tree of hashes (dm-verity)"),
    at(0, b"integrt\0", "a dm-integrity device"),
    at(0, b"LUKS\xBA\xBE", "a LUKS encrypted volume"),
    at(3, b"-FVE-FS-", "a BitLocker encrypted volume"),
    at(0x218, b"LVM2 001", "an LVM physical volume"),
    at(0x18, b"LVM2 001", "an LVM physical volume"),
    at(0x418, b"LVM2 001", "an LVM physical volume"),
    at(0x618, b"LVM2 001", "an LVM physical volume"),
    at(0, b"HM\x01\0", "an LVM physical volume"),
    at(0, b"HM\x02\0", "an LVM physical volume"),
    at(0, b"\xFC\x4E\x2B\xA9", "a RAID member"),
    at(0x1000, b"\xFC\x4E\x2B\xA9", "a RAID member"),
    at(
        0,
        b"\xED\xC3\x02\xE9\x98\x56\xE5\x0C",
        "a hibernated system",
    ),
    at(0, b"\x0B\xE5\xA9\x41", "an SGI disk label"),
    at(512, b"\x57\x45\x56\x82", "a BSD disk label"),
    at(64, b"\x57\x45\x56\x82", "a BSD disk label"),
    at(128, b"\x57\x45\x56\x82", "a BSD disk label"),
    at(0x3FB8, b"\x57\x29\x03\x00", "an Ultrix disk label"),
    at(0, b"\xC9\xC2\xD4\xC1", "an AIX disk label"),
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

/// Linux marks swap space, and what hibernation made of it, in the last ten bytes
/// of the first page; the page is that of the host it was made for.
const SWAP_PAGE_BYTES: [u64; 5] = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];
const SWAP_MAGICS: [(&[u8], &str); 6] = [
    (b"SWAPSPACE2", "swap space"),
    (b"SWAP-SPACE", "swap space"),
    (b"S1SUSPEND", "a hibernated system"),
    (b"S2SUSPEND", "a hibernated system"),
    (b"ULSUSPEND", "a hibernated system"),
    (b"LINHIB0001", "a hibernated system"),
];

/// Places of a superblock of UFS, and of its magic number in it.
const UFS_SUPERBLOCKS: [u64; 4] = [0, 8 << 10, 64 << 10, 256 << 10];
const UFS_MAGIC_OFFSET: u64 = 1372;
/// UFS1, UFS2, and the variants FEA, LFN, SEC and 4GB.
const UFS_MAGICS: [u32; 6] = [
    0x0001_1954,
    0x1954_0119,
    0x0019_5612,
    0x0009_5014,
    0x0061_2195,
    0x0523_1994,
];

/// The uberblocks of the first label of ZFS: a ring, in which any can be the first
/// to be written. The byte order is the host's.
const ZFS_RING: std::ops::Range<u64> = 128 << 10..256 << 10;
const ZFS_UBERBLOCK_BYTES: usize = 1024;
const ZFS_MAGIC: u64 = 0x00BA_B10C;

/// Finds a magic number.
///
/// # Errors
/// What the device says when it cannot be read.
pub(super) fn find(area: &Area<'_>) -> Result<Option<&'static str>> {
    for signature in SIGNATURES {
        if area.has(signature.offset, signature.magic)? {
            return Ok(Some(signature.what));
        }
    }
    for page_bytes in SWAP_PAGE_BYTES {
        for (magic, what) in SWAP_MAGICS {
            if area.has(page_bytes - 10, magic)? {
                return Ok(Some(what));
            }
        }
    }
    Ok(if is_hfs(area) {
        Some("an HFS file system")
    } else if is_ufs(area) {
        Some("a UFS file system")
    } else if is_zfs(area) {
        Some("a ZFS pool")
    } else {
        None
    })
}

/// Two letters are a weak sign: the size of an allocation block, at byte 20 of the
/// master directory block, must make sense, too (Inside Macintosh: Files).
fn is_hfs(area: &Area<'_>) -> bool {
    let block_bytes = area.array(0x400 + 20).map_or(0, u32::from_be_bytes);
    area.array(0x400) == Some(*b"BD") && block_bytes != 0 && block_bytes.is_multiple_of(512)
}

fn is_ufs(area: &Area<'_>) -> bool {
    let magics = UFS_SUPERBLOCKS
        .iter()
        .filter_map(|start| area.array(start + UFS_MAGIC_OFFSET));
    magics.into_iter().any(|magic: [u8; 4]| {
        UFS_MAGICS.contains(&u32::from_le_bytes(magic))
            || UFS_MAGICS.contains(&u32::from_be_bytes(magic))
    })
}

fn is_zfs(area: &Area<'_>) -> bool {
    ZFS_RING.step_by(ZFS_UBERBLOCK_BYTES).any(|offset| {
        area.array(offset).is_some_and(|magic| {
            u64::from_le_bytes(magic) == ZFS_MAGIC || u64::from_be_bytes(magic) == ZFS_MAGIC
        })
    })
}
