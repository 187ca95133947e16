//! Whatever fails on the way, no place of a superblock, primary or backup, holds a valid
//! one unless all that it describes is there: neither a new one too early, which repair
//! would take for a whole file system, nor an old one once its file system is half gone.
#![allow(clippy::expect_used)]

mod common;

use std::ops::Range;
use std::sync::Arc;

use fs_core::RoCompatFeatures;
use fs_core::encode::RawSuperblock;
use images::{Fault, Faulty, Memory, Operation, Recorder, Unflushed};
use mkfs::tree::directory;
use mkfs::{Foundation, Plan, Request, ScanOptions, Tree};
use uuid::Uuid;

const PRIMARY: Range<usize> = 1024..2048;
/// Where signatures are looked for, at either end.
const SIGNATURES_LEN: usize = 64 << 10;

fn has_superblock_at(image: &[u8], place: &Range<usize>) -> bool {
    let bytes = image.get(place.clone()).unwrap_or_default();
    RawSuperblock::from_prefix(bytes).is_some_and(|raw| raw.has_magic())
}

fn has_superblock(image: &[u8]) -> bool {
    has_superblock_at(image, &PRIMARY)
}

/// A plan, what it is written over and what becomes of that.
struct Scene<'p> {
    plan: &'p Plan<'p>,
    /// An older file system of the same shape with another UUID, and so with other
    /// checksums everywhere.
    old: Vec<u8>,
    new: Vec<u8>,
    /// All places of superblocks in `new`, the primary first.
    places: Vec<Range<usize>>,
}

impl Scene<'_> {
    /// False if some superblock is there without what it describes.
    fn is_allowed(&self, image: &[u8]) -> bool {
        let is_there = |place| has_superblock_at(image, place);
        !self.places.iter().any(is_there)
            || self.equals_between_places(image, &self.new, 0)
            || self.equals_between_places(image, &self.old, SIGNATURES_LEN)
    }

    /// True if two images are equal but for superblocks and so many bytes at either end.
    fn equals_between_places(&self, image: &[u8], other: &[u8], ends_len: usize) -> bool {
        let mut start = ends_len;
        let last = image.len() - ends_len;
        let mut pieces = Vec::new();
        for place in &self.places {
            pieces.push(start..place.start.max(start));
            start = place.end.max(start);
        }
        pieces.push(start..last);
        pieces
            .into_iter()
            .all(|piece| image[piece.clone()] == other[piece])
    }

    /// Runs the plan over the older file system with a fault that ends the run, if any:
    /// what is left, whether the run succeeded, and how many operations there were.
    fn run_with(&self, fault: Option<(Operation, u64)>) -> (Vec<u8>, bool, u64) {
        let memory = Arc::new(Memory::new(self.old.clone()));
        let faulty = Faulty::new(memory.clone());
        if let Some((operation, number)) = fault {
            faulty.set_fault(operation, Some(Fault::From(number)));
        }
        let succeeded = self.plan.write(&faulty, &()).is_ok();
        let counted = fault.map_or(Operation::Write, |(operation, _)| operation);
        (memory.snapshot(), succeeded, faulty.count(counted))
    }
}

/// Calls `test` with an empty file system and with one that has files, and backups in
/// all groups.
fn with_scenes(test: impl Fn(&Scene<'_>)) {
    let request = common::small_ext4();
    with_scene(&request, &Tree::empty(request.identity.time), &test);

    let source = tempfile::tempdir().expect("a directory");
    for (name, len) in [("a", 300_000), ("b", 5), ("c", 70_000)] {
        std::fs::write(source.path().join(name), vec![7; len]).expect("a file");
    }
    let tree = directory::scan(source.path(), &ScanOptions::default(), &()).expect("scans");
    let mut request = request;
    let ro_compat = &mut request.geometry.features.ro_compat;
    ro_compat.remove(RoCompatFeatures::SPARSE_SUPER);
    with_scene(&request, &tree, &test);
}

fn with_scene(request: &Request, tree: &Tree, test: &impl Fn(&Scene<'_>)) {
    let mut older = request.clone();
    older.identity.uuid = Uuid::from_u128(99);
    let len = usize::try_from(request.geometry.blocks * 1024).expect("small");
    let old = made(&older, tree, vec![0x5A; len]);
    let new = made(request, tree, old.clone());
    // Groups begin behind the boot block; in the first that is the primary's place.
    let places: Vec<_> = (0..3)
        .map(|group| (1 + group * 8192) * 1024)
        .map(|start| start..start + 1024)
        .filter(|place| has_superblock_at(&new, place))
        .collect();
    assert!(places.len() >= 2, "{places:?}");
    let foundation = Foundation::new(request).expect("a sound request");
    let plan = &Plan::new(&foundation, tree).expect("room");
    test(&Scene {
        plan,
        old,
        new,
        places,
    });
}

/// `image` with a file system made on it.
fn made(request: &Request, tree: &Tree, image: Vec<u8>) -> Vec<u8> {
    let foundation = Foundation::new(request).expect("a sound request");
    let plan = Plan::new(&foundation, tree).expect("room");
    let memory = Memory::new(image);
    plan.write(&memory, &()).expect("nothing fails");
    assert!(has_superblock(&memory.snapshot()));
    memory.snapshot()
}

#[test]
fn a_failing_write_leaves_no_superblock() {
    with_scenes(|scene| {
        let (left, succeeded, writes) = scene.run_with(None);
        assert!(succeeded && writes > 10, "{writes} writes");
        assert!(left == scene.new);
        for number in 0..writes {
            let (left, succeeded, _) = scene.run_with(Some((Operation::Write, number)));
            assert!(!succeeded, "write {number}");
            assert!(scene.is_allowed(&left), "write {number}");
            // Before the first write that counts nothing has happened.
            let is_old = || left == scene.old;
            assert!(!has_superblock(&left) || is_old(), "write {number}");
        }
    });
}

#[test]
fn a_failing_flush_is_a_failure() {
    with_scenes(|scene| {
        let (_, _, flushes) = scene.run_with(Some((Operation::Flush, u64::MAX)));
        for number in 0..flushes {
            let (left, succeeded, _) = scene.run_with(Some((Operation::Flush, number)));
            assert!(!succeeded, "flush {number}");
            assert!(scene.is_allowed(&left), "flush {number}");
            // Only the last flush comes behind the superblock.
            assert!(
                number + 1 == flushes || !has_superblock(&left),
                "flush {number} of {flushes}"
            );
        }
    });
}

#[test]
fn a_power_cut_leaves_the_old_file_system_none_or_the_whole_new_one() {
    with_scenes(|scene| {
        let recorder = Recorder::new(scene.old.clone());
        scene.plan.write(&recorder, &()).expect("nothing fails");
        assert!(recorder.live() == scene.new);
        let mut replay = recorder.replay();
        let mut without = 0;
        while replay.step() {
            let mixed = (0..4).map(Unflushed::Mixed);
            for unflushed in [Unflushed::Kept, Unflushed::Lost].into_iter().chain(mixed) {
                let image = replay.after_power_cut(unflushed);
                assert!(
                    scene.is_allowed(&image),
                    "{unflushed:?}, {} pending",
                    replay.pending()
                );
                // The primary is the last: with it all backups are there.
                assert!(
                    !has_superblock(&image)
                        || image == scene.old
                        || image[PRIMARY.end..] == scene.new[PRIMARY.end..],
                    "{unflushed:?}, {} pending",
                    replay.pending()
                );
                without += u32::from(!has_superblock(&image));
            }
        }
        assert!(without > 50, "only {without} cuts without a superblock");
    });
}

#[test]
fn a_device_wrongly_said_to_be_zeros_loses_its_signatures() {
    let mut request = common::small_ext4();
    request.writing.prezeroed = true;
    let tree = Tree::empty(request.identity.time);
    let foundation = Foundation::new(&request).expect("a sound request");
    let plan = Plan::new(&foundation, &tree).expect("room");
    let len = usize::try_from(request.geometry.blocks * 1024).expect("small");
    let memory = Arc::new(Memory::new(vec![0x5A; len]));
    plan.write(&*memory, &()).expect("nothing fails");
    let image = memory.snapshot();
    assert!(image[..1024].iter().all(|byte| *byte == 0));
    assert!(image[len - SIGNATURES_LEN..].iter().all(|byte| *byte == 0));

    // Over a file system, without getting to the end: neither superblock is left.
    let faulty = Faulty::new(memory.clone());
    faulty.set_fault(Operation::Flush, Some(Fault::From(2)));
    plan.write(&faulty, &()).expect_err("a flush fails");
    let left = memory.snapshot();
    for place in [PRIMARY, 8193 * 1024..8194 * 1024] {
        assert!(has_superblock_at(&image, &place), "{place:?}");
        assert!(!has_superblock_at(&left, &place), "{place:?}");
    }
}

#[test]
fn equal_plans_give_equal_bytes_whether_zeros_are_written_or_there() {
    let mut request = common::small_ext4();
    request.writing.lazy_itable_init = false;
    let foundation = Foundation::new(&request).expect("a sound request");
    let tree = Tree::empty(request.identity.time);
    let plan = Plan::new(&foundation, &tree).expect("room");
    let len = usize::try_from(request.geometry.blocks * 1024).expect("small");
    let [first, second] = [(), ()].map(|()| {
        let memory = Memory::zeroed(len);
        plan.write(&memory, &()).expect("nothing fails");
        memory.snapshot()
    });
    assert!(first == second);
    let mut prezeroed = request.clone();
    prezeroed.writing.prezeroed = true;
    let foundation = Foundation::new(&prezeroed).expect("a sound request");
    let plan = Plan::new(&foundation, &tree).expect("room");
    let memory = Memory::zeroed(len);
    plan.write(&memory, &()).expect("nothing fails");
    assert!(memory.snapshot() == first);
}
