//! The harness judged: a difference planted in a copy of an image is found, and
//! named by the fact that differs. Both sides are mounted by the kernel, so
//! nothing here depends on the program under test.

use anyhow::{Result, ensure};
use std::path::Path;
use system_tests::guards::KernelMount;
use system_tests::manifest::Depth;
use system_tests::matrix::{Recipe, View};
use system_tests::patch;
use system_tests::scratch::Scratch;
use system_tests::{debugfs, skip};

/// One image, and what is changed in the copy of it.
struct Bench {
    scratch: Scratch,
    image: std::path::PathBuf,
    view: View,
}

impl Bench {
    fn new() -> Result<Self> {
        let scratch = Scratch::new()?;
        let (image, _) = Recipe::named("block_4k")?.build(&scratch)?;
        let view = View::of_kernel(&image, &scratch.path("judge"), Depth::Full)?;
        Ok(Self {
            scratch,
            image,
            view,
        })
    }

    /// The differences after `change`.
    fn differences(&self, change: impl FnOnce(&Path) -> Result<()>) -> Result<Vec<String>> {
        let copy = self.scratch.copy(&self.image, "changed")?;
        change(&copy)?;
        let view = View::of_kernel(&copy, &self.scratch.path("other"), Depth::Full)?;
        Ok(self.view.tree.diff(&view.tree, "a", "b"))
    }

    /// Checks that `request` of debugfs is found as one difference of `fact`.
    fn plant(&self, request: &str, path: &str, fact: &str) -> Result<()> {
        let found = self.differences(|copy| debugfs::write(copy, &[request]))?;
        let wanted = format!("{path:?}: {fact}:");
        ensure!(
            found.iter().any(|line| line.starts_with(&wanted)),
            "{request}: {wanted} not in {found:?}"
        );
        Ok(())
    }
}

#[test]
fn an_unchanged_copy_shows_no_difference() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let bench = Bench::new()?;
    let found = bench.differences(|_| Ok(()))?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}

#[test]
fn planted_differences_of_inodes_are_found() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let bench = Bench::new()?;
    let path = "./sizes/0004096";
    for (field, value, fact) in [
        ("mode", "0100611", "mode"),
        ("mode", "0120644", "type"),
        ("uid", "4242", "uid"),
        ("gid", "4242", "gid"),
        ("links_count", "2", "nlink"),
        ("size", "4095", "size"),
        ("blocks", "80", "blocks"),
        ("generation", "17", "generation"),
        ("flags", "0x80040", "flags"),
        ("flags", "0x80040", "xflags"),
        ("mtime", "@1234567", "mtime"),
        ("atime", "@1234567", "atime"),
        ("ctime", "@1234567", "ctime"),
        ("crtime", "@1234567", "btime"),
        ("mtime_extra", "4", "mtime"),
        ("crtime_extra", "4", "btime"),
    ] {
        bench.plant(&format!("sif {} {field} {value}", &path[1..]), path, fact)?;
    }
    Ok(())
}

#[test]
fn planted_differences_of_names_and_attributes_are_found() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let bench = Bench::new()?;
    let only = |found: &[String], text: &str| found.iter().any(|line| line.contains(text));
    let found = bench.differences(|copy| debugfs::write(copy, &["unlink /sizes/0000059"]))?;
    ensure!(only(&found, "\"./sizes/0000059\": only in a"), "{found:?}");
    let found = bench.differences(|copy| debugfs::write(copy, &["mkdir /new"]))?;
    ensure!(only(&found, "\"./new\": only in b"), "{found:?}");
    bench.plant(
        "ea_set /attributes/short user.a c",
        "./attributes/short",
        "xattr.user.a",
    )?;
    bench.plant(
        "ea_rm /attributes/acl system.posix_acl_access",
        "./attributes/acl",
        "xattr.system.posix_acl_access",
    )?;
    bench.plant("ea_set /nested user.x 1", "./nested", "xattr.user.x")?;
    bench.plant("sif /nodes/c1-3 block[0] 0x104", "./nodes/c1-3", "rdev")?;
    bench.plant(
        "sif /links/fast block[0] 0x656e70",
        "./links/fast",
        "target",
    )?;
    Ok(())
}

#[test]
fn planted_differences_of_contents_are_found() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let bench = Bench::new()?;
    let flip = |copy: &Path, path: &str, block: u64, at: u64| {
        let device_block = debugfs::bmap(copy, path, block)?;
        patch::flip(copy, device_block * 4096 + at)
    };
    for (path, block, at) in [
        ("/sizes/0000001", 0, 0),
        ("/sizes/0700001", 170, 3680),
        ("/special/fragments", 2998, 4095),
    ] {
        let found = bench.differences(|copy| flip(copy, path, block, at))?;
        let wanted = format!("\".{path}\": hash:");
        ensure!(
            found.len() == 1 && found[0].starts_with(&wanted),
            "{path}: {found:?}"
        );
    }
    let hole = |copy: &Path| debugfs::write(copy, &["punch /sizes/0065536 3 5"]);
    let found = bench.differences(hole)?;
    for fact in ["data", "hash", "blocks"] {
        let wanted = format!("\"./sizes/0065536\": {fact}:");
        ensure!(
            found.iter().any(|line| line.starts_with(&wanted)),
            "{fact}: {found:?}"
        );
    }
    Ok(())
}

#[test]
fn planted_differences_of_the_file_system_are_found() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let bench = Bench::new()?;
    for request in [
        "ssv volume_name other",
        "ssv r_blocks_count 99",
        "ssv inodes_per_group 0",
    ] {
        let copy = bench.scratch.copy(&bench.image, "changed")?;
        debugfs::write(&copy, &[request])?;
        let same = View::of_kernel(&copy, &bench.scratch.path("other"), Depth::Full)
            .and_then(|view| bench.view.assert_same(&view));
        ensure!(same.is_err(), "{request} is not found");
    }
    Ok(())
}

#[test]
fn guards_undo_what_they_did_after_a_panic() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 8 << 20, &[])?;
    let dir = scratch.path("dir");
    let caught = std::panic::catch_unwind(|| {
        let mount = KernelMount::read_only(&image, &dir);
        assert!(mount.is_ok() && system_tests::guards::is_mounted(&dir));
        // Busy: the guard has to detach it.
        let held = std::fs::File::open(&dir);
        assert!(held.is_err(), "a planted panic");
    });
    ensure!(caught.is_err(), "no panic was planted");
    ensure!(!system_tests::guards::is_mounted(&dir), "still mounted");
    Ok(())
}
