//! Directories that no tool makes: an image of mke2fs with bytes changed by hand.

use std::process::Command;
use std::sync::Arc;

use images::{BlockDevice, Memory};

use crate::format::hash::Hasher;
use crate::format::htree::{self, Kind};
use crate::{ExtentState, FileBlock, OpenOptions, Volume};

const BLOCK_BYTES: usize = 1024;

/// An image with a hashed directory `/many`; `None` if there is no mke2fs.
fn image_with_hashed_directory() -> Option<Vec<u8>> {
    if !skipping::have_programs(&["mke2fs", "e2fsck"]) {
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    std::fs::create_dir_all(tree.join("many")).unwrap();
    for number in 0..120 {
        std::fs::write(tree.join(format!("many/{number:0>100}")), "").unwrap();
    }
    let image = directory.path().join("image");
    let made = Command::new("mke2fs")
        .args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-b",
            "1024",
            "-O",
            "^metadata_csum",
            "-d",
        ])
        .args([&tree, &image])
        .arg("4M")
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    // mke2fs -d makes linear directories; e2fsck -D hashes them.
    let hashed = Command::new("e2fsck")
        .args(["-fyD"])
        .arg(&image)
        .output()
        .unwrap();
    assert!(hashed.status.code() <= Some(1), "{hashed:?}");
    Some(std::fs::read(&image).unwrap())
}

fn open(image: Vec<u8>) -> Volume {
    let device: Arc<dyn BlockDevice> = Arc::new(Memory::new(image));
    Volume::open(device, &OpenOptions::default()).unwrap()
}

/// Every pair of the index leads to the same leaf and says that names of one
/// hash go on in the next: a look-up went round until the pairs ended, which
/// takes minutes in an index of three levels.
#[test]
fn a_hash_tree_that_repeats_a_leaf_is_refused() {
    let Some(mut image) = image_with_hashed_directory() else {
        return;
    };
    let volume = open(image.clone());
    let directory = volume.resolve(b"/many", true).unwrap();
    let ExtentState::Written(root) = volume.map(&directory, FileBlock(0)).unwrap().state else {
        panic!("a directory without a first block");
    };
    let at = root.0 as usize * BLOCK_BYTES;
    let block = &mut image[at..at + BLOCK_BYTES];
    assert!(
        htree::pairs(block, Kind::Root).len() > 1,
        "the directory is hashed"
    );
    let version = htree::root_info(block).unwrap().hash_version;
    let superblock = volume.superblock();
    let hasher = Hasher::new(version, superblock.hash_is_unsigned(), superblock.hash_seed);
    let hash = hasher.unwrap().hash(b"absent") | 1;
    let limit = (BLOCK_BYTES - 32) / 8;
    block[34..36].copy_from_slice(&(limit as u16).to_le_bytes());
    for pair in 0..limit {
        let place = 32 + pair * 8;
        if pair > 0 {
            block[place..place + 4].copy_from_slice(&hash.to_le_bytes());
        }
        block[place + 4..place + 8].copy_from_slice(&1u32.to_le_bytes());
    }
    let volume = open(image);
    let directory = volume.resolve(b"/many", true).unwrap();
    let error = volume.lookup(&directory, b"absent").unwrap_err();
    assert!(error.is_corruption(), "{error}");
}
