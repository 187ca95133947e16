//! Every rule of 4.5, both variants, and that earlier rules come first.

use crate::judge::{Context, judge_mapping, judge_pair};
use crate::mapping::Kind;
use crate::numbers::{map::NONE, opflag};
use crate::personality::Variant;
use crate::rule::Rule;
use crate::wire::{BeginOut, MapIo};

const BLOCK: u64 = 4096;
const MAXBYTES: u64 = 1 << 44;

fn context(variant: Variant) -> Context {
    Context {
        variant,
        block_bytes: BLOCK,
        maxbytes: MAXBYTES,
        has_cache: true,
    }
}

fn io(kind: Kind) -> MapIo {
    let place = kind.has_place();
    MapIo {
        offset: 2 * BLOCK,
        length: 2 * BLOCK,
        addr: if place { 8 * BLOCK } else { NONE },
        kind: kind.number(),
        flags: 0,
        dev: place.into(),
    }
}

const KINDS: [Kind; 8] = [
    Kind::Hole,
    Kind::Delalloc,
    Kind::Mapped,
    Kind::Unwritten,
    Kind::Inline,
    Kind::Nocache,
    Kind::RetryCache,
    Kind::PureOverwrite,
];

/// What S and L say.
fn judged(io: &MapIo) -> [Option<Rule>; 2] {
    [Variant::S, Variant::L].map(|variant| judge_mapping(&context(variant), io, true).err())
}

/// The same rule in both.
fn both(rule: Rule) -> [Option<Rule>; 2] {
    [Some(rule), Some(rule)]
}

#[test]
fn proper_mappings_pass() {
    for kind in KINDS {
        assert_eq!(judged(&io(kind)), [None, None], "{kind:?}");
    }
}

#[test]
fn rule_1_types() {
    for kind in [5, 252, 256, u16::MAX] {
        let bad = MapIo {
            kind,
            length: 0,
            ..io(Kind::Hole)
        };
        assert_eq!(judged(&bad), both(Rule::MappingType));
    }
}

#[test]
fn rule_2_retry_needs_a_cache() {
    for variant in [Variant::S, Variant::L] {
        let context = Context {
            has_cache: false,
            ..context(variant)
        };
        let bad = MapIo {
            length: 0,
            ..io(Kind::RetryCache)
        };
        let judged = judge_mapping(&context, &bad, false);
        assert_eq!(judged, Err(Rule::RetryWithoutCache));
    }
}

#[test]
fn rules_4_to_8_for_every_type_that_has_them() {
    for kind in KINDS {
        let good = io(kind);
        let lenient = matches!(kind, Kind::Nocache | Kind::RetryCache);
        let expect = |rule| match lenient {
            true => [None, Some(rule)],
            false => both(rule),
        };
        for (bad, rule) in [
            (
                MapIo {
                    flags: 0x100,
                    length: 0,
                    ..good
                },
                Rule::MappingFlags,
            ),
            (
                MapIo {
                    flags: 0x200,
                    ..good
                },
                Rule::MappingFlags,
            ),
            (
                MapIo {
                    length: 0,
                    offset: 1,
                    ..good
                },
                Rule::MappingLength,
            ),
            (MapIo { offset: 1, ..good }, Rule::MappingAlignment),
            (MapIo { length: 1, ..good }, Rule::MappingAlignment),
            (
                MapIo {
                    length: u64::MAX - BLOCK + 1,
                    ..good
                },
                Rule::MappingOverflow,
            ),
            (
                MapIo {
                    offset: MAXBYTES,
                    ..good
                },
                Rule::MappingBeyondMaxbytes,
            ),
        ] {
            assert_eq!(judged(&bad), expect(rule), "{kind:?} {bad:?}");
        }
        let long = MapIo {
            length: MAXBYTES,
            ..good
        };
        assert_eq!(
            judged(&long),
            [None, None],
            "the end may be behind the largest file's"
        );
    }
}

#[test]
fn rule_6_places() {
    for kind in [Kind::Mapped, Kind::Unwritten] {
        let bad = MapIo {
            dev: 0,
            addr: NONE,
            ..io(kind)
        };
        assert_eq!(judged(&bad), both(Rule::DeviceMissing));
        let bad = MapIo {
            addr: NONE,
            ..io(kind)
        };
        assert_eq!(judged(&bad), both(Rule::AddressMissing));
        let bad = MapIo {
            addr: u64::MAX - BLOCK,
            ..io(kind)
        };
        assert_eq!(judged(&bad), both(Rule::AddressOverflow));
    }
    for kind in [Kind::Hole, Kind::Delalloc, Kind::Inline] {
        for bad in [
            MapIo { dev: 1, ..io(kind) },
            MapIo {
                addr: 0,
                ..io(kind)
            },
        ] {
            assert_eq!(judged(&bad), both(Rule::PlaceGiven));
        }
    }
}

#[test]
fn rules_2_3_7_only_l_looks_at_the_fields_of_special_types() {
    for kind in [Kind::Nocache, Kind::RetryCache, Kind::PureOverwrite] {
        let good = io(kind);
        for bad in [
            MapIo { dev: 1, ..good },
            MapIo { addr: 0, ..good },
            MapIo { flags: 2, ..good },
        ] {
            assert_eq!(judged(&bad), [None, Some(Rule::SpecialFields)], "{kind:?}");
        }
    }
}

#[test]
fn rule_7_pure_overwrite_is_for_writes() {
    for variant in [Variant::S, Variant::L] {
        let judged = judge_mapping(&context(variant), &io(Kind::PureOverwrite), false);
        assert_eq!(judged, Err(Rule::PureOverwriteAsRead));
    }
}

fn pair(read: MapIo, write: MapIo, opflags: u32, pos: u64) -> [Option<Rule>; 2] {
    let reply = BeginOut { read, write };
    [Variant::S, Variant::L]
        .map(|variant| judge_pair(&context(variant), &reply, opflags, pos).err())
}

#[test]
fn rules_9_and_10_of_both_mappings() {
    let (mapped, pure) = (io(Kind::Mapped), io(Kind::PureOverwrite));
    let nocache = io(Kind::Nocache);
    let pos = 2 * BLOCK;
    assert_eq!(pair(mapped, pure, 0, pos), [None, None]);
    assert_eq!(pair(mapped, nocache, 0, pos), both(Rule::NocacheInReply));
    assert_eq!(pair(nocache, pure, 0, pos), both(Rule::NocacheInReply));
    for outside in [pos - 1, pos + 2 * BLOCK] {
        for read in [mapped, io(Kind::RetryCache), io(Kind::Hole)] {
            assert_eq!(pair(read, pure, 0, outside), both(Rule::PositionNotCovered));
        }
    }
    let elsewhere = MapIo { offset: 0, ..pure };
    assert_eq!(
        pair(mapped, elsewhere, 0, pos),
        both(Rule::PositionNotCovered)
    );
    let unfilled = MapIo::default();
    assert_eq!(pair(mapped, unfilled, 0, pos), both(Rule::MappingLength));
}

#[test]
fn rules_11_and_12_are_of_l() {
    let (mapped, pure) = (io(Kind::Mapped), io(Kind::PureOverwrite));
    let retry = io(Kind::RetryCache);
    let pos = 2 * BLOCK;
    for opflags in [
        opflag::ATOMIC | opflag::WRITE,
        opflag::SWAPFILE | opflag::REPORT,
    ] {
        let judged = pair(retry, pure, opflags, pos);
        assert_eq!(judged, [None, Some(Rule::RetryUncacheable)]);
    }
    let atomic = opflag::ATOMIC | opflag::WRITE | opflag::DIRECT;
    let judged = pair(mapped, pure, atomic, pos);
    assert_eq!(judged, [None, Some(Rule::AtomicReply)]);
    let untorn = MapIo {
        flags: 1 << 6,
        ..mapped
    };
    assert_eq!(pair(untorn, pure, atomic, pos), [None, None]);
}
