//! Hostile images: valid ones with random bytes changed. Whatever they say, the
//! library answers or refuses; it does not panic, loop or take memory without bound.
//!
//! Seeded, so that a failure can be repeated: it prints the seed. Each image
//! runs for `EXTMAP_MUTATION_SECONDS` (default 3).

#![allow(clippy::expect_used)] // Helpers of tests only.

mod common;

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Random, make_image, seconds_per_test};
use fs_core::{
    FileBlock, FileType, GroupNumber, Inode, InodeNumber, OpenOptions, Recovery, SeekTarget, Volume,
};
use images::{BlockDevice, Memory};

/// No valid test image has this many names; a damaged one may pretend to.
const NAMES_MAX: usize = 2000;

/// Uses every part of the interface on everything that can be found.
fn exercise(volume: &Volume) {
    let _ = volume.statfs();
    let _ = volume.journal();
    for group in 0..volume.group_count().min(8) {
        let _ = volume.group(GroupNumber(group));
        let _ = volume.descriptor_block(GroupNumber(group));
        let _ = volume.free_block_runs(GroupNumber(group));
        let _ = volume.free_inode_runs(GroupNumber(group));
    }
    for number in 1..40 {
        if let Ok(inode) = volume.inode(InodeNumber(number)) {
            exercise_inode(volume, &inode);
        }
    }
    let _ = volume.resolve(b"/dir/deep/link/../file", true);
}

fn exercise_inode(volume: &Volume, inode: &Inode) {
    for name in volume.xattr_names(inode).unwrap_or_default() {
        let _ = volume.xattr(inode, &name);
    }
    let _ = inode.device_number();
    match inode.file_type() {
        FileType::Directory => exercise_directory(volume, inode),
        FileType::Symlink => {
            let _ = volume.read_link(inode);
        }
        _ => {
            let mut buffer = [0; 5000];
            let _ = volume.read(inode, &mut buffer, 0);
            let _ = volume.read(inode, &mut buffer, inode.size_bytes().saturating_sub(3000));
            let _ = volume.seek(inode, 1, SeekTarget::Hole);
            let _ = volume.seek(inode, 1, SeekTarget::Data);
            let _ = volume.map(inode, FileBlock(0));
            let _ = volume.map(inode, FileBlock(u64::from(u32::MAX)));
        }
    }
}

fn exercise_directory(volume: &Volume, directory: &Inode) {
    let mut names = Vec::new();
    let _ = volume.read_dir(directory, 0, &mut |entry| {
        names.push((entry.name.to_vec(), entry.next_cookie));
        if names.len() < NAMES_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    for (name, cookie) in names.iter().take(50) {
        let _ = volume.child(directory, name);
        let _ = volume.read_dir(directory, *cookie, &mut |_| ControlFlow::Break(()));
    }
    let _ = volume.lookup(directory, b"no such name");
}

/// Blocks that are not all zeros: there the metadata is.
fn used_kib(image: &[u8]) -> Vec<usize> {
    (0..image.len() / 1024)
        .filter(|kib| image[kib * 1024..][..1024].iter().any(|&byte| byte != 0))
        .collect()
}

/// Changes a few bytes; gives what was there before.
fn mutate(image: &Memory, used: &[usize], random: &mut Random) -> Vec<(u64, u8)> {
    let mut before = Vec::new();
    for _ in 0..1 + random.below(8) {
        // Superblock, descriptors and inode tables come first: favour them.
        let which = random.below(used.len()).min(random.below(used.len()));
        let at = (used[which] * 1024 + random.below(1024)) as u64;
        let mut byte = [0];
        image.read_at(&mut byte, at).expect("a byte of the image");
        before.push((at, byte[0]));
        byte[0] = match random.below(4) {
            0 => 0,
            1 => 0xFF,
            2 => byte[0] ^ (1 << random.below(8)),
            _ => random.next() as u8,
        };
        image.write_at(&byte, at).expect("a byte of the image");
    }
    before
}

fn open_and_exercise(device: &Arc<dyn BlockDevice>) {
    for recovery in [Recovery::InMemory, Recovery::None] {
        let options = OpenOptions {
            recovery,
            cache_bytes: 1 << 20,
            ..OpenOptions::default()
        };
        if let Ok(volume) = Volume::open(Arc::clone(device), &options) {
            exercise(&volume);
        }
    }
}

fn run(options: &[&str]) {
    let Some(valid) = make_image(options) else {
        return;
    };
    let used = used_kib(&valid);
    let image = Arc::new(Memory::new(valid));
    let device: Arc<dyn BlockDevice> = Arc::clone(&image) as _;
    Volume::open(Arc::clone(&device), &OpenOptions::default()).expect("the valid image opens");
    let end = Instant::now() + seconds_per_test();
    let mut seed = 0;
    while Instant::now() < end {
        seed += 1;
        let before = mutate(&image, &used, &mut Random::new(seed));
        let start = Instant::now();
        let exercise = AssertUnwindSafe(|| open_and_exercise(&device));
        let outcome = std::panic::catch_unwind(exercise);
        assert!(outcome.is_ok(), "seed {seed} of {options:?} panics");
        let (took, limit) = (start.elapsed(), Duration::from_secs(20));
        assert!(took < limit, "seed {seed} of {options:?} took {took:?}");
        for (at, byte) in before.into_iter().rev() {
            image.write_at(&[byte], at).expect("a byte of the image");
        }
    }
    println!("{seed} mutations of {options:?}");
}

#[test]
fn plain_images() {
    run(&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^64bit"]);
}

#[test]
fn images_with_64_bit_descriptors_and_inline_data() {
    run(&[
        "-t",
        "ext4",
        "-b",
        "1024",
        "-I",
        "512",
        "-O",
        "^metadata_csum,64bit,inline_data",
    ]);
}

#[test]
fn images_of_ext2() {
    run(&["-t", "ext2", "-b", "1024"]);
}

#[test]
fn images_whose_checksums_stand_in_the_way() {
    run(&["-t", "ext4", "-b", "4096"]);
}

#[test]
fn images_with_large_blocks() {
    run(&[
        "-t",
        "ext4",
        "-b",
        "65536",
        "-O",
        "^metadata_csum,^has_journal",
    ]);
}

#[test]
fn images_with_clusters_and_metagroups() {
    run(&[
        "-t",
        "ext4",
        "-b",
        "1024",
        "-O",
        "^metadata_csum,bigalloc,meta_bg,^resize_inode",
    ]);
}
