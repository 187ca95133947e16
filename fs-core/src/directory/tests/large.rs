//! Indexes as deep as they may be: names of 255 bytes, three in a leaf of 1 KiB.

use super::{Random, Subject};
use crate::directory::blocks;
use crate::error::ErrorKind;
use crate::format::htree;
use crate::types::FileBlock;

fn name(random: &mut Random, number: u64) -> Vec<u8> {
    let mut name = format!("{number}_").into_bytes();
    name.resize_with(255, || b'a' + random.below(26) as u8);
    name
}

fn levels(subject: &Subject) -> u8 {
    let store = &subject.fixture.writer.store;
    let root = blocks::load(store, &subject.inode(), FileBlock(0)).unwrap();
    htree::root_info(root.bytes()).unwrap().indirect_levels
}

/// Fills an index of two levels, which takes about 30,000 names; with large_dir it gets a
/// third.
#[test]
fn an_index_grows_to_its_highest_level() {
    for (features, levels_max) in [("^large_dir", 1), ("large_dir", 2)] {
        let options = ["-t", "ext4", "-b", "1024", "-O", features];
        let Some(mut subject) = Subject::new(&options, "64M") else {
            return;
        };
        let mut random = Random::new(21);
        let mut refused = None;
        let mut after_top = 0;
        for number in 0..60_000 {
            let name = name(&mut random, number);
            if let Err(error) = subject.add(&name) {
                assert_eq!(error.kind(), &ErrorKind::NoSpace);
                assert_eq!(subject.lookup(&name), None);
                refused = Some(number);
                break;
            }
            if levels(&subject) == 2 {
                after_top += 1;
                if after_top == 3000 {
                    break;
                }
            }
        }
        assert_eq!(levels(&subject), levels_max);
        assert_eq!(refused.is_some(), levels_max == 1);
        subject.check();
        subject.close();
    }
}
