//! Goals, the reserve, what waits for a commit, groups that are unloaded.

use super::*;

#[test]
fn what_is_freed_waits_for_its_commit() {
    let Some(fixture) = Fixture::new(&["-t", "ext4", "-b", "4096"], "16M") else {
        return;
    };
    let writer = &fixture.writer;
    let all = writer.space.counts().blocks;
    let mut runs = Vec::new();
    while writer.space.counts().blocks > 0 {
        runs.push(changed(writer, |change| change.allocate(metadata(0, all))));
    }
    let mut change = writer.begin(64).unwrap();
    let error = change.allocate(metadata(0, 1)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoSpace));
    drop(change);
    assert!(!writer.space.waits_for_commit());
    for run in runs {
        changed(writer, |change| change.free_data(run));
    }
    assert_eq!(writer.space.counts().blocks, all);
    assert!(writer.space.waits_for_commit());
    let mut change = writer.begin(64).unwrap();
    change.allocate(metadata(0, 1)).unwrap_err();
    drop(change);
    commit(writer);
    assert!(!writer.space.waits_for_commit());
    let taken = changed(writer, |change| change.allocate(metadata(0, 5)));
    assert_eq!(taken.len_blocks, 5);
    commit(writer);
    changed(writer, |change| change.free_data(taken));
    fixture.close();
}

#[test]
fn the_reserve_is_kept() {
    let Some(fixture) = Fixture::new(&["-t", "ext4", "-b", "4096", "-m", "10"], "16M") else {
        return;
    };
    let writer = &fixture.writer;
    let reserved = writer.store.superblock.reserved_blocks;
    assert!(reserved > 300);
    let request = BlockRequest {
        may_use_reserve: false,
        ..metadata(0, 1 << 20)
    };
    let mut runs = Vec::new();
    loop {
        let mut change = writer.begin(64).unwrap();
        match change.allocate(request) {
            Ok(run) => runs.push(run),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::NoSpace));
                break;
            }
        }
        change.finish();
    }
    assert_eq!(writer.space.counts().blocks, reserved);
    runs.push(changed(writer, |change| change.allocate(metadata(0, 1))));
    for run in runs {
        changed(writer, |change| change.free_data(run));
    }
    fixture.close();
}

#[test]
fn the_goal_comes_first_then_what_follows() {
    let Some(fixture) = Fixture::new(&["-t", "ext4", "-b", "1024"], "32M") else {
        return;
    };
    let writer = &fixture.writer;
    let first = changed(writer, |change| change.allocate(metadata(28_000, 10)));
    assert_eq!(first, run(28_000, 10));
    let second = changed(writer, |change| change.allocate(metadata(28_000, 10)));
    assert_eq!(second, run(28_010, 10));
    changed(writer, |change| change.free_data(run(28_003, 4)));
    commit(writer);
    // Too short for ten, long enough for four.
    let third = changed(writer, |change| change.allocate(metadata(28_003, 10)));
    assert_eq!(third, run(28_020, 10));
    let fourth = changed(writer, |change| change.allocate(metadata(28_000, 4)));
    assert_eq!(fourth, run(28_003, 4));
    changed(writer, |change| change.free_data(run(28_000, 30)));
    fixture.close();
}

#[test]
fn exact_blocks_can_be_taken_across_groups() {
    let Some(fixture) = Fixture::new(&["-t", "ext4", "-b", "1024", "-g", "1024"], "24M") else {
        return;
    };
    let writer = &fixture.writer;
    let free: BTreeSet<u64> = (0..writer.store.superblock.group_count)
        .flat_map(|group| {
            let group = crate::types::GroupNumber(group);
            writer.space.free_runs(&writer.store, group).unwrap()
        })
        .flat_map(|(start, len)| start.0..start.0 + len)
        .collect();
    // Where a group ends and the next begins with free blocks.
    let mut border = (1..20).map(|group| group * 1024 + 1);
    let border = border
        .rfind(|border| (border - 20..border + 20).all(|block| free.contains(&block)))
        .unwrap();
    let wanted = run(border - 20, 40);
    let writer = &fixture.writer;
    let mut change = writer.begin(64).unwrap();
    let space = &writer.space;
    space
        .take_again(&writer.store, &mut change.handle, wanted)
        .unwrap();
    change.finish();
    let mut change = writer.begin(64).unwrap();
    let error = space
        .take_again(&writer.store, &mut change.handle, run(border - 30, 11))
        .unwrap_err();
    assert!(error.is_corruption());
    drop(change);
    commit(writer);
    changed(writer, |change| change.free_data(wanted));
    fixture.close();
}

#[test]
fn groups_are_unloaded_and_loaded_again() {
    let options = ["-t", "ext4", "-b", "1024", "-g", "512", "-O", "^flex_bg"];
    let Some(mut fixture) = Fixture::new(&options, "24M") else {
        return;
    };
    fixture.writer.space.loaded_bytes_max = 4096;
    let writer = &fixture.writer;
    let blocks = writer.store.superblock.blocks_count;
    let mut dice = Dice(11);
    let mut runs = Vec::new();
    let before = writer.space.counts();
    for _ in 0..40 {
        for _ in 0..10 {
            let goal = dice.below(blocks);
            runs.push(changed(writer, |change| change.allocate(metadata(goal, 9))));
        }
        commit(writer);
    }
    let groups = &writer.space.groups;
    let loaded = groups.iter().filter(|group| group.is_loaded.get() == 1);
    assert!(loaded.count() < groups.len() / 2);
    for run in runs {
        changed(writer, |change| change.free_data(run));
        if dice.below(10) == 0 {
            commit(writer);
        }
    }
    assert_eq!(writer.space.counts(), before);
    fixture.close();
}
