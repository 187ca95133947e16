//! No space at any point of any operation: the volume is filled but for 0, 1, 2, ... blocks
//! or inodes, and the operation is done or leaves everything as it was, free counts too.

use super::{kind, options};
use anyhow::{Context, Result, ensure};
use fs_core::{Allocation, NewInode, NewKind, RenameMode, WriteContext};
use system_tests::mkfs::TOOLS;
use system_tests::skip;
use system_tests::write::device::Image;
use system_tests::write::judge::{self, Depth};
use system_tests::write::kinds::VolumeKind;
use system_tests::write::operation::{Data, Operation, Path};
use system_tests::write::run::Run;

/// More free blocks than any operation here needs.
const BLOCKS_MAX: u64 = 14;

/// A volume on which each operation has something to do: a directory whose block is nearly
/// full, a file whose map fills its inode, one with unwritten blocks.
fn prepared(run: &mut Run) -> Result<()> {
    let block = usize::try_from(run.model.traits.block_bytes)?;
    let (block_len, has_extents) = (block as u64, run.model.traits.has_extents);
    let mut operations = vec![
        Operation::mkdir("full"),
        Operation::mkdir("empty"),
        Operation::file("scattered"),
        Operation::file("small"),
        Operation::write("small", 0, 10, 1),
        Operation::mkdir("directory"),
        Operation::file("directory/inside"),
    ];
    for number in 0..4 * block / 1024 {
        let name = [format!("{number}").into_bytes(), vec![b'f'; 225]].concat();
        let at = Path::from("full").join(name);
        let new = NewInode::file(0o600);
        operations.push(Operation::Create { at, new });
    }
    for number in 0..4u64 {
        operations.push(Operation::write(
            "scattered",
            number * 3 * block_len,
            block,
            number,
        ));
    }
    if has_extents {
        operations.push(Operation::file("unwritten"));
        let how = Allocation::Allocate { keep_size: false };
        operations.push(Operation::allocate("unwritten", how, 0, 12 * block_len));
        for number in [1, 5] {
            operations.push(Operation::write("unwritten", number * block_len, block, 9));
        }
    }
    operations.push(Operation::Sync);
    operations
        .iter()
        .try_for_each(|operation| run.step(operation))
}

/// All of them, each on a prepared volume.
fn operations(block: u64, has_extents: bool) -> Vec<Operation> {
    let whole = usize::try_from(block).unwrap_or(0);
    let kinds = [
        NewKind::File,
        NewKind::Directory,
        NewKind::Symlink(vec![b't'; 200]),
        NewKind::Fifo,
    ];
    let long = "x".repeat(250);
    let into_full = format!("full/{long}");
    let mut all: Vec<Operation> = Vec::new();
    for new in kinds {
        all.push(Operation::create("new", new.clone()));
        all.push(Operation::create(&into_full, new.clone()));
        all.push(Operation::create("empty/new", new));
    }
    let mut with_xattrs = NewInode::file(0o600);
    with_xattrs.xattrs = vec![(b"user.large".to_vec(), vec![b'v'; whole / 2])];
    all.push(Operation::Create {
        at: Path::from("with attributes"),
        new: with_xattrs.clone(),
    });
    all.push(Operation::CreateUnnamed {
        parent: Path::root(),
        new: with_xattrs,
    });
    all.push(Operation::link("small", &into_full));
    for mode in [RenameMode::Replace, RenameMode::Whiteout] {
        all.push(Operation::rename("small", &into_full, mode));
        all.push(Operation::rename("directory", &into_full, mode));
        all.push(Operation::rename("small", "scattered", mode));
    }
    all.push(Operation::rename(
        "directory",
        "empty",
        RenameMode::Exchange,
    ));
    all.push(Operation::write("small", 0, 3 * whole, 3));
    all.push(Operation::write("small", 500 * block, 10, 3));
    all.push(Operation::write("scattered", block, whole, 3));
    all.push(Operation::write("scattered", 5000 * block, 2 * whole, 3));
    all.push(Operation::write("scattered", 0, 12 * whole, 3));
    all.push(Operation::truncate("scattered", block * 4 + 1));
    all.push(Operation::truncate("small", 100_000_000));
    all.push(Operation::set_xattr("small", "user.large", whole / 2, 4));
    all.push(Operation::set_xattr("small", "user.larger", 3 * whole, 4));
    all.push(Operation::set_xattr("full", "trusted.large", whole / 2, 4));
    all.push(Operation::allocate(
        "scattered",
        Allocation::PunchHole,
        block / 2,
        7 * block,
    ));
    if has_extents {
        for how in [
            Allocation::Allocate { keep_size: false },
            Allocation::Allocate { keep_size: true },
            Allocation::ZeroRange { keep_size: false },
            Allocation::UnshareRange,
        ] {
            all.push(Operation::allocate("scattered", how, block / 2, 14 * block));
            all.push(Operation::allocate("unwritten", how, block / 2, 16 * block));
        }
        for how in [Allocation::CollapseRange, Allocation::InsertRange] {
            all.push(Operation::allocate("scattered", how, 2 * block, 2 * block));
            all.push(Operation::allocate("unwritten", how, 2 * block, 2 * block));
        }
        all.push(Operation::write("unwritten", 8 * block, whole, 5));
        all.push(Operation::SwapExtents {
            a: "scattered".into(),
            a_offset: 0,
            b: "unwritten".into(),
            b_offset: block,
            len: 8 * block,
        });
    }
    for path in ["small", "full", "scattered"] {
        all.push(Operation::chmod(path, 0o700));
        all.push(Operation::rename(path, "renamed", RenameMode::Replace));
    }
    all.push(Operation::unlink("small"));
    all.push(Operation::unlink("scattered"));
    all.push(Operation::rmdir("empty"));
    all
}

/// Takes all blocks but for `left`, or a few more.
fn fill_blocks(run: &mut Run, left: u64) -> Result<u64> {
    let context = WriteContext {
        kernel_moves_content: false,
        may_use_reserve: true,
        clear_privileges: false,
        keeps_times: false,
    };
    run.step(&Operation::file("filler"))?;
    run.step(&Operation::Sync)?;
    let block = run.model.traits.block_bytes;
    let mut at = 0;
    // What maps the blocks takes some, too; and some come back when the rest is durable.
    for _ in 0..40 {
        let free = run.volume()?.statfs().blocks_free;
        if free <= left {
            break;
        }
        // The last ones one by one.
        let take = if free > left + 8 { free - left - 8 } else { 1 };
        let bytes = take * block;
        if run.model.traits.has_extents {
            run.step(&Operation::Allocate {
                file: "filler".into(),
                how: Allocation::Allocate { keep_size: false },
                offset: at,
                len: bytes,
                context,
            })?;
        } else {
            run.step(&Operation::Write {
                file: "filler".into(),
                data: Data {
                    seed: at,
                    len: usize::try_from(bytes)?,
                },
                offset: at,
                context,
            })?;
        }
        at += bytes;
        run.step(&Operation::Sync)?;
    }
    Ok(run.volume()?.statfs().blocks_free)
}

/// Takes all inodes but for `left`.
fn fill_inodes(run: &mut Run, left: u64) -> Result<u64> {
    run.step(&Operation::mkdir("filler"))?;
    let free = run.volume()?.statfs().inodes_free;
    for number in left..free {
        run.step(&Operation::file(&format!("filler/{number}")))?;
    }
    run.step(&Operation::Sync)?;
    Ok(run.volume()?.statfs().inodes_free)
}

fn check(
    kind: &VolumeKind,
    image: &Image,
    most: u64,
    fill: fn(&mut Run, u64) -> Result<u64>,
) -> Result<()> {
    let (mut done, mut refused) = (0, 0);
    for left in 0..=most {
        // Prepared and filled once, then each operation on a copy.
        let device = image.device();
        let mut run = Run::open(device.clone(), &options())?;
        prepared(&mut run)?;
        let free = fill(&mut run, left).with_context(|| format!("leaving {left}"))?;
        let (block, has_extents) = (run.model.traits.block_bytes, run.model.traits.has_extents);
        run.close()?;
        let filled = device.image();
        for operation in operations(block, has_extents) {
            let device = filled.device();
            let mut run = Run::open(device.clone(), &options())?;
            let what = || format!("\"{}\", {free} left: {operation:?}", kind.name);
            run.step(&operation).with_context(what)?;
            run.step(&Operation::Sync)?;
            let no_space = run.counts.of("ENOSPC");
            (done, refused) = (done + 1 - no_space, refused + no_space);
            judge::judge(run, &device, kind, Depth::Checked).with_context(what)?;
        }
    }
    println!(
        "{}: {done} operations done, {refused} without space",
        kind.name
    );
    ensure!(done > 0 && refused > 0, "{}: nothing was short", kind.name);
    Ok(())
}

fn blocks_of(name: &str) -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let kind = VolumeKind {
        size_kib: 3 << 10,
        ..kind(name)?
    };
    check(&kind, &kind.image()?, BLOCKS_MAX, fill_blocks)
}

#[test]
fn blocks_with_extents() -> Result<()> {
    blocks_of("few blocks")
}

#[test]
fn blocks_without_extents() -> Result<()> {
    blocks_of("few blocks, ext2")
}

#[test]
fn blocks_with_inline_data_and_ea_inodes() -> Result<()> {
    blocks_of("few blocks, inline_data, ea_inode")
}

#[test]
fn inodes() -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let kind = VolumeKind {
        mke2fs: &["-b", "1024", "-J", "size=1", "-N", "64", "-O", "ea_inode"],
        ..kind("few inodes")?
    };
    check(&kind, &kind.image()?, 3, fill_inodes)
}
