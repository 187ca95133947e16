//! Several threads at a time.

use super::*;

#[test]
fn threads_never_get_the_same() {
    let Some(fixture) = Fixture::new(&["-t", "ext4", "-b", "1024", "-g", "4096"], "48M") else {
        return;
    };
    let writer = &fixture.writer;
    let before = writer.space.counts();
    let work = |seed: u64| {
        let mut dice = Dice(seed);
        let mut runs: Vec<BlockRun> = Vec::new();
        let mut inodes: Vec<InodeNumber> = Vec::new();
        for step in 0..1500 {
            let mut change = writer.begin(16).unwrap();
            let purpose = match step % 3 {
                0 => Purpose::Metadata,
                _ => Purpose::Data {
                    inode: InodeNumber(100 + (seed as u32) * 8 + dice.below(8) as u32),
                    len_blocks: dice.below(3000),
                },
            };
            let request = BlockRequest {
                purpose,
                ..metadata(dice.below(48 << 10), 1 + dice.below(40))
            };
            let run = change.allocate(request);
            let inode = change.allocate_inode(child_of(2, FileType::Regular));
            match (run, inode) {
                (Ok(run), Ok(inode)) if dice.below(5) > 0 => {
                    change.finish();
                    runs.push(run);
                    inodes.push(inode);
                }
                _ => drop(change),
            }
            if dice.below(2) == 0
                && let (Some(run), Some(inode)) = (runs.pop(), inodes.pop())
            {
                changed(writer, |change| {
                    change.free_data(run)?;
                    change.free_inode(inode, false)
                });
            }
            match dice.below(300) {
                0 => commit(writer),
                1 => writer
                    .space
                    .end_reservation(InodeNumber(100 + seed as u32 * 8)),
                _ => {}
            }
        }
        (runs, inodes)
    };
    let results: Vec<(Vec<BlockRun>, Vec<InodeNumber>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=4)
            .map(|seed| scope.spawn(move || work(seed)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut blocks = BTreeSet::new();
    let mut inodes = BTreeSet::new();
    for (runs, numbers) in results {
        for run in runs {
            for block in run.start.0..run.start.0 + run.len_blocks {
                assert!(blocks.insert(block));
            }
            changed(writer, |change| change.free_data(run));
        }
        for number in numbers {
            assert!(inodes.insert(number));
            changed(writer, |change| change.free_inode(number, false));
        }
    }
    assert_eq!(writer.space.counts(), before);
    fixture.close();
}
