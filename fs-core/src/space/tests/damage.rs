//! Damaged bitmaps and descriptors cost their group, not the volume.

use super::*;
use crate::types::GroupNumber;

const OPTIONS: [&str; 6] = ["-t", "ext4", "-b", "1024", "-g", "2048"];

/// A volume of 12 groups in which bytes were changed.
fn damaged(place: impl Fn(&Writer) -> (u64, usize)) -> Option<Fixture> {
    let fixture = Fixture::new(&OPTIONS, "24M")?;
    let (block, offset) = place(&fixture.writer);
    let mut image = fixture.close();
    image[block as usize * 1024 + offset] ^= 0x55;
    Some(Fixture::of(image))
}

fn bitmap_of(writer: &Writer, group: u32) -> u64 {
    let group = writer.store.group(GroupNumber(group)).unwrap();
    group.block_bitmap.0
}

#[test]
fn a_group_with_a_damaged_block_bitmap_is_passed_over() {
    let Some(fixture) = damaged(|writer| (bitmap_of(writer, 0), 9)) else {
        return;
    };
    let writer = &fixture.writer;
    let taken = changed(writer, |change| change.allocate(metadata(1000, 4)));
    assert!(taken.start.0 > 2048);
    let mut change = writer.begin(64).unwrap();
    let error = change.free_data(run(900, 1)).unwrap_err();
    assert!(error.is_corruption());
    drop(change);
    // The last blocks there would be are in that group.
    let mut change = writer.begin(64).unwrap();
    let error = loop {
        if let Err(error) = change.allocate(metadata(1000, 4096)) {
            break error;
        }
    };
    assert!(error.is_corruption(), "{error}");
}

#[test]
fn a_group_with_a_damaged_inode_bitmap_is_passed_over() {
    let place = |writer: &Writer| {
        let group = writer.store.group(GroupNumber(0)).unwrap();
        (group.inode_bitmap.0, 3)
    };
    let Some(fixture) = damaged(place) else {
        return;
    };
    let writer = &fixture.writer;
    let request = child_of(2, FileType::Regular);
    let inode = changed(writer, |change| change.allocate_inode(request));
    assert!(inode.0 > writer.store.superblock.inodes_per_group);
}

#[test]
fn a_group_with_a_damaged_descriptor_is_passed_over() {
    let place = |writer: &Writer| {
        let (block, offset) = writer.store.descriptor_place(GroupNumber(1)).unwrap();
        (block.0, offset + 0x0C)
    };
    let Some(fixture) = damaged(place) else {
        return;
    };
    let writer = &fixture.writer;
    let goal = 2048 + 1500;
    let taken = changed(writer, |change| change.allocate(metadata(goal, 4)));
    assert_ne!((taken.start.0 - 1) / 2048, 1);
    let mut change = writer.begin(64).unwrap();
    assert!(change.free_data(run(goal, 1)).unwrap_err().is_corruption());
}

/// A bitmap without a checksum that calls an inode table free, and a descriptor that agrees.
#[test]
fn blocks_of_the_format_are_never_taken() {
    let options = [
        "-t",
        "ext4",
        "-b",
        "1024",
        "-O",
        "^metadata_csum,^uninit_bg",
    ];
    let Some(fixture) = Fixture::new(&options, "4M") else {
        return;
    };
    let store = &fixture.writer.store;
    let group = store.group(GroupNumber(0)).unwrap();
    let (descriptor, _) = store.descriptor_place(GroupNumber(0)).unwrap();
    let table = group.inode_table.0;
    let table_end = table + u64::from(store.superblock.inode_blocks_per_group);
    let mut image = fixture.close();
    let bit = table as usize + 3 - 1;
    image[group.block_bitmap.0 as usize * 1024 + bit / 8] &= !(1 << (bit % 8));
    let count = descriptor.0 as usize * 1024 + 0x0C;
    let free = u16::from_le_bytes([image[count], image[count + 1]]) + 1;
    image[count..count + 2].copy_from_slice(&free.to_le_bytes());
    let fixture = Fixture::of(image);
    let writer = &fixture.writer;
    assert_eq!(writer.space.counts().blocks, u64::from(free));
    let mut taken = 0;
    let mut change = writer.begin(64).unwrap();
    while let Ok(run) = change.allocate(metadata(0, 64)) {
        let end = run.start.0 + run.len_blocks;
        assert!(end <= table || run.start.0 >= table_end, "{run:?}");
        taken += run.len_blocks;
    }
    assert_eq!(taken, u64::from(free) - 1);
}

/// Every byte of the descriptors and of the first bitmaps, one at a time: whatever is
/// found there, nothing panics and nothing is taken twice.
#[test]
fn any_damage_is_survived() {
    let options = [
        "-t",
        "ext4",
        "-b",
        "1024",
        "-g",
        "1024",
        "-O",
        "^metadata_csum",
    ];
    let Some(fixture) = Fixture::new(&options, "4M") else {
        return;
    };
    let bitmap = bitmap_of(&fixture.writer, 0) as usize;
    let descriptors = fixture
        .writer
        .store
        .descriptor_place(GroupNumber(0))
        .unwrap();
    let image = fixture.close();
    let places = (0..4 * 64).map(|byte| descriptors.0.0 as usize * 1024 + byte);
    let places = places.chain((0..128).map(|byte| bitmap * 1024 + byte));
    for place in places.step_by(3) {
        let mut image = image.clone();
        image[place] ^= 0xFF;
        let device: std::sync::Arc<dyn images::BlockDevice> =
            std::sync::Arc::new(images::Memory::new(image));
        let Ok(writer) = open_writer(device, Clock::System) else {
            continue;
        };
        let mut taken = BTreeSet::new();
        for goal in [0, 1500, 3000, 4000] {
            let mut change = writer.begin(64).unwrap();
            if let Ok(run) = change.allocate(metadata(goal, 700)) {
                for block in run.start.0..run.start.0 + run.len_blocks {
                    assert!(taken.insert(block));
                }
            }
            let _ = change.allocate_inode(child_of(2, FileType::Directory));
            let _ = change.free_data(run(goal + 100, 3));
            change.finish();
        }
        let _ = close_writer(&writer);
    }
}
