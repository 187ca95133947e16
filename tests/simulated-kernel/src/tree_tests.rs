//! Trees against a model: one value for each block.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::mapping::{Kind, Mapping};
use crate::numbers::map::NONE;
use crate::tree::MappingTree;

const BLOCK: u64 = 4096;

fn mapped(first: u64, count: u64, place: u64) -> Mapping {
    Mapping {
        offset: first * BLOCK,
        length: count * BLOCK,
        addr: place * BLOCK,
        kind: Kind::Mapped,
        flags: 0,
        dev: 1,
    }
}

fn records(tree: &MappingTree) -> Vec<Mapping> {
    tree.records().copied().collect()
}

#[test]
fn neighbours_merge_three_ways() {
    let mut tree = MappingTree::default();
    tree.upsert(mapped(0, 2, 10), 1 << 20);
    tree.upsert(mapped(3, 2, 13), 1 << 20);
    assert_eq!(records(&tree).len(), 2);
    tree.upsert(mapped(2, 1, 12), 1 << 20);
    assert_eq!(records(&tree), [mapped(0, 5, 10)]);
}

#[test]
fn what_differs_does_not_merge() {
    let base = mapped(0, 1, 10);
    let next = mapped(1, 1, 11);
    assert!(base.merges_with(&next));
    for other in [
        Mapping { flags: 1, ..next },
        Mapping { dev: 2, ..next },
        Mapping {
            kind: Kind::Unwritten,
            ..next
        },
        Mapping {
            addr: next.addr + BLOCK,
            ..next
        },
        Mapping {
            offset: next.offset + BLOCK,
            ..next
        },
    ] {
        assert!(!base.merges_with(&other), "{other:?}");
    }
    let hole = Mapping::hole(0, BLOCK);
    assert!(hole.merges_with(&Mapping::hole(BLOCK, BLOCK)));
    let huge = Mapping::hole(0, 1 << 63);
    assert!(!huge.merges_with(&Mapping::hole(1 << 63, BLOCK)));
}

#[test]
fn removal_splits_a_record_and_keeps_places() {
    let mut tree = MappingTree::default();
    tree.upsert(mapped(0, 10, 100), 1 << 20);
    assert!(tree.remove(3 * BLOCK, 5 * BLOCK));
    assert_eq!(records(&tree), [mapped(0, 3, 100), mapped(5, 5, 105)]);
    assert!(!tree.remove(3 * BLOCK, 5 * BLOCK));
    assert!(!tree.remove(8 * BLOCK, 2 * BLOCK), "a range that wraps");
}

#[test]
fn a_tree_over_its_limit_is_emptied_at_the_next_upsert() {
    let mut tree = MappingTree::default();
    for number in 0..9 {
        let dropped = tree.upsert(mapped(2 * number, 1, 50 + number * 3), 256);
        assert!(!dropped, "eight records are the limit, nine are over it");
    }
    assert!(tree.upsert(mapped(100, 1, 500), 256));
    assert_eq!(records(&tree), [mapped(100, 1, 500)]);
}

#[test]
fn a_place_that_is_not_there_stays_so_when_cut() {
    let hole = Mapping::hole(0, 4 * BLOCK);
    assert_eq!(hole.part(BLOCK, 2 * BLOCK).addr, NONE);
}

#[derive(Debug, Clone)]
enum Change {
    Upsert(u64, u64, u64, bool),
    Remove(u64, u64),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0..60u64, 1..12u64, 0..4u64, any::<bool>())
            .prop_map(|(first, count, shift, hole)| Change::Upsert(first, count, shift, hole)),
        (0..60u64, 1..20u64).prop_map(|(first, count)| Change::Remove(first, first + count)),
    ]
}

proptest! {
    #[test]
    fn a_tree_says_what_a_table_of_blocks_says(changes in prop::collection::vec(change(), 1..60)) {
        let mut tree = MappingTree::default();
        let mut model: BTreeMap<u64, Mapping> = BTreeMap::new();
        for change in changes {
            match change {
                Change::Upsert(first, count, shift, hole) => {
                    let new = match hole {
                        true => Mapping::hole(first * BLOCK, count * BLOCK),
                        false => mapped(first, count, first + 1000 * (1 + shift)),
                    };
                    tree.upsert(new, 1 << 20);
                    for block in first..first + count {
                        model.insert(block, new.part(block * BLOCK, (block + 1) * BLOCK));
                    }
                }
                Change::Remove(first, end) => {
                    tree.remove(first * BLOCK, end * BLOCK);
                    model.retain(|block, _| *block < first || *block >= end);
                }
            }
            for block in 0..90 {
                let found = tree.lookup(block * BLOCK + 7);
                let part = found.map(|record| record.part(block * BLOCK, (block + 1) * BLOCK));
                prop_assert_eq!(part, model.get(&block).copied());
            }
            let all = records(&tree);
            for pair in all.windows(2) {
                prop_assert!(pair[0].end() <= pair[1].offset);
                prop_assert!(!pair[0].merges_with(&pair[1]), "canonical: {:?}", pair);
            }
        }
    }
}
