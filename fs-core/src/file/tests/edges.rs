//! Rules that random changes do not reach: errors, times, flags, limits.

use super::*;
use crate::format::features::RoCompatFeatures;
use crate::format::inode_flags::InodeFlags;
use crate::format::superblock::Superblock;
use crate::run::ExtentState;
use crate::types::{FileBlock, Timestamp};

const PLAIN: &[&str] = &["-t", "ext4", "-b", "4096", "-J", "size=4"];

fn fixture(options: &[&str], size: &str) -> Option<(Fixture, InodeNumber)> {
    let fixture = Fixture::of(stale_image(options, size)?);
    let number = named(&fixture.writer, b"a");
    Some((fixture, number))
}

fn edit(writer: &Writer, number: InodeNumber, flags: InodeFlags, mode: u16, time: Timestamp) {
    let mut change = writer.begin(4).unwrap();
    let old = inode(writer, number).flags();
    change
        .edit_inode(number, |edit| {
            edit.set_flags(old | flags)?;
            edit.set_mode(mode)?;
            edit.set_modified(time)?;
            edit.set_changed(time)
        })
        .unwrap();
    change.finish();
}

fn write(writer: &Writer, number: InodeNumber, data: &[u8], offset: u64) -> Result<usize> {
    file::write(writer, number, data, offset, AS_ROOT)
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind().clone()
}

fn state(writer: &Writer, number: InodeNumber, block: u64) -> ExtentState {
    let inode = inode(writer, number);
    crate::mapping::map_some(&writer.store, &inode, FileBlock(block))
        .unwrap()
        .state
}

#[test]
fn flags_forbid() {
    let Some((fixture, number)) = fixture(PLAIN, "10M") else {
        return;
    };
    let writer = &fixture.writer;
    write(writer, number, b"0123456789", 0).unwrap();
    let set = |flags| {
        let mut change = writer.begin(4).unwrap();
        let all = InodeFlags::IMMUTABLE | InodeFlags::APPEND | InodeFlags::VERITY;
        let kept = inode(writer, number)
            .flags()
            .difference(all | InodeFlags::ENCRYPT);
        change
            .edit_inode(number, |edit| edit.set_flags(kept | flags))
            .unwrap();
        change.finish();
    };
    let is_forbidden = |kind: ErrorKind| matches!(kind, ErrorKind::NotPermitted(_));
    let preallocation = Allocation::Allocate { keep_size: false };
    for flags in [InodeFlags::IMMUTABLE, InodeFlags::VERITY] {
        set(flags);
        assert!(is_forbidden(kind(write(writer, number, b"x", 10))));
        assert!(is_forbidden(kind(file::truncate(
            writer, number, 20, AS_ROOT
        ))));
        assert!(is_forbidden(kind(allocate(
            writer,
            number,
            preallocation,
            0..20
        ))));
    }
    set(InodeFlags::ENCRYPT);
    assert_eq!(kind(write(writer, number, b"x", 10)), ErrorKind::Encrypted);
    set(InodeFlags::APPEND);
    assert!(is_forbidden(kind(write(writer, number, b"x", 9))));
    assert!(is_forbidden(kind(file::truncate(
        writer, number, 20, AS_ROOT
    ))));
    assert!(is_forbidden(kind(allocate(
        writer,
        number,
        Allocation::PunchHole,
        0..20
    ))));
    assert_eq!(write(writer, number, b"x", 10).unwrap(), 1);
    allocate(writer, number, preallocation, 0..5000).unwrap();
    set(InodeFlags::empty());
    assert_eq!(
        kind(write(writer, InodeNumber::ROOT, b"x", 0)),
        ErrorKind::IsADirectory
    );
    fixture.close();
}

#[test]
fn overwriting_costs_no_change_but_the_times() {
    let Some((fixture, number)) = fixture(PLAIN, "10M") else {
        return;
    };
    let writer = &fixture.writer;
    write(writer, number, &pattern(8192, 1), 0).unwrap();
    let free = writer.space.counts().blocks;
    edit(
        writer,
        number,
        InodeFlags::empty(),
        0o106_755,
        Timestamp {
            seconds: 5,
            nanos: 6,
        },
    );
    let privileged = WriteContext {
        kernel_moves_content: false,
        may_use_reserve: false,
        clear_privileges: true,
        keeps_times: false,
    };
    file::write(writer, number, &pattern(4096, 2), 100, privileged).unwrap();
    let after = inode(writer, number);
    assert!(after.modified().seconds > 5 && after.changed() == after.modified());
    assert_eq!(after.mode(), 0o100_755);
    assert_eq!(writer.space.counts().blocks, free);
    writer.sync().unwrap();
    // Within the same tick nothing is changed.
    let mut times = vec![after.modified()];
    for seed in 0..50 {
        write(writer, number, &pattern(4096, seed), 4096).unwrap();
        times.push(inode(writer, number).modified());
    }
    times.dedup();
    let span = times.last().unwrap().seconds - times.first().unwrap().seconds;
    assert!(span > 0 || times.len() < 20, "{times:?}");
    fixture.close();
}

#[test]
fn a_set_group_id_bit_without_group_execution_stays() {
    let Some((fixture, number)) = fixture(PLAIN, "10M") else {
        return;
    };
    let writer = &fixture.writer;
    let time = Timestamp::default();
    edit(writer, number, InodeFlags::empty(), 0o106_644, time);
    let privileged = WriteContext {
        kernel_moves_content: false,
        may_use_reserve: false,
        clear_privileges: true,
        keeps_times: false,
    };
    file::truncate(writer, number, 5, privileged).unwrap();
    assert_eq!(inode(writer, number).mode(), 0o102_644);
    fixture.close();
}

#[test]
fn the_first_large_file_sets_the_feature() {
    let options = [
        "-t",
        "ext4",
        "-b",
        "4096",
        "-J",
        "size=4",
        "-O",
        "^large_file,^resize_inode",
    ];
    let Some((fixture, number)) = fixture(&options, "10M") else {
        return;
    };
    let writer = &fixture.writer;
    let has = || {
        let bits = writer.superblock.snapshot().s_feature_ro_compat.get();
        bits & RoCompatFeatures::LARGE_FILE.bits() != 0
    };
    write(writer, number, b"x", 0x7FFF_FFFE).unwrap();
    assert!(!has());
    write(writer, number, b"x", 0x7FFF_FFFF).unwrap();
    assert!(has());
    fixture.close();
}

#[test]
fn the_largest_file() {
    for (options, max) in [
        (PLAIN, (1 << 44) - 4096),
        (
            &["-t", "ext4", "-b", "1024", "-J", "size=1"],
            (1 << 42) - 1024,
        ),
        (
            &["-t", "ext2", "-b", "1024"],
            (12 + 256 + 65_536 + 16_777_216) * 1024,
        ),
    ] {
        let Some((fixture, number)) = fixture(options, "10M") else {
            return;
        };
        let writer = &fixture.writer;
        assert_eq!(write(writer, number, b"0123456789", max - 4).unwrap(), 4);
        assert_eq!(inode(writer, number).size_bytes(), max);
        assert_eq!(
            kind(write(writer, number, b"x", max)),
            ErrorKind::FileTooLarge
        );
        assert_eq!(
            kind(write(writer, number, b"x", u64::MAX)),
            ErrorKind::FileTooLarge
        );
        assert_eq!(
            kind(file::truncate(writer, number, max + 1, AS_ROOT)),
            ErrorKind::FileTooLarge
        );
        file::truncate(writer, number, 10, AS_ROOT).unwrap();
        file::truncate(writer, number, max, AS_ROOT).unwrap();
        let last = max - 8192..max;
        allocate(writer, number, Allocation::PunchHole, last).unwrap();
        fixture.close();
    }
}

#[test]
fn the_limit_of_indirect_blocks_without_huge_files() {
    let Some((fixture, number)) = fixture(&["-t", "ext2", "-b", "4096"], "10M") else {
        return;
    };
    let superblock: &Superblock = &fixture.writer.store.superblock;
    let max = super::super::limits::size_max(superblock, &inode(&fixture.writer, number));
    // 2 TiB less 524,801 blocks of pointers: what Linux lets such a file reach.
    assert_eq!(max, 2_196_873_666_560);
    fixture.close();
}

#[test]
fn preallocated_blocks_read_as_zeros_and_are_used() {
    let Some((fixture, number)) = fixture(PLAIN, "10M") else {
        return;
    };
    let writer = &fixture.writer;
    let keep_size = true;
    allocate(
        writer,
        number,
        Allocation::Allocate { keep_size },
        0..65_536,
    )
    .unwrap();
    assert_eq!(inode(writer, number).size_bytes(), 0);
    let free = writer.space.counts().blocks;
    let ExtentState::Unwritten(_) = state(writer, number, 3) else {
        panic!("not unwritten");
    };
    write(writer, number, b"abc", 3 * 4096 + 5).unwrap();
    assert_eq!(writer.space.counts().blocks, free);
    let mut expected = vec![0; 3 * 4096 + 5];
    expected.extend(b"abc");
    assert_eq!(content(writer, number), expected);
    // To the same size: what lies beyond the end goes.
    file::truncate(writer, number, expected.len() as u64, AS_ROOT).unwrap();
    assert_eq!(writer.space.counts().blocks, free + 12);
    assert_eq!(state(writer, number, 4), ExtentState::Hole);
    file::truncate(writer, number, 5 * 4096, AS_ROOT).unwrap();
    expected.resize(5 * 4096, 0);
    assert_eq!(content(writer, number), expected);
    fixture.close();
}

#[test]
fn ranges_that_cannot_be() {
    let Some((fixture, number)) = fixture(PLAIN, "10M") else {
        return;
    };
    let writer = &fixture.writer;
    let other = named(writer, b"b");
    write(writer, number, &pattern(20_000, 1), 0).unwrap();
    write(writer, other, &pattern(20_000, 2), 0).unwrap();
    let is_invalid = |kind: ErrorKind| matches!(kind, ErrorKind::InvalidInput(_));
    for (how, range) in [
        (Allocation::PunchHole, 5..5),
        (Allocation::CollapseRange, 4096..8191),
        (Allocation::CollapseRange, 1..4097),
        (Allocation::CollapseRange, 16_384..20_480),
        (Allocation::InsertRange, 20_480..24_576),
        (Allocation::InsertRange, 1..4097),
    ] {
        assert!(
            is_invalid(kind(allocate(writer, number, how, range))),
            "{how:?}"
        );
    }
    let end = u64::MAX - 4095;
    let too_far = allocate(writer, number, Allocation::InsertRange, 4096..end);
    assert_eq!(kind(too_far), ErrorKind::FileTooLarge);
    let swap = |a, a_at, b, b_at, len| file::swap_extents(writer, a, a_at, b, b_at, len);
    for (a, a_at, b, b_at, len) in [
        (number, 0, number, 4096, 4096),
        (number, 1, other, 0, 4096),
        (number, 0, other, 0, 0),
        (number, 20_480, other, 0, 4096),
    ] {
        assert!(is_invalid(kind(swap(a, a_at, b, b_at, len))));
    }
    fixture.close();
}

#[test]
fn a_large_file_is_cut_in_steps() {
    // Every second block, so that the tree has many leaves and the step is bounded.
    for options in [
        &["-t", "ext4", "-b", "1024", "-J", "size=1"][..],
        &["-t", "ext3", "-b", "1024", "-J", "size=1"],
    ] {
        let Some((fixture, number)) = fixture(options, "16M") else {
            return;
        };
        let writer = &fixture.writer;
        let free = writer.space.counts().blocks;
        for block in 0..3000u64 {
            write(writer, number, &[1], block * 2048).unwrap();
        }
        file::truncate(writer, number, 100, AS_ROOT).unwrap();
        assert!(writer.orphans.all().is_empty());
        assert_eq!(writer.space.counts().blocks, free - 1);
        let mut expected = vec![0; 100];
        expected[0] = 1;
        assert_eq!(content(writer, number), expected);
        fixture.close();
    }
}

#[test]
fn an_unlinked_file_is_emptied() {
    let Some((fixture, number)) = fixture(PLAIN, "10M") else {
        return;
    };
    let writer = &fixture.writer;
    let free = writer.space.counts().blocks;
    write(writer, number, &pattern(100_000, 3), 50_000).unwrap();
    let mut change = writer.begin(4).unwrap();
    change.edit_inode(number, |edit| edit.set_size(0)).unwrap();
    change.finish();
    file::truncate_to_size(writer, number).unwrap();
    assert_eq!(writer.space.counts().blocks, free);
    fixture.close();
}
