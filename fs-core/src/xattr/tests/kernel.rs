//! Linux reads what we wrote and goes on from there, and we from what Linux wrote.

use std::path::Path;
use std::process::Command;

use rustix::fs::{XattrFlags, getxattr, setxattr};

use super::*;

/// A mounted image, taken off when dropped.
struct Mounted {
    directory: tempfile::TempDir,
}

impl Mounted {
    /// `None`, and a line that says so, if it cannot be mounted here.
    fn new(image: &Path) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-o", "loop"])
            .arg(image)
            .arg(directory.path())
            .output()
            .unwrap();
        if !mounted.status.success() {
            let why = String::from_utf8_lossy(&mounted.stderr).into_owned();
            skipping::record(&format!("mount: {}", why.trim()));
            return None;
        }
        Some(Self { directory })
    }

    fn file(&self, index: u32) -> std::path::PathBuf {
        self.directory.path().join(format!("f{index}"))
    }

    fn read(&self, index: u32, name: &str) -> Vec<u8> {
        let mut value = vec![0; 1 << 17];
        let len = getxattr(self.file(index), name, &mut value[..]).unwrap();
        value.truncate(len);
        value
    }

    fn set(&self, index: u32, name: &str, value: &[u8]) {
        setxattr(self.file(index), name, value, XattrFlags::empty()).unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.directory.path()).status();
    }
}

const SIZES: [usize; 5] = [0, 40, 500, 3000, 60_000];

/// Inodes are those of `-d`, but which file has which number is the directory's order.
fn in_order(fixture: &Fixture, count: u32) -> Vec<InodeNumber> {
    let store = &fixture.writer.store;
    (0..count)
        .map(|index| {
            crate::namespace::resolve(store, format!("/f{index}").as_bytes(), false)
                .unwrap()
                .number()
        })
        .collect()
}

fn round(options: &[&str], sizes: &[usize]) {
    const FILES: u32 = 6;
    let Some(fixture) = fixture(options, FILES) else {
        return;
    };
    let numbers = in_order(&fixture, FILES);
    for &number in &numbers {
        for (kind, &len) in sizes.iter().enumerate() {
            set_one(&fixture, number, &format!("user.n{kind}"), &value(3, len)).unwrap();
        }
    }
    let image = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(image.path(), fixture.close()).unwrap();
    let Some(mounted) = Mounted::new(image.path()) else {
        return;
    };
    for index in 0..FILES {
        for (kind, &len) in sizes.iter().enumerate() {
            assert!(mounted.read(index, &format!("user.n{kind}")) == value(3, len));
        }
    }
    // Shared ones are copied, own ones changed, the last of a kind given back.
    std::fs::remove_file(mounted.file(0)).unwrap();
    for (kind, &len) in sizes.iter().enumerate() {
        mounted.set(1, &format!("user.n{kind}"), &value(9, len));
        mounted.set(2, &format!("user.n{kind}"), b"small");
        mounted.set(3, &format!("user.more{kind}"), b"small");
    }
    drop(mounted);
    let bytes = std::fs::read(image.path()).unwrap();
    crate::testing::assert_clean(&bytes);
    let fixture = Fixture::of(bytes);
    let mut expected = Attributes::new();
    for (kind, &len) in sizes.iter().enumerate() {
        expected.insert(format!("user.n{kind}").into_bytes(), value(9, len));
    }
    assert!(read_all(&fixture, numbers[1]) == expected);
    for &number in &numbers[1..] {
        for kind in 0..sizes.len() {
            set_one(&fixture, number, &format!("user.n{kind}"), &value(5, 450)).ok();
            set_one(&fixture, number, &format!("user.n{kind}"), b"again").unwrap();
        }
    }
    for &number in &numbers[4..] {
        for kind in 0..sizes.len() {
            remove_one(&fixture, number, &format!("user.n{kind}")).unwrap();
        }
        assert!(read_all(&fixture, number).is_empty());
        let inode = fixture.writer.store.inode(number).unwrap();
        assert_eq!(inode.stored_blocks_512(), 0);
        assert_eq!(inode.xattr_block(), None);
    }
    fixture.close();
}

#[test]
fn blocks() {
    round(&["-I", "256", "-b", "4096"], &SIZES[..4]);
    round(&["-I", "128", "-b", "1024"], &SIZES[..3]);
}

#[test]
fn ea_inodes() {
    round(&["-I", "256", "-b", "1024", "-O", "ea_inode"], &SIZES);
    round(&["-I", "512", "-b", "4096", "-O", "ea_inode"], &SIZES);
}

#[test]
fn inline_data() {
    round(
        &["-I", "256", "-b", "1024", "-O", "inline_data"],
        &SIZES[..3],
    );
}
