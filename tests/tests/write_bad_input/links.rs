//! Too many links: 65,000 names of a file, 65,000 subdirectories.

use super::{clean, open, refused};
use anyhow::{Context, Result, ensure};
use fs_core::{InodeNumber, NewInode};
use rustix::io::Errno;
use system_tests::mkfs::TOOLS;
use system_tests::skip;
use system_tests::write::kinds::{KINDS, VolumeKind};

const ROOT: InodeNumber = InodeNumber::ROOT;
const LINKS_MAX: u32 = 65_000;

fn volume_of(size_kib: u64, mke2fs: &'static [&'static str]) -> VolumeKind {
    VolumeKind {
        size_kib,
        mke2fs,
        ..KINDS[0]
    }
}

#[test]
fn a_file_has_65000_names() -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let kind = volume_of(32 << 10, &["-b", "1024", "-J", "size=4"]);
    let (device, volume) = open(&kind.image()?)?;
    let directory = volume
        .create(ROOT, b"names", &NewInode::directory(0o755))?
        .number();
    let file = volume
        .create(ROOT, b"file", &NewInode::file(0o644))?
        .number();
    for number in 1..LINKS_MAX {
        volume.link(file, directory, format!("{number}").as_bytes())?;
    }
    let one_more = || volume.link(file, directory, b"one more");
    refused("name 65,001", one_more(), Errno::MLINK)?;
    ensure!(volume.inode(file)?.links() == LINKS_MAX, "links");
    volume.unlink(directory, b"77")?;
    one_more()?;
    refused(
        "name 65,001",
        volume.link(file, ROOT, b"again"),
        Errno::MLINK,
    )?;
    volume.close()?;
    clean(&device)
}

/// Makes subdirectories until that fails, or there are so many.
fn subdirectories(kind: &VolumeKind, count: u32, is_limited: bool) -> Result<()> {
    let (device, volume) = open(&kind.image()?)?;
    let new = NewInode::directory(0o755);
    let directory = volume.create(ROOT, b"many", &new)?.number();
    for number in 0..count {
        volume
            .create(directory, format!("{number}").as_bytes(), &new)
            .with_context(|| format!("subdirectory {number}, {:?}", volume.statfs()))?;
    }
    let links = volume.inode(directory)?.links();
    if is_limited {
        ensure!(links == LINKS_MAX, "{links} links");
        let one_more = volume.create(directory, b"one more", &new);
        refused("one more", one_more, Errno::MLINK)?;
        volume.create(ROOT, b"other", &new)?;
        let moved = volume.rename(
            ROOT,
            b"other",
            directory,
            b"x",
            fs_core::RenameMode::Replace,
        );
        refused("moved there", moved, Errno::MLINK)?;
        volume.rmdir(directory, b"5")?;
        volume.create(directory, b"one more", &new)?;
    } else {
        ensure!(links == 1, "{links} links, nobody should count");
        volume.rmdir(directory, b"5")?;
        let links = volume.inode(directory)?.links();
        ensure!(links == 1, "{links} links, nobody should count");
    }
    volume.close()?;
    clean(&device)
}

#[test]
fn a_directory_has_64998_subdirectories_without_dir_nlink() -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let kind = volume_of(
        48 << 10,
        &[
            "-b",
            "1024",
            "-O",
            "inline_data,^dir_nlink",
            "-N",
            "66000",
            "-J",
            "size=4",
        ],
    );
    subdirectories(&kind, LINKS_MAX - 2, true)
}

#[test]
fn a_directory_has_more_with_dir_nlink() -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let kind = volume_of(
        48 << 10,
        &[
            "-b",
            "1024",
            "-O",
            "inline_data",
            "-N",
            "66000",
            "-J",
            "size=4",
        ],
    );
    subdirectories(&kind, LINKS_MAX + 100, false)
}
