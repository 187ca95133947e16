//! Images that once were read wrongly, or cost more than they may: made by
//! mke2fs, changed by debugfs.
#![allow(clippy::expect_used)] // Helpers of tests only.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use fs_core::{FileBlock, OpenOptions, Result, SeekTarget, Volume};

struct Image {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

/// An image with `/f` (20 KiB) and `/l`, a short symlink; `None` without the tools.
fn image(options: &[&str]) -> Option<Image> {
    if !skipping::have_programs(&["mke2fs", "debugfs"]) {
        return None;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let tree = directory.path().join("tree");
    std::fs::create_dir(&tree).expect("a directory");
    std::fs::write(tree.join("f"), vec![7; 20 << 10]).expect("a file");
    std::os::unix::fs::symlink("hello", tree.join("l")).expect("a symlink");
    let path = directory.path().join("image");
    run("mke2fs", &[&["-q", "-F"], options], &[&tree, &path], "64M");
    Some(Image {
        _directory: directory,
        path,
    })
}

fn run(program: &str, words: &[&[&str]], paths: &[&Path], last: &str) {
    let is_mke2fs = program == "mke2fs";
    let status = Command::new(program)
        .args(words.concat())
        .args(is_mke2fs.then_some("-d"))
        .args(paths)
        .args(is_mke2fs.then_some(last))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("the program runs");
    assert!(status.success(), "{program} {words:?}");
}

impl Image {
    fn change(&self, command: &str) {
        run("debugfs", &[&["-w", "-R", command]], &[&self.path], "");
    }

    fn open(&self) -> Result<Volume> {
        let options = images::OpenOptions {
            read_only: true,
            ..images::OpenOptions::default()
        };
        let device = images::open(&self.path, &options).expect("the image");
        Volume::open(Arc::clone(&device), &OpenOptions::default())
    }
}

/// A block of pointers that all lead to itself made a file of 2^30 runs: a look
/// for its first hole went on for hours.
#[test]
fn a_block_map_that_loops_is_refused() {
    let Some(image) = image(&["-t", "ext2", "-b", "1024"]) else {
        return;
    };
    let volume = image.open().expect("a sound image");
    let file = volume.resolve(b"/f", true).expect("the file");
    let fs_core::ExtentState::Written(block) = volume.map(&file, FileBlock(0)).expect("").state
    else {
        panic!("the file has no first block");
    };
    drop(volume);
    let pointers = (block.0 as u32).to_le_bytes().repeat(256);
    let device = std::fs::File::options().write(true).open(&image.path);
    let device = device.expect("the image");
    std::os::unix::fs::FileExt::write_all_at(&device, &pointers, block.0 * 1024).expect("a write");
    for place in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"] {
        image.change(&format!("sif /f block[{place}] {block}"));
    }
    for place in ["IND", "DIND", "TIND"] {
        image.change(&format!("sif /f block[{place}] {block}"));
    }
    image.change(&format!("sif /f size {}", 1u64 << 34));
    let volume = image.open().expect("only the file is damaged");
    let file = volume.resolve(b"/f", true).expect("the inode is sound");
    let error = volume.seek(&file, 0, SeekTarget::Hole).expect_err("a loop");
    assert!(error.is_corruption(), "{error}");
}

/// Linux counts the blocks of EA inodes in i_blocks; such a symlink was taken
/// for one whose target lies in blocks.
#[test]
fn a_short_symlink_may_have_blocks_under_ea_inode() {
    let Some(image) = image(&["-t", "ext4", "-O", "ea_inode"]) else {
        return;
    };
    image.change("sif /l blocks 40");
    let volume = image.open().expect("the image");
    let link = volume.resolve(b"/l", false).expect("the link");
    assert_eq!(volume.read_link(&link).expect("the target"), b"hello");
}

/// A name that leads to a deleted inode is damage; the inode was served.
#[test]
fn a_name_of_a_deleted_inode_is_damage() {
    let Some(image) = image(&["-t", "ext4"]) else {
        return;
    };
    image.change("sif /f links_count 0");
    let volume = image.open().expect("the image");
    assert!(
        volume
            .resolve(b"/f", true)
            .expect_err("deleted")
            .is_corruption()
    );
    assert!(volume.resolve(b"/l", false).is_ok());
}

/// With 1 KiB blocks and clusters the superblock is in block 1 of block 0's
/// group, and the first metagroup's descriptors follow it.
#[test]
fn metagroups_of_small_blocks_with_clusters() {
    let options = [
        "-t",
        "ext4",
        "-b",
        "1024",
        "-C",
        "16384",
        "-O",
        "bigalloc,meta_bg,^resize_inode",
    ];
    let Some(image) = image(&options) else {
        return;
    };
    let volume = image.open().expect("the image");
    assert_eq!(
        volume.resolve(b"/f", true).expect("the file").size_bytes(),
        20 << 10
    );
}

/// Groups of another size than the usual one have their backups elsewhere.
#[test]
fn backups_of_small_groups_are_found() {
    let Some(image) = image(&["-t", "ext4", "-b", "1024", "-g", "2048"]) else {
        return;
    };
    let device = std::fs::File::options().write(true).open(&image.path);
    let device = device.expect("the image");
    std::os::unix::fs::FileExt::write_all_at(&device, b"XX", 1300).expect("a write");
    let message = image.open().expect_err("a bad primary").to_string();
    assert!(message.contains("sb=2049"), "{message}");
}
