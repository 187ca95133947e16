//! Archives nobody should make, built byte by byte.

use std::fs::File;
use std::io::{Seek, Write};
use std::time::{Duration, Instant};

use mkfs::tree::tar::{self, TarInput};
use mkfs::{NodeKind, ScanOptions, Tree};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::describe::{describe, find};

/// Writes members as ustar.
#[derive(Default, Clone)]
struct Writer(Vec<u8>);

impl Writer {
    fn member(mut self, kind: u8, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        header[108..116].copy_from_slice(b"0000001\0");
        header[116..124].copy_from_slice(b"0000002\0");
        let size = format!("{:011o}\0", content.len());
        header[124..136].copy_from_slice(size.as_bytes());
        header[136..148].copy_from_slice(b"00000000007\0");
        header[156] = kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        sign(&mut header);
        self.0.extend(header);
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.member(b'0', name, "", content)
    }

    fn directory(self, name: &str) -> Self {
        self.member(b'5', name, "", b"")
    }

    fn pax(self, keyword: &str, value: &[u8]) -> Self {
        let record = record(keyword, value);
        self.member(b'x', "pax", "", &record)
    }

    /// The whole archive, with the mark at its end.
    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A record that states its own length.
fn record(keyword: &str, value: &[u8]) -> Vec<u8> {
    let rest = keyword.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} {keyword}=").into_bytes();
    record.extend(value);
    record.push(b'\n');
    record
}

/// Puts the right checksum into a header.
fn sign(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header[..512].iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn read(bytes: &[u8]) -> Result<Tree, String> {
    let mut file = File::from(memfd_create("archive", MemfdFlags::CLOEXEC).expect("memory"));
    file.write_all(bytes).expect("writes");
    file.rewind().expect("rewinds");
    let input = TarInput::File {
        file,
        name: "archive".into(),
    };
    let options = ScanOptions::default();
    tar::read(input, &options, &std::env::temp_dir(), &()).map_err(|error| error.to_string())
}

fn new() -> Writer {
    Writer::default()
}

#[test]
fn what_has_no_place_is_refused_by_name() {
    let long = "n".repeat(256);
    let cases = [
        (new().file("../up", b""), "../up", ".."),
        (new().file("a/../../up", b""), "a/../../up", ".."),
        (new().file("/etc/x", b""), "/etc/x", "absolute"),
        (new().file("", b""), "member", "no name"),
        (
            new().pax("path", long.as_bytes()).file("n", b""),
            "nnn",
            "255",
        ),
        (
            new().file("a", b"").file("a/b", b""),
            "a/b",
            "not a directory",
        ),
        (
            new().member(b'2', "s", "/tmp", b"").file("s/x", b""),
            "s/x",
            "symbolic link",
        ),
        (new().file("d/x", b"").file("d", b""), "d", "not empty"),
        (
            new().member(b'1', "l", "gone", b""),
            "l",
            "gone, which is missing",
        ),
        (new().member(b'1', "l", "l", b""), "l", "missing"),
        (
            new()
                .member(b'1', "l", "m", b"")
                .member(b'1', "m", "l", b""),
            "l",
            "missing",
        ),
        (
            new().directory("d").member(b'1', "l", "d", b""),
            "l",
            "directory",
        ),
        (
            new().member(b'1', "l", "d", b"").directory("d"),
            "l",
            "directory",
        ),
        (
            new().member(b'1', "l", "../x", b""),
            "the member l: is a hard link whose target ../x",
            "..",
        ),
        (new().member(b'2', "s", "", b""), "s", "empty"),
        (
            new()
                .pax("linkpath", &[b't'; 4096])
                .member(b'2', "s", "", b""),
            "s",
            "4095",
        ),
        (new().member(b'9', "odd", "", b""), "odd", "type"),
        (
            new().member(b'M', "volume", "", b""),
            "volume",
            "multi-volume",
        ),
        (new().file(".", b""), ".", "not a directory"),
        (
            new().pax("uid", b"-1").file("f", b""),
            "the member f",
            "uid",
        ),
        (
            new().pax("uid", b"4294967296").file("f", b""),
            "the member f",
            "uid",
        ),
        (
            new().pax("size", b"99999999999999999999").file("f", b""),
            "the member f",
            "size",
        ),
        (
            new().pax("size", b"9223372036854775807").file("f", b""),
            "f",
            "size",
        ),
        (new().pax("size", b"5000").file("f", b""), "f", "cut off"),
        (
            new().pax("mtime", b"soon").file("f", b""),
            "the member f",
            "mtime",
        ),
        (
            new().pax("hdrcharset", b"EBCDIC").file("f", b""),
            "the member f",
            "EBCDIC",
        ),
        (
            new()
                .pax("SCHILY.acl.access", b"user:lisa:rwx")
                .file("f", b""),
            "f",
            "lisa",
        ),
        (
            new().member(b'x', "pax", "", b"12 path=a=b").file("f", b""),
            "the member f",
            "malformed",
        ),
        (
            new()
                .file("g", b"")
                .member(b'x', "pax", "", &vec![b' '; (1 << 20) + 1]),
            "the extended header at byte 512",
            "1 MiB",
        ),
        (
            new()
                .member(b'x', "pax", "", &vec![b' '; (1 << 20) + 1])
                .file("f", b""),
            "the member f",
            "1 MiB",
        ),
        (
            new()
                .member(
                    b'x',
                    "pax",
                    "",
                    &[record("uid", b"-1"), record("path", b"real")].concat(),
                )
                .file("f", b""),
            "the member real",
            "uid",
        ),
        (
            new()
                .pax("uid", b"-1")
                .member(b'L', "long", "", b"a long name\0")
                .file("f", b""),
            "the member a long name",
            "uid",
        ),
        (
            new().pax("uid", b"-1"),
            "the extended header at byte 0",
            "uid",
        ),
        (
            new().member(b'g', "all", "", &record("uid", b"-1")),
            "the extended header at byte 0",
            "uid",
        ),
        (new().pax("uid", b"1"), "archive", "extended header"),
        (
            new().pax("uid", b"1").pax("uid", b"1").file("f", b""),
            "the member f",
            "two extended headers",
        ),
        (
            new().member(b'g', "all", "", &record("path", b"x")),
            "the extended header at byte 0",
            "path",
        ),
        (
            new()
                .pax("SCHILY.devmajor", b"4096")
                .member(b'3', "c", "", b""),
            "c",
            "device",
        ),
    ];
    for (writer, name, why) in cases {
        let error = read(&writer.end()).expect_err(why);
        assert!(
            error.contains(name) && error.contains(why),
            "{name}, {why}: {error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn what_is_no_archive_is_refused() {
    let good = new().file("a", b"content").end();
    assert!(read(&good).is_ok());
    let mut lone = new().file("a", b"").0;
    lone.extend([0; 512]);
    assert!(
        read(&lone).is_ok(),
        "one block of zeros at the very end is enough"
    );
    lone.extend(new().file("b", b"").end());
    let mut damaged = new().file("a", b"").file("b", b"").end();
    damaged[512] = b'c';
    for (bytes, why) in [
        (&b""[..], "empty"),
        (b"hello", "cut off"),
        (&[b'x'; 2048], "not a tar archive"),
        (b"BZh91AY", "bzip2"),
        (b"\x04\x22\x4d\x18abc", "lz4"),
        (b"\x1f\x8bgarbage", "gzip data cannot be decompressed"),
        (
            b"\x28\xb5\x2f\xfdgarbage",
            "zstd data cannot be decompressed",
        ),
        (b"\xfd7zXZ\0garbage", "xz data cannot be decompressed"),
        (&lone, "lone block of zeros at byte 512"),
        (&damaged, "damaged header at byte 512"),
    ] {
        let error = read(bytes).expect_err(why);
        assert!(
            error.starts_with("archive: ") && error.contains(why),
            "{why}: {error}"
        );
    }
}

#[test]
fn an_archive_cut_off_anywhere_is_refused() {
    let whole = new()
        .directory("d")
        .file("d/f", &[1; 700])
        .pax("mtime", b"5")
        .file("g", b"x");
    let end = whole.0.len();
    let whole = whole.end();
    for length in 0..=whole.len() {
        let read = read(&whole[..length]);
        let is_marked = length == end + 512 || length == whole.len();
        assert_eq!(read.is_ok(), is_marked, "{length} of {}", whole.len());
    }
}

#[test]
fn later_members_replace_earlier_ones() {
    let archive = new()
        .file("f", b"old")
        .file("f", b"newer")
        .file("d/x", b"x")
        .directory("d")
        .directory("e")
        .file("e", b"now a file")
        .file("t", b"now a directory")
        .directory("t")
        .file("t/in", b"")
        .file("kept", b"kept")
        .member(b'1', "link", "kept", b"")
        .file("kept", b"other")
        .member(b'1', "early", "./late", b"")
        .member(b'1', "earlier", "early", b"")
        .file("late", b"late")
        .member(b'1', "late", "late", b"")
        .end();
    let tree = read(&archive).expect("reads");
    let size = |name| match &find(&tree, name).expect(name).kind {
        NodeKind::File(content) => content.size_bytes,
        _ => panic!("{name} is a file"),
    };
    assert_eq!(
        [size("f"), size("e"), size("link"), size("kept")],
        [5, 10, 4, 5]
    );
    assert_eq!(find(&tree, "d").expect("d").attributes.uid, 1);
    assert_eq!(size("d/x"), 1);
    assert_eq!(size("t/in"), 0);
    let lines = describe(&tree);
    assert!(lines["./late"].ends_with("as ./earlier"));
    assert!(lines["./early"].ends_with("as ./earlier"));
    // Root, d, d/x, e, earlier, f, kept, link, t, t/in: what was replaced is gone.
    assert_eq!(tree.nodes.len(), 10);
}

#[test]
fn records_decide_over_headers() {
    let mut all = record("path", b"./dir//real/");
    all.extend(record("uid", b"99"));
    all.extend(record("atime", b"3.25"));
    all.extend(record("LIBARCHIVE.xattr.user.a%20b", b"AAE"));
    all.extend(record("RHT.security.selinux", b"ctx"));
    all.extend(record("unknown.keyword", b"passed over"));
    all.extend(record("gid", b""));
    let archive = new()
        .member(b'g', "all", "", &record("gid", b"55"))
        .member(b'x', "pax", "", &all)
        .directory("made up")
        .file("plain", b"")
        .end();
    let tree = read(&archive).expect("reads");
    let attributes = &find(&tree, "dir/real").expect("present").attributes;
    // An empty value takes back the global one: the header's holds.
    assert_eq!((attributes.uid, attributes.gid), (99, 2));
    let accessed = attributes.accessed.expect("stated");
    assert_eq!((accessed.seconds, accessed.nanos), (3, 250_000_000));
    let xattrs: Vec<_> = attributes
        .xattrs
        .iter()
        .map(|x| (&*x.name, &*x.value))
        .collect();
    let expected: [(&[u8], &[u8]); 2] = [(b"security.selinux", b"ctx\0"), (b"user.a b", b"\0\x01")];
    assert_eq!(xattrs, expected);
    assert_eq!(find(&tree, "plain").expect("present").attributes.gid, 55);
    let implied = &find(&tree, "dir").expect("present").attributes;
    assert_eq!((implied.permissions, implied.uid), (0o755, 0));
}

/// A stream that is no archive, or never ends, does not fill the disk.
#[test]
fn endless_streams_end() {
    for (device, why) in [
        ("/dev/zero", "is not a tar archive: it holds only zeros"),
        ("/dev/urandom", "not a tar archive"),
    ] {
        let input = TarInput::Path(device.into());
        let read = tar::read(input, &ScanOptions::default(), &std::env::temp_dir(), &());
        let error = read.expect_err("endless").to_string();
        assert!(error.contains(why), "{error}");
    }
}

/// The temporary file's disk is named, not the archive.
#[test]
fn a_full_disk_is_named() {
    let scratch = tempfile::tempdir().expect("a directory can be made");
    let path = scratch.path().to_str().expect("text");
    let mount = ["-t", "tmpfs", "-o", "size=64k", "none", path];
    let output = std::process::Command::new("mount").args(mount).output();
    if !output.is_ok_and(|output| output.status.success()) {
        skipping::record("a tmpfs cannot be mounted (root is needed)");
        return;
    }
    let archive = new().file("large", &vec![1; 1 << 20]).end();
    let archive = zstd::encode_all(archive.as_slice(), 1).expect("compresses");
    let mut file = tempfile::tempfile().expect("a file can be made");
    file.write_all(&archive).expect("writes");
    file.rewind().expect("rewinds");
    let name = "archive".into();
    let input = TarInput::File { file, name };
    let read = tar::read(input, &ScanOptions::default(), scratch.path(), &());
    crate::source::run("umount", &[path], "/".as_ref());
    let mkfs::Error::Source {
        path: named,
        source,
    } = read.expect_err("full")
    else {
        panic!("the disk failed");
    };
    assert_eq!(named, scratch.path());
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
}

fn sample() -> Vec<u8> {
    let mut sparse = record("GNU.sparse.major", b"1");
    sparse.extend(record("GNU.sparse.minor", b"0"));
    sparse.extend(record("GNU.sparse.name", b"sparse"));
    sparse.extend(record("GNU.sparse.realsize", b"9000"));
    let mut content = b"2\n0\n512\n8192\n10\n".to_vec();
    content.resize(512 + 522, 9);
    let mut old = new().member(b'S', "old", "", &[5; 522]).0;
    old[257..265].copy_from_slice(b"ustar  \0");
    old[345..512].fill(0);
    for (at, number) in [(386, 0), (398, 512), (410, 1024), (422, 10), (483, 2000)] {
        old[at..at + 12].copy_from_slice(format!("{number:011o}\0").as_bytes());
    }
    sign(&mut old);
    let acl = b"user::rw-,user:1:r--,group::r--,mask::rw-,other::---";
    let mut archive = new()
        .directory("d/")
        .pax("SCHILY.acl.access", acl)
        .file("d/f", &[1; 600])
        .member(b'L', "long", "", b"d/a long name\0")
        .file("cut", b"x")
        .member(b'2', "s", "target", b"")
        .member(b'1', "h", "d/f", b"")
        .member(b'x', "pax", "", &sparse)
        .file("made up", &content);
    archive.0.extend(old);
    archive.end()
}

/// Numbers below a limit, the same ones in every run.
fn generator() -> impl FnMut(usize) -> usize {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).expect("small")
    }
}

#[test]
fn mutations_of_compressed_archives_are_harmless() {
    let original = sample();
    let expected = describe(&read(&original).expect("the original is good"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&original).expect("compresses");
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&original).expect("compresses");
    // Without its checksum a zstd frame cannot tell all damage.
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).expect("starts");
    zstd.include_checksum(true).expect("has checksums");
    zstd.write_all(&original).expect("compresses");
    let compressed = [
        gzip.finish().expect("compresses"),
        xz.finish().expect("compresses"),
        zstd.finish().expect("compresses"),
    ];
    let mut random = generator();
    for original in compressed {
        assert!(read(&original).is_ok());
        let mut refused = 0;
        for _ in 0..2000 {
            let mut bytes = original.clone();
            let at = random(bytes.len());
            bytes[at] ^= 1 << random(8);
            match read(&bytes) {
                // Some bits mean nothing: the time in gzip's header.
                Ok(tree) => assert_eq!(describe(&tree), expected),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 500, "{refused}");
    }
}

/// Tape drives fill their last block with zeros; gzip and GNU tar accept them.
#[test]
fn zeros_behind_compressed_data_are_padding() {
    let archive = sample();
    let expected = describe(&read(&archive).expect("reads"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&archive).expect("compresses");
    let gzip = gzip.finish().expect("compresses");
    let zstd = zstd::encode_all(archive.as_slice(), 1).expect("compresses");
    // Nothing, with a frame to be passed over in front.
    let skipped = [b"\x50\x2A\x4D\x18\x03\0\0\0abc", zstd.as_slice()].concat();
    for whole in [gzip, zstd, skipped] {
        for zeros in [1, 511, 1 << 20] {
            let padded = [whole.as_slice(), &vec![0; zeros]].concat();
            assert_eq!(describe(&read(&padded).expect("reads")), expected);
            let more = [padded.as_slice(), whole.as_slice()].concat();
            let error = read(&more).expect_err("something behind the padding");
            assert!(error.contains("zeros behind its end"), "{error}");
        }
        let rubbish = [whole.as_slice(), b"rubbish"].concat();
        read(&rubbish).expect_err("something behind the end");
        let endless = [whole.as_slice(), &vec![0; (64 << 20) + 1]].concat();
        let error = read(&endless).expect_err("too much");
        assert!(error.contains("64 MiB of zeros"), "{error}");
    }
}

#[test]
fn mutations_are_harmless() {
    let original = sample();
    let lines = describe(&read(&original).expect("the original is good"));
    assert!(lines["./sparse"].starts_with("file of 9000 [(0, 512), (8192, 10)]"));
    assert!(lines["./old"].starts_with("file of 2000 [(0, 512), (1024, 10)]"));
    let mut random = generator();
    let interesting = [
        0, b'0', b'7', b'9', b'/', b'.', 0x80, 0xFF, b'\n', b'=', b' ', b',',
    ];
    let (mut accepted, mut refused) = (0, 0);
    let mut slowest = Duration::ZERO;
    for _ in 0..100_000 {
        let mut bytes = original.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            bytes[at] = match random(3) {
                0 => interesting[random(interesting.len())],
                1 => bytes[at] ^ 1 << random(8),
                _ => random(256) as u8,
            };
            // Half of the changes to headers are made look honest.
            let block = at / 512 * 512;
            if random(2) == 0 && bytes[block + 257..].starts_with(b"ustar") {
                sign(&mut bytes[block..block + 512]);
            }
        }
        if random(10) == 0 {
            bytes.truncate(random(bytes.len()));
        }
        let start = Instant::now();
        match read(&bytes) {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
        slowest = slowest.max(start.elapsed());
    }
    assert!(accepted > 1000 && refused > 1000, "{accepted} {refused}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}
