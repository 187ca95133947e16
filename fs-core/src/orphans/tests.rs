//! Orphans that come and go in many threads; e2fsck and Linux find those that are left.

use std::collections::BTreeSet;

use super::*;
use crate::change::Writer;
use crate::directory;
use crate::journal::tests::image::{Scratch, tools_and_mounts};
use crate::testing::{Fixture, assert_clean, open_writer};
use std::sync::Arc;

const THREADS: usize = 4;
const FILES: usize = 400;

/// A volume with files that are not orphans.
fn fixture(options: &[&str]) -> Option<(Fixture, Vec<InodeNumber>)> {
    let fixture = Fixture::filled(options, "16M", |tree| {
        for number in 0..FILES {
            std::fs::write(tree.join(format!("file-{number}")), [7; 1500]).unwrap();
        }
    })?;
    let store = &fixture.writer.store;
    let root = store.inode(InodeNumber::ROOT).unwrap();
    let inodes = (0..FILES).map(|number| {
        let name = format!("file-{number}");
        directory::lookup(store, &root, name.as_bytes())
            .unwrap()
            .unwrap()
    });
    let inodes = inodes.collect();
    let mut change = fixture.writer.begin(1).unwrap();
    fixture.writer.superblock.edit(&mut change.handle, |raw| {
        mark_present(raw, true);
    });
    change.finish();
    Some((fixture, inodes))
}

fn next(random: &mut u64, limit: usize) -> usize {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*random >> 33) as usize % limit
}

/// Adds and removes one thread's inodes, and takes a third of it back; who is left.
fn work(writer: &Writer, inodes: &[InodeNumber], seed: u64, steps: usize) -> BTreeSet<InodeNumber> {
    let mut random = seed;
    let mut orphans = BTreeSet::new();
    for step in 0..steps {
        let mut change = writer.begin(12).unwrap();
        let mut changed = orphans.clone();
        for _ in 0..1 + next(&mut random, 4) {
            let inode = inodes[next(&mut random, inodes.len())];
            if !changed.contains(&inode) {
                change.add_orphan(inode).unwrap();
                changed.insert(inode);
            } else if step % 4 == 0 {
                change.remove_orphan(inode).unwrap();
                changed.remove(&inode);
            } else {
                let now = change.now;
                let edit =
                    |edit: &mut crate::format::inode_edit::InodeEdit<'_>| edit.set_changed(now);
                change.edit_inode(inode, edit).unwrap();
            }
        }
        if next(&mut random, 3) == 0 {
            drop(change);
        } else {
            change.finish();
            orphans = changed;
        }
        if next(&mut random, 20) == 0 {
            writer.sync().unwrap();
        }
    }
    orphans
}

/// The inodes e2fsck names as orphans in what it says.
fn found_by_e2fsck(image: &[u8]) -> BTreeSet<InodeNumber> {
    let scratch = Scratch::holding(image);
    let image = scratch.image();
    let output = std::process::Command::new("e2fsck")
        .arg("-fy")
        .arg(&image)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{said}");
    assert_clean(&scratch.bytes());
    let numbers = said.split("orphaned inode ").skip(1).map(|after| {
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        InodeNumber(digits.parse().unwrap())
    });
    numbers.collect()
}

fn come_and_go(options: &[&str], slots: usize) {
    let Some((fixture, inodes)) = fixture(options) else {
        return;
    };
    let writer = &fixture.writer;
    let left: BTreeSet<InodeNumber> = std::thread::scope(|scope| {
        let threads: Vec<_> = inodes
            .chunks(FILES / THREADS)
            .zip(1..)
            .map(|(mine, seed)| scope.spawn(move || work(writer, mine, seed, 120)))
            .collect();
        threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect()
    });
    let all: BTreeSet<InodeNumber> = writer.orphans.all().into_iter().collect();
    assert_eq!(all, left);
    assert!(left.len() > 200, "{} orphans", left.len());
    let state = writer.orphans.state.lock();
    assert!(state.slots.len() <= slots);
    assert_eq!(slots > 0, !state.slots.is_empty());
    assert_eq!(slots < left.len(), !state.links.is_empty());
    drop(state);
    writer.sync().unwrap();
    let image = fixture.image();
    assert_eq!(found_by_e2fsck(&image), left, "e2fsck, {options:?}");

    // Ours, after a crash.
    let device: Arc<dyn images::BlockDevice> = Arc::new(images::Memory::new(image.clone()));
    let again = open_writer(device, crate::Clock::System).unwrap();
    let all: BTreeSet<InodeNumber> = again.orphans.all().into_iter().collect();
    assert_eq!(all, left);

    if tools_and_mounts().is_some() {
        let linux = Scratch::holding(&image);
        drop(linux.mount("rw"));
        assert_clean(&linux.bytes());
        let device: Arc<dyn images::BlockDevice> = Arc::new(images::Memory::new(linux.bytes()));
        let after = open_writer(device, crate::Clock::System).unwrap();
        assert_eq!(after.orphans.all(), []);
    }
}

#[test]
fn in_the_list() {
    come_and_go(&["-t", "ext4", "-b", "1024", "-O", "^orphan_file"], 0);
    come_and_go(&["-t", "ext3", "-b", "1024"], 0);
}

#[test]
fn in_the_orphan_file() {
    let options = ["-t", "ext4", "-b", "4096", "-O", "orphan_file"];
    come_and_go(&options, 100_000);
}

/// One block has 254 places; the list has the rest.
#[test]
fn in_a_full_orphan_file_and_the_list() {
    let options = [
        "-t",
        "ext4",
        "-b",
        "1024",
        "-O",
        "orphan_file",
        "-E",
        "orphan_file_size=1",
    ];
    come_and_go(&options, 254);
}

/// A slot that one change emptied is not another's before the first has ended: taken back,
/// it would overwrite the other's.
#[test]
fn an_emptied_slot_waits_for_its_change() {
    let options = ["-t", "ext4", "-b", "4096", "-O", "orphan_file"];
    let Some((fixture, inodes)) = fixture(&options) else {
        return;
    };
    let writer = &fixture.writer;
    let (first, second) = (inodes[0], inodes[1]);
    let mut change = writer.begin(12).unwrap();
    change.add_orphan(first).unwrap();
    change.finish();

    let mut taken_back = writer.begin(12).unwrap();
    taken_back.remove_orphan(first).unwrap();
    let mut change = writer.begin(12).unwrap();
    change.add_orphan(second).unwrap();
    drop(taken_back);
    change.finish();
    let mut both = vec![first, second];
    both.sort_unstable();
    assert_eq!(writer.orphans.all(), both);

    let mut change = writer.begin(12).unwrap();
    change.remove_orphan(second).unwrap();
    change.finish();
    let state = writer.orphans.state.lock();
    assert!(state.blocks.iter().all(|block| block.held.is_empty()));
}

/// A damaged orphan file: inodes stand in two slots, and in three.
#[test]
fn an_inode_in_several_places_leaves_all_of_them() {
    let options = ["-t", "ext4", "-b", "4096", "-O", "orphan_file"];
    let Some((fixture, inodes)) = fixture(&options) else {
        return;
    };
    let writer = &fixture.writer;
    let (first, second) = (inodes[0], inodes[1]);
    let mut change = writer.begin(12).unwrap();
    change.add_orphan(first).unwrap();
    change.add_orphan(second).unwrap();
    change.finish();
    writer.sync().unwrap();
    writer.transactions.checkpoint(&writer.store.cache).unwrap();
    let (place, seed) = {
        let state = writer.orphans.state.lock();
        (state.blocks[0].place, writer.orphans.seed)
    };
    let mut image = fixture.image();
    let start = place.0 as usize * 4096;
    let block = &mut image[start..start + 4096];
    orphan::set_entry(place, block, 700, first, seed);
    orphan::set_entry(place, block, 701, second, seed);
    orphan::set_entry(place, block, 702, second, seed);

    let entries = |image: &[u8]| orphan::entries(place, &image[start..start + 4096], seed).unwrap();
    let damaged = Fixture::of(image);
    let writer = &damaged.writer;
    let both = vec![first.min(second), first.max(second)];
    assert_eq!(writer.orphans.all(), both);
    let mut taken_back = writer.begin(12).unwrap();
    taken_back.remove_orphan(second).unwrap();
    assert_eq!(writer.orphans.all(), [first]);
    drop(taken_back);
    assert_eq!(writer.orphans.all(), both);
    assert_eq!(writer.orphans.state.lock().slots[&second].len(), 3);
    for inode in [first, second] {
        let mut change = writer.begin(12).unwrap();
        change.remove_orphan(inode).unwrap();
        change.finish();
    }
    assert_eq!(writer.orphans.all(), []);
    let state = writer.orphans.state.lock();
    assert!(state.blocks.iter().all(|block| block.held.is_empty()));
    drop(state);
    let mut change = writer.begin(1).unwrap();
    writer.superblock.edit(&mut change.handle, |raw| {
        mark_present(raw, false);
    });
    change.finish();
    assert_eq!(entries(&damaged.close()), []);
}
