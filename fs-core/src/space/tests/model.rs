//! Random sequences against a model that keeps single blocks and inodes in sets.

use super::*;

/// Three states of a block or inode.
#[derive(Default)]
struct Model {
    free: BTreeSet<u64>,
    /// Freed since the last commit.
    waiting: BTreeSet<u64>,
}

impl Model {
    fn take(&mut self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            assert!(self.free.remove(&number), "{number} was not free");
        }
    }

    fn commit(&mut self) {
        self.free.append(&mut self.waiting);
    }

    fn len(&self) -> usize {
        self.free.len() + self.waiting.len()
    }
}

fn range(run: BlockRun) -> std::ops::Range<u64> {
    run.start.0..run.start.0 + run.len_blocks
}

fn one_round(options: &[&str], size: &str, seed: u64) {
    let Some(fixture) = Fixture::new(options, size) else {
        return;
    };
    let writer = &fixture.writer;
    close_writer(writer).unwrap();
    let start = dumped(&fixture.image());
    let mut blocks = Model {
        free: start.blocks.clone(),
        ..Model::default()
    };
    let mut inodes = Model {
        free: start.inodes.clone(),
        ..Model::default()
    };
    let end = writer.store.superblock.blocks_count;
    let mut runs: Vec<BlockRun> = Vec::new();
    let mut taken: Vec<(InodeNumber, bool)> = Vec::new();
    let mut dice = Dice(seed);
    for _ in 0..1500 {
        let is_undone = dice.below(4) == 0;
        let mut change = writer.begin(64).unwrap();
        let (mut new_runs, mut old_runs) = (Vec::new(), Vec::new());
        let (mut new_inodes, mut old_inodes) = (Vec::new(), Vec::new());
        for _ in 0..1 + dice.below(4) {
            match dice.below(5) {
                0 | 1 => {
                    let (goal, len) = (dice.below(end), 1 + dice.below(300));
                    if let Ok(run) = change.allocate(metadata(goal, len)) {
                        assert!(run.len_blocks <= len);
                        blocks.take(range(run));
                        new_runs.push(run);
                    } else {
                        assert!(blocks.free.is_empty());
                    }
                }
                2 if !runs.is_empty() => {
                    let run = runs.swap_remove(dice.below(runs.len() as u64) as usize);
                    change.free_data(run).unwrap();
                    change.free_data(run).unwrap_err();
                    old_runs.push(run);
                }
                3 => {
                    let is_directory = dice.below(3) == 0;
                    let file_type = match is_directory {
                        true => FileType::Directory,
                        false => FileType::Regular,
                    };
                    if let Ok(inode) = change.allocate_inode(child_of(2, file_type)) {
                        inodes.take(inode.0.into()..u64::from(inode.0) + 1);
                        new_inodes.push((inode, is_directory));
                    }
                }
                4 if !taken.is_empty() => {
                    let at = dice.below(taken.len() as u64) as usize;
                    let (inode, is_directory) = taken.swap_remove(at);
                    change.free_inode(inode, is_directory).unwrap();
                    change.free_inode(inode, is_directory).unwrap_err();
                    old_inodes.push((inode, is_directory));
                }
                _ => {}
            }
        }
        if is_undone {
            drop(change);
            blocks.free.extend(new_runs.into_iter().flat_map(range));
            runs.extend(old_runs);
            let undone = new_inodes.into_iter().map(|(inode, _)| u64::from(inode.0));
            inodes.free.extend(undone);
            taken.extend(old_inodes);
        } else {
            change.finish();
            blocks.waiting.extend(old_runs.into_iter().flat_map(range));
            runs.extend(new_runs);
            let freed = old_inodes.into_iter().map(|(inode, _)| u64::from(inode.0));
            inodes.waiting.extend(freed);
            taken.extend(new_inodes);
        }
        let counts = writer.space.counts();
        assert_eq!(counts.blocks, blocks.len() as u64);
        assert_eq!(u64::from(counts.inodes), inodes.len() as u64);
        if dice.below(20) == 0 {
            commit(writer);
            blocks.commit();
            inodes.commit();
        }
    }
    close_writer(writer).unwrap();
    blocks.commit();
    inodes.commit();
    let directories = taken.iter().filter(|(_, is_directory)| *is_directory);
    let expected = Free {
        directories: start.directories + directories.count() as u64,
        sums: (blocks.len() as u64, inodes.len() as u64),
        blocks: blocks.free,
        inodes: inodes.free,
    };
    assert_eq!(dumped(&fixture.image()), expected);
    for run in runs {
        changed(writer, |change| change.free_data(run));
    }
    for (inode, is_directory) in taken {
        changed(writer, |change| change.free_inode(inode, is_directory));
    }
    fixture.close();
}

#[test]
fn random_changes_and_rollbacks_agree_with_sets() {
    for seed in 1..=3 {
        one_round(&["-t", "ext4", "-b", "1024", "-g", "2048"], "20M", seed);
        one_round(&["-t", "ext4", "-b", "4096", "-N", "100"], "16M", seed);
        one_round(&["-t", "ext2", "-b", "1024", "-g", "1024"], "6M", seed);
    }
}
