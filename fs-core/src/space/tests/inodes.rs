//! Which inodes are taken, and what becomes of inode tables that hold anything.

use super::*;
use crate::format::group_descriptor::BG_INODE_ZEROED;

/// Groups of `count` directories made in `parent`.
fn groups_of_directories(writer: &Writer, parent: u32, count: u32) -> Vec<u32> {
    let request = child_of(parent, FileType::Directory);
    let group = |inode: InodeNumber| (inode.0 - 1) / writer.store.superblock.inodes_per_group;
    (0..count)
        .map(|_| group(changed(writer, |change| change.allocate_inode(request))))
        .collect()
}

#[test]
fn directories_of_the_root_are_spread_and_others_stay() {
    let Some(fixture) = Fixture::new(&["-t", "ext4", "-b", "1024", "-g", "2048"], "32M") else {
        return;
    };
    let writer = &fixture.writer;
    let top = groups_of_directories(writer, 2, 10);
    let different: BTreeSet<&u32> = top.iter().collect();
    assert!(different.len() >= 8, "{top:?}");
    // lost+found stands for a directory below the root. Its own group is full of tables,
    // the next has room, though not for all of many.
    let below = groups_of_directories(writer, 11, 10);
    assert!(below.iter().all(|group| *group == 1), "{below:?}");
    let many = groups_of_directories(writer, 11, 200);
    assert!(many.iter().any(|group| *group > 1));
}

#[test]
fn files_stay_with_their_directory_until_its_group_is_full() {
    let options = ["-t", "ext4", "-b", "1024", "-g", "2048", "-N", "512"];
    let Some(fixture) = Fixture::new(&options, "32M") else {
        return;
    };
    let writer = &fixture.writer;
    let per_group = writer.store.superblock.inodes_per_group;
    let request = child_of(2, FileType::Regular);
    let mut inodes = Vec::new();
    for expected in 12..=per_group {
        let inode = changed(writer, |change| change.allocate_inode(request));
        assert_eq!(inode.0, expected);
        inodes.push(inode);
    }
    let next = changed(writer, |change| change.allocate_inode(request));
    assert_eq!(next.0, per_group + 1);
    inodes.push(next);
    for inode in inodes {
        changed(writer, |change| change.free_inode(inode, false));
    }
    fixture.close();
}

#[test]
fn the_formats_own_inodes_cannot_be_freed() {
    let Some(fixture) = Fixture::new(&["-t", "ext4"], "16M") else {
        return;
    };
    let writer = &fixture.writer;
    for number in [0, 1, 2, 8, 10, 12, 1 << 30] {
        let mut change = writer.begin(64).unwrap();
        let error = change.free_inode(InodeNumber(number), false).unwrap_err();
        assert!(error.is_corruption(), "{number}: {error}");
    }
    fixture.close();
}

/// mke2fs leaves the tables of groups that are not used as they are. A table block that is
/// full of an older volume must not come to light when its first inode is taken: e2fsck
/// looks at all inodes up to the last that was ever used.
#[test]
fn old_content_of_inode_tables_never_shows() {
    let options = [
        "-t",
        "ext4",
        "-b",
        "1024",
        "-g",
        "2048",
        "-E",
        "lazy_itable_init=1",
    ];
    let Some(fixture) = Fixture::new(&options, "24M") else {
        return;
    };
    let superblock = fixture.writer.store.superblock.clone();
    let mut image = fixture.close();
    let volume = Fixture::of(image.clone()).writer;
    let per_block = superblock.block_bytes / u32::from(superblock.inode_bytes);
    let mut spoilt = 0;
    for number in 0..superblock.group_count {
        let group = volume
            .store
            .group(crate::types::GroupNumber(number))
            .unwrap();
        if group.flags & BG_INODE_ZEROED != 0 {
            continue;
        }
        let used = superblock.inodes_per_group - group.unused_inodes;
        let first = group.inode_table.0 + u64::from(used.div_ceil(per_block));
        let end = group.inode_table.0 + u64::from(superblock.inode_blocks_per_group);
        for block in first..end {
            // Looks like a file in use.
            let start = block as usize * 1024;
            let pattern = [0xA4, 0x81, 1, 0].iter().cycle();
            image[start..start + 1024]
                .iter_mut()
                .zip(pattern)
                .for_each(|(byte, pattern)| *byte = *pattern);
            spoilt += 1;
        }
    }
    assert!(spoilt > 100, "{spoilt}");
    let fixture = Fixture::of(image);
    let writer = &fixture.writer;
    let mut inodes = Vec::new();
    for number in 0..300 {
        let file_type = match number % 7 {
            0 => FileType::Directory,
            _ => FileType::Regular,
        };
        let parent = inodes
            .last()
            .map_or(2, |(inode, _): &(InodeNumber, _)| inode.0);
        let mut change = writer.begin(64).unwrap();
        // The parent is no directory yet: only the place of files follows from it.
        let request = match file_type {
            FileType::Directory => child_of(2, file_type),
            _ => child_of(parent, file_type),
        };
        let inode = change.allocate_inode(request).unwrap();
        if number % 5 == 0 {
            drop(change);
            continue;
        }
        change.finish();
        inodes.push((inode, file_type == FileType::Directory));
        if number % 50 == 0 {
            commit(writer);
        }
    }
    for (inode, is_directory) in inodes {
        changed(writer, |change| change.free_inode(inode, is_directory));
    }
    fixture.close();
}
