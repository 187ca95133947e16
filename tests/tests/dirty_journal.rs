//! Images with dirty journals made by the kernel: what is served after recovery
//! in memory is what the kernel shows after its own replay of a copy; the image
//! does not change by a bit.

use anyhow::{Result, ensure};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use system_tests::dirty::{self, Work, Writer};
use system_tests::guards::{FuseMount, KernelMount};
use system_tests::manifest::Depth;
use system_tests::matrix::View;
use system_tests::scratch::{Scratch, file_hash};
use system_tests::sys::Shutdown;
use system_tests::{debugfs, patch, skip, trees};

const LEN_BYTES: u64 = 64 << 20;

/// The two views, and that the image stayed as it was.
fn compare(scratch: &Scratch, image: &Path) -> Result<(View, View)> {
    let judged = dirty::view_after_replay(scratch, image)?;
    let stale = dirty::view_without_replay(scratch, image)?;
    let changed = stale.tree.diff(&judged.tree, "before", "after");
    ensure!(
        !changed.is_empty(),
        "the replay changes nothing: nothing is tested"
    );
    let before = file_hash(image)?;
    let mount = FuseMount::new(image, &scratch.path("fuse"))?;
    let seen = View::of(mount.path(), Depth::Full)?;
    mount.unmount()?;
    ensure!(before == file_hash(image)?, "the mount changed the image");
    Ok((judged, seen))
}

fn same(scratch: &Scratch, image: &Path, fast_commits: bool) -> Result<()> {
    let (mut judged, mut seen) = compare(scratch, image)?;
    if !fast_commits {
        return judged.assert_same(&seen);
    }
    // Fast commits record neither a directory's times nor free counts. The
    // kernel's replay sets these times, and the change time of a file whose name
    // it adds, to the moment of the replay, and leaves a directory made by the
    // last of them with one link and no block; here they have what the log says.
    // Nor does a directory grow here by names added in memory.
    for view in [&mut judged, &mut seen] {
        let tree = std::mem::take(&mut view.tree);
        view.tree = tree
            .without_in_directories(&["mtime", "nlink", "blocks", "size"])
            .without(&["ctime"]);
        let is_free_count = |fact: &str| fact.contains("free") || fact.contains("avail");
        view.statfs.retain(|fact, _| !is_free_count(fact));
    }
    judged.assert_same(&seen)
}

/// A file system with some files, mounted with `options`.
fn start(
    scratch: &Scratch,
    mke2fs: &[&str],
    options: &str,
) -> Result<(std::path::PathBuf, KernelMount)> {
    let source = scratch.make_dir("source")?;
    trees::base(&source, 0xd1, true)?;
    let text = source.to_string_lossy().into_owned();
    let mut args = mke2fs.to_vec();
    args.extend(["-d", &text]);
    let image = scratch.mke2fs("image", LEN_BYTES, &args)?;
    let mount = KernelMount::new(&image, &scratch.path("work"), options)?;
    Ok((image, mount))
}

fn makes_fast_commits(mke2fs: &[&str]) -> bool {
    mke2fs.iter().any(|arg| arg.contains("fast_commit"))
}

/// Work, then a power cut; `steps` operations.
fn after_power_cut(mke2fs: &[&str], options: &str, work: Work, steps: u64) -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let mut refusals = Vec::new();
    for seed in 5..10 {
        let scratch = Scratch::new()?;
        let copy = cut(&scratch, mke2fs, options, work, steps, seed)?;
        // Some of its own logs of fast commits the kernel refuses to replay.
        match dirty::replay(&scratch, &copy) {
            Err(error) if work == Work::FastCommits => refusals.push(format!("{error:#}")),
            Err(error) => return Err(error),
            Ok(_) => return same(&scratch, &copy, makes_fast_commits(mke2fs)),
        }
    }
    anyhow::bail!("the kernel is no judge: {refusals:#?}")
}

fn cut(
    scratch: &Scratch,
    mke2fs: &[&str],
    options: &str,
    work: Work,
    steps: u64,
    seed: u64,
) -> Result<std::path::PathBuf> {
    let (image, mount) = start(scratch, mke2fs, options)?;
    let mut writer = Writer::new(mount.path(), "writer", seed, work)?;
    for _ in 0..steps {
        writer.step()?;
    }
    if work == Work::Mixed {
        // Certainly in the log and nowhere else, wherever the last checkpoint was.
        for number in 0..3 {
            File::create(mount.path().join(format!("writer/last {number}")))?.sync_all()?;
        }
    }
    let copy = dirty::power_cut(scratch, &image, &mount, Shutdown::NoFlush)?;
    mount.unmount()?;
    Ok(copy)
}

/// The image copied while three writers work.
fn copied_while_busy(mke2fs: &[&str], options: &str, work: Work) -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let (image, mount) = start(&scratch, mke2fs, options)?;
    let copy = dirty::copy_under_writers(&scratch, &image, &mount, work)?;
    drop(mount);
    same(&scratch, &copy, makes_fast_commits(mke2fs))
}

macro_rules! power_cuts {
    ($($name:ident: $mke2fs:expr, $options:expr, $work:expr, $steps:expr;)*) => {
        mod power_cut {
            use super::*;
            $(#[test] fn $name() -> Result<()> { after_power_cut($mke2fs, $options, $work, $steps) })*
        }
    };
}

macro_rules! busy_copies {
    ($($name:ident: $mke2fs:expr, $options:expr, $work:expr;)*) => {
        mod busy_copy {
            use super::*;
            $(#[test] fn $name() -> Result<()> { copied_while_busy($mke2fs, $options, $work) })*
        }
    };
}

power_cuts! {
    usual: &["-b", "4096"], "rw", Work::Mixed, 300;
    block_1k: &["-b", "1024"], "rw", Work::Mixed, 300;
    neither_64bit_nor_csum: &["-b", "4096", "-O", "^64bit,^metadata_csum"], "rw", Work::Mixed, 300;
    csum_without_64bit: &["-b", "1024", "-O", "^64bit"], "rw", Work::Mixed, 300;
    ext3: &["-t", "ext3", "-b", "1024"], "rw", Work::Mixed, 300;
    journal_checksum: &["-b", "4096", "-O", "^metadata_csum"], "journal_checksum", Work::Mixed, 300;
    async_commit: &["-b", "4096"], "journal_async_commit,data=writeback", Work::Mixed, 300;
    async_commit_v1: &["-b", "4096", "-O", "^metadata_csum"],
        "journal_async_commit,data=writeback", Work::Mixed, 300;
    data_journal: &["-b", "4096"], "data=journal", Work::Mixed, 300;
    data_journal_no_csum: &["-b", "1024", "-O", "^metadata_csum"], "data=journal", Work::Mixed, 300;
    data_writeback: &["-b", "4096"], "data=writeback", Work::Mixed, 300;
    wrapped: &["-b", "1024", "-J", "size=1"], "rw", Work::Mixed, 900;
    wrapped_data_journal: &["-b", "4096", "-J", "size=4"], "data=journal", Work::Mixed, 900;
    inline_data: &["-b", "4096", "-O", "inline_data"], "rw", Work::Mixed, 300;
    bigalloc: &["-b", "1024", "-O", "bigalloc", "-C", "8192"], "rw", Work::Mixed, 300;
    meta_bg: &["-b", "1024", "-O", "meta_bg,^resize_inode"], "rw", Work::Mixed, 300;
    fast_commit: &["-b", "4096", "-O", "fast_commit"], "rw", Work::FastCommits, 60;
    fast_commit_long: &["-b", "4096", "-O", "fast_commit"], "rw", Work::FastCommits, 400;
    fast_commit_mixed: &["-b", "4096", "-O", "fast_commit"], "rw", Work::Mixed, 300;
    fast_commit_1k: &["-b", "1024", "-O", "fast_commit"], "rw", Work::FastCommits, 150;
    fast_commit_no_csum: &["-b", "4096", "-O", "fast_commit,^metadata_csum,^64bit"], "rw",
        Work::FastCommits, 150;
    fast_commit_inline: &["-b", "4096", "-O", "fast_commit,inline_data"], "rw",
        Work::FastCommits, 150;
}

busy_copies! {
    usual: &["-b", "4096"], "rw,commit=1", Work::Mixed;
    block_1k_small_journal: &["-b", "1024", "-J", "size=1"], "rw,commit=1", Work::Mixed;
    neither_64bit_nor_csum: &["-b", "4096", "-O", "^64bit,^metadata_csum"], "rw,commit=1", Work::Mixed;
    async_commit: &["-b", "4096"], "journal_async_commit,data=writeback,commit=1", Work::Mixed;
    data_journal: &["-b", "4096"], "data=journal,commit=1", Work::Mixed;
    fast_commit: &["-b", "4096", "-O", "fast_commit"], "rw,commit=1", Work::FastCommits;
}

/// A fast commit that deletes a file and gives its inode to a new one, which has
/// a hole where the old one had data: the old data must not show through.
#[test]
fn fast_commit_reuses_an_inode() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let (image, mount) = start(&scratch, &["-b", "4096", "-O", "fast_commit"], "rw")?;
    let old = mount.path().join("old");
    std::fs::write(&old, vec![b'o'; 4096])?;
    let old_inode = std::fs::metadata(&old)?.ino();
    rustix::fs::syncfs(File::open(mount.path())?)?;
    std::fs::remove_file(&old)?;
    let new = File::create(mount.path().join("new"))?;
    ensure!(
        new.metadata()?.ino() == old_inode,
        "the inode was not used again"
    );
    new.write_all_at(&[b'n'; 4096], 40_960)?;
    new.sync_all()?;
    let copy = dirty::power_cut(&scratch, &image, &mount, Shutdown::NoFlush)?;
    drop((new, mount));
    same(&scratch, &copy, true)
}

/// Where an orphan's blocks are counted is up to the reader; names, contents
/// and everything else are not.
fn same_but_for_free_space(scratch: &Scratch, image: &Path, orphan: &str) -> Result<()> {
    let (judged, seen) = compare(scratch, image)?;
    let masked = ["blocks", "mtime", "ctime"];
    let judged = judged.tree.without_at(orphan, &masked);
    let seen = seen.tree.without_at(orphan, &masked);
    judged.assert_same(&seen, "the kernel", "the mount")
}

/// Files that were deleted while open: gone after replay.
fn deleted_while_open(mke2fs: &[&str]) -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let (image, mount) = start(&scratch, mke2fs, "rw")?;
    let mut writer = Writer::new(mount.path(), "writer", 6, Work::Mixed)?;
    let mut held = Vec::new();
    for number in 0..40 {
        let path = mount.path().join(format!("deleted while open {number}"));
        std::fs::write(&path, vec![b'x'; 10_000])?;
        let file = File::open(&path)?;
        file.sync_all()?;
        std::fs::remove_file(&path)?;
        held.push(file);
        writer.step()?;
    }
    File::open(mount.path())?.sync_all()?;
    let copy = dirty::power_cut(&scratch, &image, &mount, Shutdown::FlushLog)?;
    drop((held, mount));
    let (judged, seen) = compare(&scratch, &copy)?;
    judged.assert_same(&seen)
}

#[test]
fn deleted_while_open_orphan_list() -> Result<()> {
    deleted_while_open(&["-b", "4096", "-O", "^orphan_file"])
}

#[test]
fn deleted_while_open_orphan_file() -> Result<()> {
    deleted_while_open(&["-b", "4096", "-O", "orphan_file"])
}

#[test]
fn deleted_while_open_orphan_file_1k_no_csum() -> Result<()> {
    deleted_while_open(&["-b", "1024", "-O", "orphan_file,^metadata_csum"])
}

#[test]
fn truncation_cut_short() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    for mke2fs in [
        &["-b", "4096"][..],
        &["-b", "1024", "-O", "^extents,^64bit"],
    ] {
        let scratch = Scratch::new()?;
        let (image, mount) = start(&scratch, mke2fs, "rw")?;
        mount.unmount()?;
        dirty::plant_truncation(&image, "/sizes/0700001", 12_345)?;
        same_but_for_free_space(&scratch, &image, "./sizes/0700001")?;
    }
    Ok(())
}

/// `norecovery` shows the tree as it lies there, as the kernel's `noload` does.
#[test]
fn norecovery_shows_the_unreplayed_tree() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let (image, mount) = start(&scratch, &["-b", "1024", "-J", "size=1"], "rw")?;
    let mut writer = Writer::new(mount.path(), "writer", 5, Work::Mixed)?;
    for _ in 0..1000 {
        writer.step()?;
    }
    let copy = dirty::power_cut(&scratch, &image, &mount, Shutdown::NoFlush)?;
    mount.unmount()?;
    let judged = dirty::view_without_replay(&scratch, &copy)?;
    let server = system_tests::guards::Server::chosen();
    let mount = FuseMount::with(server, &copy, &scratch.path("fuse"), "norecovery")?;
    let seen = View::of(mount.path(), Depth::Full)?;
    mount.unmount()?;
    let shown = judged.tree.clone().checksum_errors_as_euclean();
    let seen = seen.tree.checksum_errors_as_euclean();
    shown.assert_same(&seen, "the kernel", "the mount")?;
    let replayed = dirty::view_after_replay(&scratch, &copy)?;
    let changed = replayed.tree.diff(&judged.tree, "a", "b");
    ensure!(
        !changed.is_empty(),
        "the replay changes nothing: nothing is tested"
    );
    Ok(())
}

/// The kernel's counter of fast commits, so that the variants above are known
/// to make any.
#[test]
fn the_fast_commit_work_makes_fast_commits() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let (image, mount) = start(&scratch, &["-b", "4096", "-O", "fast_commit"], "rw")?;
    let mut writer = Writer::new(mount.path(), "writer", 5, Work::FastCommits)?;
    for _ in 0..60 {
        writer.step()?;
    }
    let image = dirty::power_cut(&scratch, &image, &mount, Shutdown::NoFlush)?;
    mount.unmount()?;
    // The fast-commit area is the end of the journal: its last blocks, as many
    // as s_num_fc_blks says (256 by default), begin with a head tag (9).
    let journal = debugfs::read(&image, "stat <8>")?;
    let blocks = debugfs::number_after(&journal, "Size:")? / 4096;
    let superblock = debugfs::bmap(&image, "<8>", 0)? * 4096;
    let header = patch::read(&image, superblock, 1024)?;
    let areas = u32::from_be_bytes([header[0x54], header[0x55], header[0x56], header[0x57]]);
    let area = if areas == 0 { 256 } else { u64::from(areas) };
    // The log proper ends one block before them.
    let first = debugfs::bmap(&image, "<8>", blocks - area + 1)? * 4096;
    let tag = patch::half(&patch::read(&image, first, 4)?, 0);
    ensure!(
        tag == 9,
        "no fast commit at the moment of the power cut (tag {tag})"
    );
    Ok(())
}
