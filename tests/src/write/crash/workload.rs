//! Workloads in the manner of ACE ("Finding Crash-Consistency Bugs with Bounded Black-Box
//! Crash Testing", OSDI 2018): all ordered pairs of operations on a few names, each made
//! durable after the first, after the second, altogether, or not at all.

use fs_core::{Allocation, RenameMode};

use crate::rng::Rng;
use crate::write::operation::{Operation, Path, Target};

/// What is there, durably, before each workload.
pub fn setup() -> Vec<Operation> {
    vec![
        Operation::mkdir("/A"),
        Operation::mkdir("/B"),
        Operation::mkdir("/E"),
        Operation::file("/A/foo"),
        Operation::write("/A/foo", 0, 3000, 1),
        Operation::set_xattr("/A/foo", "user.a", 20, 2),
        Operation::file("/B/bar"),
        Operation::write("/B/bar", 0, 5000, 3),
        Operation::write("/B/bar", 8192, 2000, 4),
        Operation::chmod("/B/bar", 0o600),
    ]
}

const KEEP: Allocation = Allocation::Allocate { keep_size: true };
const GROW: Allocation = Allocation::Allocate { keep_size: false };
const ZERO: Allocation = Allocation::ZeroRange { keep_size: false };

/// The operations pairs are made of. `second` changes data and new names, so that a pair
/// of the same operation is not one of the same bytes.
pub fn operations(second: bool) -> Vec<Operation> {
    use RenameMode::{Exchange, Replace};
    let seed = if second { 1000 } else { 2000 };
    let long = "x".repeat(300);
    let new = |name: &str| format!("{name}{}", if second { 2 } else { 1 });
    vec![
        Operation::file(&new("/A/new")),
        // Appending, within the last block and beyond it.
        Operation::write("/A/foo", 3000, 2500, seed),
        Operation::write("/A/foo", 500, 1500, seed + 1),
        Operation::write("/A/foo", 10_000, 3000, seed + 2),
        Operation::truncate("/A/foo", 1000),
        Operation::truncate("/A/foo", 9000),
        Operation::link("/A/foo", &new("/B/link")),
        Operation::unlink("/A/foo"),
        Operation::unlink("/B/bar"),
        Operation::rename("/A/foo", &new("/A/moved"), Replace),
        Operation::rename("/A/foo", "/B/bar", Replace),
        Operation::rename("/A/foo", "/B/foo", Replace),
        Operation::rename("/B/foo", "/A/foo", Replace),
        Operation::rename("/A/foo", "/B/bar", Exchange),
        Operation::rename("/B", "/A/dir", Replace),
        Operation::rename("/A", "/B", Exchange),
        Operation::rename("/A", "/E", Replace),
        Operation::mkdir(&new("/A/sub")),
        Operation::rmdir("/E"),
        Operation::symlink(&new("/B/short"), "../A/foo"),
        Operation::symlink(&new("/B/long"), &long),
        Operation::set_xattr("/A/foo", "user.a", 30, seed + 3),
        Operation::set_xattr("/A/foo", "user.large", 400, seed + 4),
        Operation::remove_xattr("/A/foo", "user.a"),
        Operation::allocate("/A/foo", GROW, 2048, 4000),
        Operation::allocate("/A/foo", KEEP, 8192, 4096),
        Operation::allocate("/B/bar", Allocation::PunchHole, 700, 2000),
        Operation::allocate("/B/bar", ZERO, 700, 5000),
        Operation::allocate("/B/bar", Allocation::CollapseRange, 1024, 2048),
        Operation::allocate("/B/bar", Allocation::InsertRange, 1024, 2048),
        Operation::chmod("/A/foo", if second { 0o711 } else { 0o755 }),
    ]
}

/// When something is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// When the volume is closed.
    Never,
    /// After the first operation: what it was about.
    FsyncFirst,
    /// After the second: what that was about.
    FsyncSecond,
    /// Everything, after the first.
    Sync,
}

/// All of them.
pub const DURABLE: [Durable; 4] = [
    Durable::Never,
    Durable::FsyncFirst,
    Durable::FsyncSecond,
    Durable::Sync,
];

/// All ordered pairs.
pub fn pairs() -> Vec<Vec<Operation>> {
    let mut workloads = Vec::new();
    for first in operations(false) {
        for second in operations(true) {
            for durable in DURABLE {
                let mut workload = vec![first.clone()];
                match durable {
                    Durable::FsyncFirst => workload.push(fsync(&first)),
                    Durable::Sync => workload.push(Operation::Sync),
                    Durable::Never | Durable::FsyncSecond => {}
                }
                workload.push(second.clone());
                if durable == Durable::FsyncSecond {
                    workload.push(fsync(&second));
                }
                workloads.push(workload);
            }
        }
    }
    workloads
}

/// fsync(2) of what an operation is about: the file, or the directory of its new name.
fn fsync(operation: &Operation) -> Operation {
    let target = match operation {
        Operation::Write { file, .. }
        | Operation::Truncate { file, .. }
        | Operation::Allocate { file, .. } => file.clone(),
        Operation::SetAttributes { target, .. }
        | Operation::SetXattr { target, .. }
        | Operation::RemoveXattr { target, .. } => target.clone(),
        Operation::Create { at, .. }
        | Operation::Link { at, .. }
        | Operation::Unlink { at }
        | Operation::Rmdir { at }
        | Operation::Rename { to: at, .. } => {
            let parent = at.split().map(|(parent, _)| parent.to_vec());
            Target::Path(Path(parent.unwrap_or_default()))
        }
        _ => "/".into(),
    };
    Operation::Fsync { target }
}

/// A file that has a durable name besides the one that moves: after a crash without a journal
/// it may have three.
pub fn one_of_two_names_moves() -> Vec<Operation> {
    vec![
        Operation::link("/A/foo", "/B/link1"),
        Operation::fsync("/B"),
        Operation::rename("/A/foo", "/B/foo", RenameMode::Replace),
    ]
}

/// A longer workload of the same operations.
pub fn random(seed: u64, len: usize) -> Vec<Operation> {
    let mut rng = Rng::new(seed);
    let pool: Vec<Operation> = [operations(false), operations(true)].concat();
    let mut workload = Vec::new();
    while workload.len() < len {
        let Some(operation) = pool.get(rng.below(pool.len() as u64) as usize) else {
            break;
        };
        workload.push(operation.clone());
        match rng.below(6) {
            0 => workload.push(Operation::Sync),
            1 => workload.push(fsync(operation)),
            2 => workload.push(with_new_data(operation, rng.next_u64())),
            _ => {}
        }
    }
    workload
}

/// A write or an attribute with other bytes.
fn with_new_data(operation: &Operation, new_seed: u64) -> Operation {
    let mut operation = operation.clone();
    if let Operation::Write { data, offset, .. } = &mut operation {
        data.seed = new_seed;
        *offset = new_seed % 12_000;
    }
    operation
}

/// The same in another order, so that a part of them is a sample.
pub fn shuffled(mut workloads: Vec<Vec<Operation>>, seed: u64) -> Vec<Vec<Operation>> {
    let mut rng = Rng::new(seed);
    for at in (1..workloads.len()).rev() {
        workloads.swap(at, rng.below(at as u64 + 1) as usize);
    }
    workloads
}

/// A file of many extents, each of one small block, which no single change can cut.
pub fn scattered_setup(extents: u64) -> Vec<Operation> {
    let mut operations = vec![Operation::mkdir("/A"), Operation::file("/A/many")];
    for number in 0..extents {
        operations.push(Operation::write("/A/many", number * 2048, 1000, number));
    }
    operations
}

/// Ends of that file, and of files held open.
pub fn orphans() -> Vec<Vec<Operation>> {
    let ends = [
        vec![Operation::truncate("/A/many", 0)],
        vec![Operation::truncate("/A/many", 30_000)],
        vec![Operation::unlink("/A/many")],
        vec![
            Operation::file("/A/one"),
            Operation::rename("/A/one", "/A/many", RenameMode::Replace),
        ],
        vec![
            hold("/A/many"),
            Operation::unlink("/A/many"),
            Operation::Sync,
            release(),
        ],
        vec![
            hold("/A/many"),
            Operation::unlink("/A/many"),
            Operation::Sync,
        ],
        vec![Operation::allocate(
            "/A/many",
            Allocation::PunchHole,
            1500,
            200_000,
        )],
        vec![Operation::allocate(
            "/A/many",
            Allocation::CollapseRange,
            2048,
            40_960,
        )],
        vec![Operation::allocate(
            "/A/many",
            Allocation::InsertRange,
            2048,
            4096,
        )],
        vec![Operation::allocate("/A/many", ZERO, 1500, 200_000)],
        vec![Operation::allocate("/A/many", GROW, 0, 300_000)],
        vec![
            unnamed(),
            Operation::Sync,
            held_write(),
            Operation::Sync,
            release(),
        ],
        vec![
            unnamed(),
            held_write(),
            held_link("/A/named"),
            Operation::Sync,
            release(),
        ],
        vec![
            unnamed(),
            unnamed(),
            hold("/A/many"),
            Operation::unlink("/A/many"),
            Operation::Sync,
            release(),
            Operation::Sync,
            release(),
        ],
    ];
    ends.into()
}

fn hold(path: &str) -> Operation {
    let target = path.into();
    Operation::Retain { target }
}

fn release() -> Operation {
    Operation::Release { held: 0 }
}

fn unnamed() -> Operation {
    let (parent, new) = ("/A".into(), fs_core::NewInode::file(0o600));
    Operation::CreateUnnamed { parent, new }
}

fn held_write() -> Operation {
    Operation::Write {
        file: Target::Held(0),
        data: crate::write::operation::Data { seed: 9, len: 5000 },
        offset: 100,
        context: fs_core::WriteContext::default(),
    }
}

fn held_link(at: &str) -> Operation {
    Operation::Link {
        from: Target::Held(0),
        at: at.into(),
    }
}

/// Many commits, so that the log is written around several times.
pub fn many_commits(commits: u64) -> Vec<Operation> {
    let mut workload = Vec::new();
    for number in 0..commits {
        let name = format!("/A/file{}", number % 7);
        workload.push(match number % 5 {
            0 => Operation::file(&name),
            1 => Operation::write("/A/foo", number * 37 % 9000, 700, number),
            2 => Operation::set_xattr("/A/foo", "user.n", 300, number),
            3 => Operation::unlink(&format!("/A/file{}", (number / 2) % 7)),
            _ => Operation::mkdir(&format!("/B/dir{}", number % 3)),
        });
        if number % 5 == 4 {
            workload.push(Operation::rmdir(&format!("/B/dir{}", (number + 1) % 3)));
        }
        workload.push(Operation::Sync);
    }
    workload
}

/// What fills a small volume but for a few blocks, so that freed ones are soon used again.
pub fn crowded_setup() -> Vec<Operation> {
    let mut operations = setup();
    operations.push(Operation::file("/filler"));
    operations.push(Operation::allocate("/filler", GROW, 0, CROWD_BYTES));
    operations
}

/// The free space of a small volume after [`setup`], less about 16 KiB.
const CROWD_BYTES: u64 = 1000 << 10;

/// A block is freed, and all that is free is then written: by then its place in the log, or
/// what was durable, must count no more.
pub fn taken_again() -> Vec<Vec<Operation>> {
    let metadata = [
        (Operation::mkdir("/A/d"), Operation::rmdir("/A/d")),
        (
            Operation::set_xattr("/A/foo", "user.large", 500, 5),
            Operation::remove_xattr("/A/foo", "user.large"),
        ),
        (Operation::file("/A/f"), Operation::unlink("/B/bar")),
        (Operation::file("/A/f"), Operation::truncate("/B/bar", 10)),
    ];
    let mut workloads = Vec::new();
    for (makes, frees) in metadata {
        for is_durable in [true, false] {
            let mut workload = vec![makes.clone(), Operation::Sync, frees.clone()];
            if is_durable {
                workload.push(Operation::Sync);
            }
            workload.push(Operation::file("/A/all"));
            workload.push(Operation::write("/A/all", 0, 80_000, 7));
            workload.push(Operation::fsync("/A/all"));
            workload.push(Operation::chmod("/E", 0o700));
            workloads.push(workload);
        }
    }
    workloads
}

/// Metadata blocks come and go, and what was one holds content a moment later.
pub fn reuse(seed: u64, len: usize) -> Vec<Operation> {
    let mut rng = Rng::new(seed);
    let mut workload = Vec::new();
    while workload.len() < len {
        let name = format!("/A/r{}", rng.below(4));
        let bytes = rng.below(5000) as usize + 1;
        let at = rng.below(4) * 1024;
        workload.push(match rng.below(9) {
            0 => Operation::mkdir(&name),
            1 => Operation::rmdir(&name),
            2 => Operation::file(&name),
            3 => Operation::unlink(&name),
            4 => Operation::write(&name, at, bytes, rng.next_u64()),
            5 => Operation::set_xattr("/A/foo", "user.large", 500, rng.next_u64()),
            6 => Operation::remove_xattr("/A/foo", "user.large"),
            7 => Operation::truncate(&name, rng.below(3000)),
            _ => Operation::Sync,
        });
    }
    workload
}
