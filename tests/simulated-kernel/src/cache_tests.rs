//! Lookup, numbers and invalidation of a mapping cache.

use crate::cache::MappingCache;
use crate::mapping::{Kind, Mapping};
use crate::numbers::{map::NONE, opflag};
use crate::personality::Variant;

const BLOCK: u64 = 4096;
const LIMIT: u64 = 1 << 20;
const MAXBYTES: u64 = 1 << 40;

fn of_kind(kind: Kind) -> Mapping {
    let place = kind.has_place();
    Mapping {
        offset: 0,
        length: 4 * BLOCK,
        addr: if place { 64 * BLOCK } else { NONE },
        kind,
        flags: 0,
        dev: place.into(),
    }
}

fn cache(read: Kind, write: Kind) -> MappingCache {
    let mut cache = MappingCache::default();
    cache.upsert(of_kind(read), of_kind(write), LIMIT);
    cache
}

#[test]
fn an_absent_write_tree_means_pure_overwrites() {
    for write in [Kind::Nocache, Kind::PureOverwrite] {
        let cache = cache(Kind::Mapped, write);
        assert!(cache.write_tree().is_none());
        let hit = cache.lookup(opflag::WRITE, BLOCK).unwrap();
        assert_eq!(hit.destination, of_kind(Kind::Mapped));
        assert_eq!(hit.source, None);
    }
}

#[test]
fn a_write_elsewhere_needs_both_trees() {
    let mut cache = cache(Kind::Hole, Kind::Mapped);
    let hit = cache.lookup(opflag::WRITE, 0).unwrap();
    assert_eq!(hit.destination.kind, Kind::Mapped);
    assert_eq!(hit.source.unwrap().kind, Kind::Hole);
    cache.invalidate(Some((0, 4 * BLOCK)), None, MAXBYTES, Variant::L);
    assert_eq!(cache.lookup(opflag::WRITE, 0), None);
}

#[test]
fn an_invalidated_write_tree_is_empty_and_not_absent() {
    let mut cache = cache(Kind::Mapped, Kind::Mapped);
    cache.invalidate(None, Some((0, 4 * BLOCK)), MAXBYTES, Variant::S);
    assert!(cache.write_tree().is_some());
    assert_eq!(cache.lookup(opflag::WRITE, 0), None);
    assert!(cache.lookup(0, 0).is_some());
}

#[test]
fn hits_that_are_of_no_use_are_misses() {
    for (kind, opflags, is_hit) in [
        (Kind::Hole, 0, true),
        (Kind::Hole, opflag::WRITE, false),
        (Kind::Hole, opflag::WRITEBACK, false),
        (Kind::Hole, opflag::ZERO, true),
        (Kind::Hole, opflag::WRITE | opflag::UNSHARE, true),
        (Kind::Delalloc, opflag::WRITE, true),
        (Kind::Delalloc, opflag::WRITE | opflag::DIRECT, false),
        (Kind::Delalloc, opflag::WRITEBACK, false),
        (Kind::Unwritten, opflag::WRITEBACK, true),
        (Kind::Inline, opflag::WRITE, true),
    ] {
        let cache = cache(kind, Kind::Nocache);
        let hit = cache.lookup(opflags, 0);
        assert_eq!(hit.is_some(), is_hit, "{kind:?} for {opflags:#x}");
    }
}

#[test]
fn every_change_has_a_number() {
    let mut cache = MappingCache::default();
    assert_eq!(cache.sequence(), 1);
    cache.upsert(of_kind(Kind::Mapped), of_kind(Kind::Nocache), LIMIT);
    assert_eq!(cache.sequence(), 2);
    cache.drop_range(0, BLOCK);
    assert_eq!(cache.sequence(), 3);
    cache.drop_range(0, BLOCK);
    assert_eq!(cache.sequence(), 3, "there was nothing");
}

#[test]
fn s_empties_a_whole_tree_without_a_number() {
    for (variant, sequence) in [(Variant::S, 2), (Variant::L, 3)] {
        let mut cache = cache(Kind::Mapped, Kind::Nocache);
        cache.invalidate(Some((0, u64::MAX)), None, MAXBYTES, variant);
        assert_eq!(cache.lookup(0, 0), None);
        assert_eq!(cache.sequence(), sequence);
    }
}
