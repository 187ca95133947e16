//! What people do with a mounted file system, through the simulated kernel: names, attributes,
//! extended attributes, content in all ways. What is there afterwards the kernel's own ext4
//! tells.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use simulated_kernel::{Errno, Kernel, Whence};
use system_tests::guards::KernelMount;
use system_tests::skip::{self, Need};

use crate::rig::{Plan, Rig, VARIANTS};

const ROOT: u64 = 1;
const KIB: u64 = 1024;

/// Files by path, and what is in them.
type Contents = BTreeMap<&'static str, Vec<u8>>;

fn each(test: impl Fn(&Kernel) -> Result<Contents>) -> Result<()> {
    if !skip::allowed(&[Need::Root, Need::Tool("mke2fs"), Need::Tool("e2fsck")]) {
        return Ok(());
    }
    let kinds: [&[&str]; 5] = [
        &["-t", "ext4", "-b", "4096"],
        &["-t", "ext4", "-b", "1024"],
        &["-t", "ext4", "-b", "4096", "-O", "inline_data"],
        &["-t", "ext3", "-b", "1024"],
        &["-t", "ext4", "-b", "4096", "-O", "^has_journal"],
    ];
    for variant in VARIANTS {
        for kind in kinds {
            let rig = Rig::new(&Plan::new(variant).mke2fs(kind).image_bytes(32 << 20))?;
            let contents = test(&rig.kernel).with_context(|| format!("{variant:?}, {kind:?}"))?;
            rig.finish_with(|image, scratch| {
                let mount = KernelMount::read_only(image, &scratch.path("kernel"))?;
                let compared = compare(mount.path(), &contents);
                mount.unmount()?;
                compared
            })
            .with_context(|| format!("{variant:?}, {kind:?}"))?;
        }
    }
    Ok(())
}

fn compare(mounted: &Path, contents: &Contents) -> Result<()> {
    for (path, expected) in contents {
        let found = fs::read(mounted.join(path)).with_context(|| (*path).to_owned())?;
        let differs = found.iter().zip(expected).position(|(a, b)| a != b);
        ensure!(
            found.len() == expected.len() && differs.is_none(),
            "{path}: {} bytes for {}, different from {differs:?}",
            found.len(),
            expected.len()
        );
    }
    Ok(())
}

/// A file with this content, written through the page cache.
fn put(kernel: &Kernel, parent: u64, name: &'static str, content: &[u8]) -> Result<u64> {
    let (entry, file) = kernel.create(parent, name, 0o644, 1)?;
    kernel.write(entry.nodeid, 0, content)?;
    kernel.close(file)?;
    Ok(entry.nodeid)
}

fn pattern(len: u64, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 7) as u8 ^ seed).collect()
}

#[test]
fn names_come_move_and_go() -> Result<()> {
    each(|kernel| {
        let dir = kernel.mkdir(ROOT, "dir", 0o755)?.nodeid;
        let inner = kernel.mkdir(dir, "inner", 0o700)?.nodeid;
        let one = put(kernel, dir, "one", b"one")?;
        put(kernel, dir, "two", &pattern(100 * KIB, 2))?;
        put(kernel, inner, "gone", &pattern(20 * KIB, 3))?;
        kernel.link(one, ROOT, "link")?;
        kernel.symlink(dir, "symlink", "one")?;
        ensure!(kernel.readlink(kernel.lookup(dir, "symlink")?.nodeid)? == b"one");
        kernel.rename((dir, "two"), (inner, "two"), 0)?;
        const EXCHANGE: u32 = 2;
        kernel.rename((dir, "one"), (inner, "gone"), EXCHANGE)?;
        kernel.unlink(dir, "one")?;
        ensure!(kernel.lookup(dir, "one").err() == Some(Errno::NOENT));
        ensure!(kernel.rmdir(ROOT, "dir").err() == Some(Errno::NOTEMPTY));
        ensure!(kernel.mkdir(ROOT, "dir", 0o755).err() == Some(Errno::EXIST));
        let listed = kernel.list(inner, true)?;
        let names: Vec<&[u8]> = listed.iter().map(|one| one.name.as_slice()).collect();
        ensure!(names.contains(&&b"two"[..]) && names.contains(&&b"gone"[..]));
        Ok(BTreeMap::from([
            ("link", b"one".to_vec()),
            ("dir/inner/gone", b"one".to_vec()),
            ("dir/inner/two", pattern(100 * KIB, 2)),
        ]))
    })
}

#[test]
fn content_is_what_was_written_last() -> Result<()> {
    each(|kernel| {
        let (entry, file) = kernel.create(ROOT, "file", 0o644, 2)?;
        let node = entry.nodeid;
        let mut model = vec![0u8; 300 * KIB as usize];
        let mut put = |at: u64, bytes: &[u8]| {
            model[at as usize..][..bytes.len()].copy_from_slice(bytes);
        };
        kernel.write(node, 3, b"begin")?;
        put(3, b"begin");
        kernel.write_direct(node, 64 * KIB, &pattern(64 * KIB, 1))?;
        put(64 * KIB, &pattern(64 * KIB, 1));
        kernel.write(node, 100 * KIB + 17, &pattern(50_000, 2))?;
        put(100 * KIB + 17, &pattern(50_000, 2));
        kernel.map_write(node, 70 * KIB + 1, &pattern(9_000, 3))?;
        put(70 * KIB + 1, &pattern(9_000, 3));
        kernel.write(node, 299 * KIB, &pattern(KIB, 4))?;
        put(299 * KIB, &pattern(KIB, 4));
        ensure!(kernel.read(node, 0, 300 * KIB)? == model);
        ensure!(kernel.read_direct(node, 0, 300 * KIB)? == model);
        kernel.write_back(node)?;
        kernel.drop_pages(node)?;
        ensure!(kernel.read(node, 0, 300 * KIB)? == model);
        // Cut in a block, grown again: what was cut off is zero.
        kernel.truncate(node, 80 * KIB + 100)?;
        kernel.truncate(node, 200 * KIB)?;
        model.truncate(80 * KIB as usize + 100);
        model.resize(200 * KIB as usize, 0);
        ensure!(kernel.read(node, 0, 300 * KIB)? == model);
        kernel.fsync(node, file.fh)?;
        kernel.close(file)?;
        Ok(BTreeMap::from([("file", model)]))
    })
}

#[test]
fn ranges_are_allocated_punched_and_zeroed() -> Result<()> {
    const KEEP_SIZE: u32 = 1;
    const PUNCH: u32 = 3;
    const ZERO: u32 = 16;
    each(|kernel| {
        let (entry, file) = kernel.create(ROOT, "file", 0o644, 2)?;
        let (node, fh) = (entry.nodeid, file.fh);
        let mut model = pattern(200 * KIB, 9);
        kernel.write(node, 0, &model)?;
        kernel.fallocate(node, fh, PUNCH, 10_001, 50_000)?;
        model[10_001..60_001].fill(0);
        ensure!(kernel.read(node, 0, 200 * KIB)? == model);
        // Files without extents know neither.
        let has_extents = kernel.fallocate(node, fh, 0, 200 * KIB, 50 * KIB).is_ok();
        if has_extents {
            model.resize(250 * KIB as usize, 0);
            kernel.fallocate(node, fh, ZERO, 100_000, 30_000)?;
            model[100_000..130_000].fill(0);
            kernel.fallocate(node, fh, KEEP_SIZE, 250 * KIB, 100 * KIB)?;
        }
        ensure!(kernel.read(node, 0, 300 * KIB)? == model);
        kernel.write(node, 40_000, b"in the hole")?;
        model[40_000..40_011].copy_from_slice(b"in the hole");
        ensure!(kernel.seek(node, 20_000, Whence::Data)? <= 40_000);
        ensure!(kernel.seek(node, 12_288, Whence::Hole)? < 40_000);
        kernel.close(file)?;
        Ok(BTreeMap::from([("file", model)]))
    })
}

#[test]
fn files_without_a_name_live_while_they_are_open() -> Result<()> {
    each(|kernel| {
        let (entry, file) = kernel.create(ROOT, "unlinked", 0o600, 2)?;
        kernel.write(entry.nodeid, 0, &pattern(40 * KIB, 5))?;
        kernel.unlink(ROOT, "unlinked")?;
        kernel.write_direct(entry.nodeid, 40 * KIB, &pattern(8 * KIB, 6))?;
        ensure!(kernel.read(entry.nodeid, 0, 40 * KIB)? == pattern(40 * KIB, 5));
        kernel.close(file)?;
        kernel.forget(entry.nodeid)?;
        let (unnamed, file) = kernel.tmpfile(ROOT, 0o600, 2)?;
        kernel.write(unnamed.nodeid, 0, &pattern(5 * KIB, 7))?;
        kernel.link(unnamed.nodeid, ROOT, "named")?;
        kernel.close(file)?;
        Ok(BTreeMap::from([("named", pattern(5 * KIB, 7))]))
    })
}

#[test]
fn attributes_are_kept() -> Result<()> {
    if !skip::allowed(&[Need::Root, Need::Tool("mke2fs"), Need::Tool("e2fsck")]) {
        return Ok(());
    }
    for variant in VARIANTS {
        let rig = Rig::new(&Plan::new(variant))?;
        let kernel = &rig.kernel;
        let node = put(kernel, ROOT, "file", &pattern(10 * KIB, 1))?;
        kernel.setxattr(node, "user.colour", b"blue", 0)?;
        kernel.setxattr(node, "user.gone", b"soon", 0)?;
        kernel.removexattr(node, "user.gone")?;
        ensure!(kernel.getxattr(node, "user.colour")? == b"blue");
        ensure!(kernel.getxattr(node, "user.gone").err() == Some(Errno::NODATA));
        kernel.chmod(node, 0o100_640)?;
        kernel.chown(node, 1000, 1001)?;
        kernel.utimens(node, (1_000_000_000, 1), (1_100_000_000, 2))?;
        kernel.mknod(ROOT, "fifo", 0o010_644, 0)?;
        ensure!(kernel.statfs(ROOT)?.bsize == 4096);
        rig.finish_with(|image, scratch| {
            let mount = KernelMount::read_only(image, &scratch.path("kernel"))?;
            let found = fs::metadata(mount.path().join("file"))?;
            let fifo = fs::metadata(mount.path().join("fifo"))?;
            mount.unmount()?;
            ensure!(found.mode() & 0o7777 == 0o640, "{:o}", found.mode());
            ensure!((found.uid(), found.gid()) == (1000, 1001));
            ensure!((found.mtime(), found.mtime_nsec()) == (1_100_000_000, 2));
            ensure!((found.atime(), found.atime_nsec()) == (1_000_000_000, 1));
            ensure!(fifo.file_type().is_fifo());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_full_volume_says_so_and_stays_sound() -> Result<()> {
    each(|kernel| {
        let (entry, file) = kernel.create(ROOT, "large", 0o644, 2)?;
        let piece = pattern(256 * KIB, 8);
        let mut len = 0;
        let refused = loop {
            match kernel.write_direct(entry.nodeid, len, &piece) {
                Ok(()) => len += piece.len() as u64,
                Err(errno) => break errno,
            }
            ensure!(len < 64 << 20, "more than there is");
        };
        ensure!(refused == Errno::NOSPC, "{refused}");
        ensure!(len > 16 << 20, "only {len} bytes had room");
        kernel.truncate(entry.nodeid, 1 << 20)?;
        kernel.sync()?;
        kernel.write_direct(entry.nodeid, 1 << 20, &piece)?;
        kernel.close(file)?;
        let mut model = pattern(256 * KIB, 8).repeat(4);
        model.extend_from_slice(&piece);
        Ok(BTreeMap::from([("large", model)]))
    })
}

#[test]
fn a_frozen_volume_waits_and_a_swap_file_stays() -> Result<()> {
    each(|kernel| {
        let (entry, file) = kernel.create(ROOT, "file", 0o644, 2)?;
        kernel.write_direct(entry.nodeid, 0, &pattern(64 * KIB, 1))?;
        let mappings = kernel.swapon(entry.nodeid)?;
        ensure!(!mappings.is_empty());
        const PUNCH: u32 = 3;
        let punched = kernel.fallocate(entry.nodeid, file.fh, PUNCH, 0, 8 * KIB);
        ensure!(punched.err() == Some(Errno::TXTBSY));
        kernel.swapoff(entry.nodeid)?;
        kernel.fsync(entry.nodeid, file.fh)?;
        kernel.freeze(true)?;
        ensure!(kernel.read_direct(entry.nodeid, 0, 64 * KIB)? == pattern(64 * KIB, 1));
        kernel.freeze(false)?;
        kernel.write_direct(entry.nodeid, 0, &pattern(64 * KIB, 2))?;
        kernel.close(file)?;
        Ok(BTreeMap::from([("file", pattern(64 * KIB, 2))]))
    })
}
