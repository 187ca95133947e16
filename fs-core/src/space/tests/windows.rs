//! Files that grow: how many extents they get.

use super::*;

/// Extents of files that `grow` describes, grown in turn.
struct Growing {
    inode: InodeNumber,
    goal: u64,
    len_blocks: u64,
    extents: u64,
}

impl Growing {
    fn new(number: u32) -> Self {
        Self {
            inode: InodeNumber(number),
            goal: 0,
            len_blocks: 0,
            extents: 0,
        }
    }

    fn grow(&mut self, writer: &Writer, blocks: u64) {
        let mut left = blocks;
        while left > 0 {
            let purpose = Purpose::Data {
                inode: self.inode,
                len_blocks: self.len_blocks,
            };
            let request = BlockRequest {
                purpose,
                ..metadata(self.goal, left)
            };
            let run = changed(writer, |change| change.allocate(request));
            self.extents += u64::from(run.start.0 != self.goal || self.len_blocks == 0);
            self.goal = run.start.0 + run.len_blocks;
            self.len_blocks += run.len_blocks;
            left -= run.len_blocks;
        }
    }
}

/// Average extents of `count` files grown in turn.
fn grown_in_turn(writer: &Writer, count: u32, step: u64, len: u64) -> f64 {
    let mut files: Vec<Growing> = (100..100 + count).map(Growing::new).collect();
    for _ in 0..len / step {
        for file in &mut files {
            file.grow(writer, step);
        }
    }
    let extents: u64 = files.iter().map(|file| file.extents).sum();
    extents as f64 / f64::from(count)
}

#[test]
fn files_grown_in_turn_get_few_extents() {
    let Some((writer, _directory)) = sparse(&["-t", "ext4", "-b", "4096"], "8G") else {
        return;
    };
    let average = grown_in_turn(&writer, 100, 16, 16 << 10);
    assert!(average <= 4.0, "{average}");
}

#[test]
fn files_grown_in_turn_get_few_extents_on_a_small_volume() {
    let Some((writer, _directory)) = sparse(&["-t", "ext4", "-b", "4096"], "1G") else {
        return;
    };
    let average = grown_in_turn(&writer, 20, 16, 4 << 10);
    assert!(average <= 4.0, "{average}");
}

#[test]
fn windows_are_in_nobodys_way() {
    let Some(fixture) = Fixture::new(&["-t", "ext4", "-b", "1024"], "64M") else {
        return;
    };
    let writer = &fixture.writer;
    let before = writer.space.counts();
    let mut files: Vec<Growing> = (100..120).map(Growing::new).collect();
    for file in &mut files {
        file.grow(writer, 64);
        file.grow(writer, 64);
    }
    assert!(writer.space.windows.count() > 0);
    // All that is free can be taken, as one file after the other.
    let mut last = Growing::new(500);
    while writer.space.counts().blocks > 0 {
        let left = writer.space.counts().blocks;
        last.grow(writer, left.min(100));
    }
    assert!(last.extents < 60, "{}", last.extents);
    assert_eq!(last.len_blocks + 20 * 128, before.blocks);
    for file in &files {
        writer.space.end_reservation(file.inode);
    }
    assert_eq!(writer.space.windows.count(), 0);
}

#[test]
fn a_window_is_given_back_when_its_file_stops_growing() {
    let Some(fixture) = Fixture::new(&["-t", "ext4", "-b", "4096"], "256M") else {
        return;
    };
    let writer = &fixture.writer;
    for number in 100..140 {
        let mut file = Growing::new(number);
        file.grow(writer, 256);
        assert_eq!(writer.space.windows.count(), 1);
        writer.space.end_reservation(file.inode);
        assert_eq!(writer.space.windows.count(), 0);
        assert_eq!(file.extents, 1);
    }
}

#[test]
fn small_files_lie_side_by_side() {
    let Some(fixture) = Fixture::new(&["-t", "ext4", "-b", "4096"], "64M") else {
        return;
    };
    let writer = &fixture.writer;
    let mut file = Growing::new(100);
    file.grow(writer, 3);
    let mut next = file.goal;
    for number in 101..150 {
        let mut file = Growing::new(number);
        file.grow(writer, 3);
        assert_eq!(file.goal, next + 3);
        next = file.goal;
    }
    assert_eq!(writer.space.windows.count(), 0);
}

#[test]
fn an_allocation_from_a_window_can_be_taken_back() {
    let Some(fixture) = Fixture::new(&["-t", "ext4", "-b", "4096"], "64M") else {
        return;
    };
    let writer = &fixture.writer;
    let before = writer.space.counts();
    let mut file = Growing::new(100);
    file.grow(writer, 100);
    let request = BlockRequest {
        purpose: Purpose::Data {
            inode: file.inode,
            len_blocks: 100,
        },
        ..metadata(file.goal, 10)
    };
    let mut change = writer.begin(64).unwrap();
    let undone = change.allocate(request).unwrap();
    assert_eq!(undone.start.0, file.goal);
    drop(change);
    file.grow(writer, 10);
    assert_eq!(file.extents, 1);
    let content = run(file.goal - 110, 110);
    changed(writer, |change| change.free_data(content));
    assert_eq!(writer.space.counts(), before);
    fixture.close();
}
