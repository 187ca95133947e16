//! What is on a device already is named, whatever made it: blkid is the judge.
#![allow(clippy::expect_used)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use images::OpenOptions;
use mkfs::existing::look;

const MIB: u64 = 1 << 20;

/// Offsets, and the bytes there.
type Places<'a> = &'a [(u64, &'a [u8])];

/// A file of zeros in a directory of its own.
struct Image {
    directory: tempfile::TempDir,
    size_bytes: u64,
}

impl Image {
    fn new(size_bytes: u64) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let image = Self {
            directory,
            size_bytes,
        };
        image.file().set_len(size_bytes).expect("grows");
        image
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn file(&self) -> File {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        options.open(self.path()).expect("opens")
    }

    fn put(&self, places: Places<'_>) {
        for (offset, bytes) in places {
            self.file().write_all_at(bytes, *offset).expect("writes");
        }
    }

    /// What is said of the first `size_bytes` from an offset on.
    fn look(&self, offset_bytes: u64, size_bytes: u64) -> Option<String> {
        let options = OpenOptions {
            read_only: true,
            offset_bytes: Some(offset_bytes).filter(|&offset| offset != 0),
            ..OpenOptions::default()
        };
        let device = images::open(self.path(), &options).expect("opens");
        let found = look(&*device, size_bytes).expect("reads");
        found.map(|existing| existing.to_string())
    }

    /// What blkid calls it: its type, or that of its partition table.
    fn blkid(&self) -> Option<String> {
        let output = Command::new("blkid")
            .args(["-p", "-o", "export"])
            .arg(self.path())
            .output()
            .expect("blkid starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let value = |key| text.lines().find_map(|line| line.strip_prefix(key));
        value("TYPE=").or(value("PTTYPE=")).map(str::to_owned)
    }

    /// Both must know it.
    fn assert_known(&self, kind: &str, words: &str) {
        assert_eq!(self.blkid().as_deref(), Some(kind), "{words}");
        let found = self.look(0, self.size_bytes).expect(words);
        assert!(found.contains(words), "{words}: {found}");
    }
}

/// Runs a program, with a text on its standard input; it must succeed.
fn run(program: &str, arguments: &[&str], directory: &Path, input: &str) {
    use std::io::Write;
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A program that reads nothing may be gone already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let status = child.wait().expect("ends");
    assert!(status.success(), "{program} {arguments:?}");
}

#[test]
fn what_programs_make_is_named() {
    let cases: [(&str, &[&str], &str, &str, &str); 18] = [
        ("mkswap", &["image"], "", "swap", "swap space"),
        ("mkswap", &["-p", "8192", "image"], "", "swap", "swap space"),
        (
            "mkswap",
            &["-p", "16384", "image"],
            "",
            "swap",
            "swap space",
        ),
        (
            "mkswap",
            &["-p", "32768", "image"],
            "",
            "swap",
            "swap space",
        ),
        (
            "mkswap",
            &["-p", "65536", "image"],
            "",
            "swap",
            "swap space",
        ),
        ("sfdisk", &["image"], "label: gpt\n", "gpt", "GPT"),
        ("sfdisk", &["image"], "label: gpt\n,1M\n", "gpt", "GPT"),
        (
            "sfdisk",
            &["image"],
            "label: dos\n",
            "dos",
            "without partitions",
        ),
        (
            "sfdisk",
            &["image"],
            "label: dos\n,1M\n,1M\n",
            "dos",
            "2 partitions",
        ),
        ("sfdisk", &["image"], "label: sun\n", "sun", "Sun"),
        ("sfdisk", &["image"], "label: sgi\n", "sgi", "SGI"),
        ("mke2fs", &["-qt", "ext2", "image"], "", "ext2", "ext2"),
        ("mke2fs", &["-qt", "ext3", "image"], "", "ext3", "ext3"),
        ("mke2fs", &["-qt", "ext4", "image"], "", "ext4", "ext4"),
        ("mkfs.bfs", &["image"], "", "bfs", "BFS"),
        ("mkfs.minix", &["-1", "image"], "", "minix", "Minix"),
        ("mkfs.minix", &["-3", "image"], "", "minix", "Minix"),
        ("mkfs.cramfs", &[".", "image"], "", "cramfs", "cramfs"),
    ];
    for (program, arguments, input, kind, words) in cases {
        if skipping::have_programs(&["blkid", program]) {
            let image = Image::new(16 * MIB);
            run(program, arguments, image.directory.path(), input);
            image.assert_known(kind, words);
        }
    }
    for (program, arguments, kind, words) in [
        ("mkfs.vfat", &["image"][..], "vfat", "FAT"),
        (
            "genisoimage",
            &["-o", "image", "/dev/null"],
            "iso9660",
            "ISO",
        ),
    ] {
        if skipping::have_programs(&["blkid", program]) {
            let image = Image::new(16 * MIB);
            run(program, arguments, image.directory.path(), "");
            image.assert_known(kind, words);
        }
    }
}

/// A superblock of Linux MD, as far as blkid looks at it.
fn md(version: u32, super_sector: u64, swapped: bool) -> Vec<u8> {
    let mut bytes = vec![0; 256];
    let number = |value: u32| match swapped {
        true => value.to_be_bytes(),
        false => value.to_le_bytes(),
    };
    bytes[..4].copy_from_slice(&number(0xA92B_4EFC));
    bytes[4..8].copy_from_slice(&number(version));
    if version == 0 {
        bytes[8..12].copy_from_slice(&number(90));
        bytes[32..36].copy_from_slice(&number(1024));
    } else {
        bytes[144..152].copy_from_slice(&super_sector.to_le_bytes());
    }
    bytes
}

#[test]
fn arrays_with_their_superblock_at_the_end_are_named() {
    if !skipping::have_programs(&["blkid"]) {
        return;
    }
    // A size that is no multiple of what the places are.
    let size = 8 * MIB + 70 * 1024 + 512;
    let old = 8 * MIB;
    let one = size / 4096 * 4096 - 8192;
    let one_sector = one / 512;
    for (offset, superblock) in [
        (old, md(0, 0, false)),
        (old, md(0, 0, true)),
        (one, md(1, one_sector, false)),
        (0, md(1, 0, false)),
        (4096, md(1, 8, false)),
    ] {
        let image = Image::new(size);
        image.put(&[(offset, &superblock)]);
        image.assert_known("linux_raid_member", "RAID");
    }
    let image = Image::new(size);
    image.put(&[(size / 512 * 512 - 1024, b"Intel Raid ISM Cfg Sig. 1.0.00")]);
    image.assert_known("isw_raid_member", "RAID");
    let image = Image::new(size);
    image.put(&[(size - 4096 + 60, &[0x83, 0x74, 0x02, 0x6B])]);
    image.assert_known("drbd", "DRBD");
}

#[test]
fn made_up_bytes_blkid_knows_are_named() {
    if !skipping::have_programs(&["blkid"]) {
        return;
    }
    let uberblock: &[u8] = &[0x0C, 0xB1, 0xBA, 0, 0, 0, 0, 0];
    let ring: Vec<_> = (0..4)
        .map(|slot| ((250 - slot) * 1024, uberblock))
        .collect();
    let big_endian: Vec<(u64, &[u8])> = (0..4)
        .map(|slot| ((200 + slot) * 1024, &[0, 0, 0, 0, 0, 0xBA, 0xB1, 0x0C][..]))
        .collect();
    let hfs: Places = &[(0x400, b"BD"), (0x400 + 20, &[0, 0, 2, 0])];
    let apple: Places = &[
        (0, b"ER\x02\x00"),
        (512, b"PM"),
        (516, &[0, 0, 0, 1]),
        (520, &[0, 0, 0, 1, 0, 0, 0, 63]),
    ];
    let bsd: &[u8] = &[0x57, 0x45, 0x56, 0x82];
    let ufs2 = 0x1954_0119_u32.to_be_bytes();
    let cases: [(Places, &str, &str); 24] = [
        (&ring, "zfs_member", "ZFS"),
        (&big_endian, "zfs_member", "ZFS"),
        (hfs, "hfs", "HFS"),
        (apple, "mac", "Apple"),
        (&[(512, bsd)], "", "BSD"),
        (&[(64, bsd)], "", "BSD"),
        (&[(128, bsd)], "", "BSD"),
        (&[(0, &[0xC9, 0xC2, 0xD4, 0xC1])], "aix", "AIX"),
        (&[(8192 + 1372, &ufs2)], "ufs", "UFS"),
        (&[((256 << 10) + 1372, &ufs2)], "ufs", "UFS"),
        (&[(0x218, b"LVM2 001"), (0x200, b"LABELONE")], "", "LVM"),
        (&[(0x200, b"!Stra0tis\x86\xFF\x02^\x41rh")], "", "Stratis"),
        (&[(0x400, &[0xF5, 0xFC, 0x01, 0xA5])], "vxfs", "VxFS"),
        (&[(0, b"HM\x01\0")], "LVM1_member", "LVM"),
        (&[(0, b"\0\0\0ReFS\0")], "ReFS", "ReFS"),
        (&[(0, b"bluestore block device")], "ceph_bluestore", "Ceph"),
        (&[(0, b"mpoolDev")], "", "mpool"),
        (
            &[(0x10_0000, &[0x0D, 0xD0, 0x01, 0xC0])],
            "VMFS_volume_member",
            "VMFS",
        ),
        (&[(0x20_0000, &[0x5E, 0xF1, 0xAB, 0x2F])], "VMFS", "VMFS"),
        (&[(0x8000, b"JFS1")], "", "JFS"),
        (&[(0x2034, b"ReIsErFs")], "", "ReiserFS"),
        (&[(0x1_0000, b"ReIsEr4")], "reiser4", "Reiser4"),
        (&[(0x1000, b"SPB5")], "nss", "NetWare"),
        (&[(0, b"-rom1fs-")], "romfs", "romfs"),
    ];
    for (places, kind, words) in cases {
        let image = Image::new(64 * MIB);
        image.put(places);
        match kind {
            // What blkid only knows with more than its number.
            "" => assert!(image.look(0, 64 * MIB).expect(words).contains(words)),
            kind => image.assert_known(kind, words),
        }
    }
}

/// bcache has its number where bcachefs has its own, in the superblock at 4 KiB.
#[test]
fn bcache_is_not_bcachefs() {
    let image = Image::new(MIB);
    let bcache = b"\xC6\x85\x73\xF6\x4E\x1A\x45\xCA\x82\x65\xF5\x7F\x48\xBA\x6D\x81";
    image.put(&[(0x1018, bcache)]);
    assert_eq!(image.look(0, MIB).as_deref(), Some("a bcache device"));
    let image = Image::new(MIB);
    image.put(&[(0x1000, bcache)]);
    assert_eq!(image.look(0, MIB), None);
}

#[test]
fn only_what_will_be_overwritten_counts() {
    if !skipping::have_programs(&["sfdisk"]) {
        return;
    }
    let image = Image::new(16 * MIB);
    let script = "label: gpt\nstart=1MiB,size=4MiB\n";
    run("sfdisk", &["image"], image.directory.path(), script);
    let gpt = Some("a GPT partition table");
    assert_eq!(image.look(MIB, 4 * MIB), None, "the partition");
    assert_eq!(image.look(MIB, 15 * MIB).as_deref(), gpt, "to the end");
    assert_eq!(image.look(0, 1024).as_deref(), gpt, "the beginning");
    // The partition itself was a member of an array.
    let end = 5 * MIB - 8192;
    image.put(&[(end, &md(1, (end - MIB) / 512, false))]);
    assert_eq!(image.look(MIB, 4 * MIB).as_deref(), Some("a RAID member"));
    assert_eq!(image.look(MIB, 3 * MIB), None, "less than the partition");
    // As long as no byte of it is touched, what is behind does not matter.
    image.put(&[(8 * MIB + 0x8001, b"CD001")]);
    assert_eq!(image.look(8 * MIB, 0x8001), None);
    assert!(image.look(8 * MIB, 0x9000).is_some());
}

/// Boot sectors without a table are no reason to refuse.
#[test]
fn a_boot_sector_alone_is_nothing() {
    let image = Image::new(MIB);
    image.put(&[(0, &[0xEB, 0x3C]), (510, &[0x55, 0xAA])]);
    assert_eq!(image.look(0, MIB), None);
    image.put(&[(440, &[1, 2, 3, 4]), (446, &[0x33])]);
    assert_eq!(image.look(0, MIB), None, "code, no flag of a partition");
    image.put(&[(446, &[0x80])]);
    assert!(image.look(0, MIB).is_some());
    let image = Image::new(MIB);
    image.put(&[(508, &[0xDA, 0xBE])]);
    assert_eq!(image.look(0, MIB), None, "a Sun label with a wrong sum");
}
