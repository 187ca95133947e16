//! Tar archives made by hand: what tar(1) does not write, and damage.

use anyhow::Result;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

const BLOCK: usize = 512;

/// A member of an archive, as its ustar header states it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its path, at most 100 bytes.
    pub name: Vec<u8>,
    /// Type flag: `0` file, `1` hard link, `2` symlink, `3` and `4` devices, `5`
    /// directory, `6` fifo.
    pub kind: u8,
    /// Permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Modification time.
    pub mtime: u64,
    /// A link's target, at most 100 bytes.
    pub link: Vec<u8>,
    /// A file's content.
    pub content: Vec<u8>,
    /// A device's major and minor number.
    pub device: (u32, u32),
    /// PAX records for this member.
    pub pax: Vec<(String, Vec<u8>)>,
}

impl Member {
    /// A member of this type.
    pub fn new(name: &str, kind: u8) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            kind,
            mode: if kind == b'5' { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            mtime: 1_600_000_000,
            link: Vec::new(),
            content: Vec::new(),
            device: (0, 0),
            pax: Vec::new(),
        }
    }

    /// A file.
    pub fn file(name: &str, content: &[u8]) -> Self {
        Self {
            content: content.to_vec(),
            ..Self::new(name, b'0')
        }
    }

    /// A directory.
    pub fn directory(name: &str) -> Self {
        Self::new(name, b'5')
    }

    /// A hard link to an earlier member.
    pub fn hard_link(name: &str, target: &str) -> Self {
        Self {
            link: target.as_bytes().to_vec(),
            ..Self::new(name, b'1')
        }
    }

    /// A symbolic link.
    pub fn symlink(name: &str, target: &str) -> Self {
        Self {
            link: target.as_bytes().to_vec(),
            ..Self::new(name, b'2')
        }
    }

    /// With one more PAX record.
    pub fn with_pax(mut self, key: &str, value: &[u8]) -> Self {
        self.pax.push((key.to_owned(), value.to_vec()));
        self
    }

    /// Its header, with a right checksum.
    pub fn header(&self) -> [u8; BLOCK] {
        let mut header = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}", self.mode).as_bytes());
        put(108, format!("{:07o}", self.uid).as_bytes());
        put(116, format!("{:07o}", self.gid).as_bytes());
        put(124, format!("{:011o}", self.content.len()).as_bytes());
        put(136, format!("{:011o}", self.mtime).as_bytes());
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        if matches!(self.kind, b'3' | b'4') {
            put(329, format!("{:07o}", self.device.0).as_bytes());
            put(337, format!("{:07o}", self.device.1).as_bytes());
        }
        seal(&mut header);
        header
    }
}

/// Gives a header the checksum its bytes have.
pub fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header[..BLOCK].iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

/// The members one after the other, with the two zero blocks of an end.
pub fn archive(members: &[Member]) -> Vec<u8> {
    let mut bytes = without_end(members);
    bytes.extend([0; 2 * BLOCK]);
    bytes
}

/// The members without the end's zero blocks.
pub fn without_end(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        if !member.pax.is_empty() {
            let mut extended = Member::new("PaxHeaders/x", b'x');
            for (key, value) in &member.pax {
                extended.content.extend(pax_record(key, value));
            }
            put(&mut bytes, &extended);
        }
        put(&mut bytes, member);
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, member: &Member) {
    bytes.extend(member.header());
    bytes.extend(&member.content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    let mut record = format!("{len} {key}=").into_bytes();
    record.extend(value);
    record.push(b'\n');
    record
}

/// Packs `dir` with tar(1) and these options, through `filter` (`cat`, `gzip`,
/// `zstd`, `xz`), into `path`.
pub fn pack(dir: &Path, path: &Path, options: &[&str], filter: &str) -> Result<()> {
    let mut tar = Command::new("tar")
        .args(["-c", "--sort=name", "--numeric-owner"])
        .args(options)
        .arg("-C")
        .arg(dir)
        .arg(".")
        .env("LC_ALL", "C")
        .stdout(Stdio::piped())
        // A socket is left out, and said.
        .stderr(Stdio::null())
        .spawn()?;
    let from = tar.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let status = Command::new(filter)
        .stdin(from)
        .stdout(File::create(path)?)
        .stderr(Stdio::null())
        .status()?;
    let packed = tar.wait()?;
    anyhow::ensure!(packed.success(), "tar: {packed}");
    anyhow::ensure!(status.success(), "{filter}: {status}");
    Ok(())
}
