//! Small valid images, made by mke2fs from a tree with one of everything.

#![allow(clippy::expect_used)] // Helpers of tests only.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A small generator of reproducible numbers (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    /// A sequence of its own for every seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number from 0 to `end - 1`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end
    }
}

/// How long a test of random input runs.
pub(crate) fn seconds_per_test() -> Duration {
    let seconds = std::env::var("EXTMAP_MUTATION_SECONDS")
        .ok()
        .and_then(|value| value.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

fn fill(tree: &Path) -> std::io::Result<()> {
    fs::create_dir_all(tree.join("dir/deep"))?;
    fs::write(tree.join("dir/file"), vec![7; 3000])?;
    fs::write(tree.join("tiny"), "inline")?;
    fs::write(tree.join("empty"), "")?;
    symlink("../tiny", tree.join("dir/deep/link"))?;
    symlink("x".repeat(300), tree.join("slow"))?;
    // Long names, so that one directory fills several blocks.
    fs::create_dir(tree.join("many"))?;
    for number in 0..120 {
        fs::write(tree.join(format!("many/{number:0>100}")), "")?;
    }
    // Many extents: a block of data in every fourth.
    let sparse = fs::File::create(tree.join("sparse"))?;
    for number in 0..60 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, &[1; 1024], number * 4096)?;
    }
    Ok(())
}

/// The bytes of an image of 4 MiB or a little more made with these options of
/// mke2fs; `None`, and a line that says so, if mke2fs is not there.
pub(crate) fn make_image(options: &[&str]) -> Option<Vec<u8>> {
    if !skipping::have_programs(&["mke2fs"]) {
        return None;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let tree = directory.path().join("tree");
    fill(&tree).expect("a tree to fill the image with");
    for name in ["dir/file", "tiny"] {
        set_xattrs(&tree.join(name));
    }
    let image = directory.path().join("image");
    let size = match options {
        _ if options.contains(&"65536") => "24M",
        _ if options.contains(&"4096") => "16M",
        _ => "6M",
    };
    let made = Command::new("mke2fs")
        .args(["-q", "-F"])
        .args(options)
        .arg("-d")
        .args([&tree, &image])
        .arg(size)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("mke2fs runs");
    assert!(made.success(), "mke2fs {options:?} fails");
    Some(fs::read(&image).expect("the image just made"))
}

/// Attributes of several sizes, where the host's file system takes them.
fn set_xattrs(path: &Path) {
    for (name, len) in [("user.a", 4), ("user.long", 150)] {
        let value = "v".repeat(len);
        let _ = rustix::fs::setxattr(
            path,
            name,
            value.as_bytes(),
            rustix::fs::XattrFlags::empty(),
        );
    }
}
