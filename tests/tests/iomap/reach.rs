//! How seldom the kernel has to ask: counted, not timed.

use anyhow::{Result, ensure};
use simulated_kernel::numbers::op;

use crate::rig::{Plan, Rig, on_both};

const ROOT: u64 = 1;
const MIB: u64 = 1 << 20;
const BLOCK: u64 = 4096;

fn each(image_bytes: u64, test: impl Fn(&Rig) -> Result<()>) -> Result<()> {
    on_both(|variant| {
        let rig = Rig::new(&Plan::new(variant).image_bytes(image_bytes))?;
        test(&rig)?;
        rig.finish()?;
        Ok(())
    })
}

/// A file of so many extents: every second block is written.
fn fragmented(rig: &Rig, extents: u64) -> Result<u64> {
    let kernel = &rig.kernel;
    let (entry, file) = kernel.create(ROOT, "fragmented", 0o644, 2)?;
    for extent in 0..extents {
        // Alternating files, so that neighbours in the file are none on the device.
        kernel.write_direct(
            file.nodeid,
            extent * 2 * BLOCK,
            &[extent as u8; BLOCK as usize],
        )?;
    }
    kernel.close(file)?;
    kernel.forget(entry.nodeid)?;
    Ok(extents)
}

/// Opens the file as who has never seen it, and reads it to the end; how often the kernel asked.
fn questions_to_read(rig: &Rig, extents: u64) -> Result<u64> {
    let kernel = &rig.kernel;
    let node = kernel.lookup(ROOT, "fragmented")?.nodeid;
    let file = kernel.open(node, 0)?;
    let before = kernel.counts().begin_count();
    for extent in 0..extents {
        let at = extent * 2 * BLOCK;
        let bytes = kernel.read_direct(node, at, BLOCK)?;
        ensure!(bytes == [extent as u8; BLOCK as usize], "extent {extent}");
    }
    kernel.close(file)?;
    Ok(kernel.counts().begin_count() - before)
}

#[test]
fn a_file_of_a_thousand_extents_is_read_without_a_question() -> Result<()> {
    each(64 * MIB, |rig| {
        // Holes are mappings too: 500 extents with 499 holes between them.
        let extents = fragmented(rig, 500)?;
        let questions = questions_to_read(rig, extents)?;
        ensure!(questions == 0, "{questions} questions");
        Ok(())
    })
}

#[test]
fn a_larger_one_with_one_question_for_each_budget() -> Result<()> {
    each(64 * MIB, |rig| {
        let extents = fragmented(rig, 3000)?;
        let questions = questions_to_read(rig, extents)?;
        // 5,999 mappings, of which 1,024 come at open.
        ensure!(questions <= 5, "{questions} questions");
        ensure!(rig.kernel.counts().trees_dropped == 0);
        Ok(())
    })
}

#[test]
fn a_long_direct_write_asks_once_for_each_64_mib() -> Result<()> {
    each(3 << 30, |rig| {
        let kernel = &rig.kernel;
        let (_, file) = kernel.create(ROOT, "long", 0o644, 2)?;
        let piece = vec![5; MIB as usize];
        let mut at_64 = 0;
        let mut calls_at_64 = 0;
        for mib in 0..1024 {
            if mib == 64 {
                at_64 = kernel.counts().begin_count();
                calls_at_64 = rig.activity.call_count();
            }
            kernel.write_direct(file.nodeid, mib * MIB, &piece)?;
        }
        // An IOEND has no I/O of its own; allocating may read a bitmap, and the journal
        // commits every five seconds.
        let calls = rig.activity.call_count() - calls_at_64;
        ensure!(calls <= 200, "{calls} reads and writes for 960 IOENDs");
        let counts = kernel.counts();
        let questions = counts.begin_count() - at_64;
        ensure!(questions <= (1024 - 64) / 64, "{questions} behind 64 MiB");
        ensure!(at_64 <= 16, "{at_64} before");
        ensure!(counts.request_count(op::IOMAP_IOEND) == 1024);
        kernel.close(file)?;
        Ok(())
    })
}

#[test]
fn a_long_buffered_write_asks_once_for_each_64_mib() -> Result<()> {
    each(3 << 30, |rig| {
        let kernel = &rig.kernel;
        let (_, file) = kernel.create(ROOT, "long", 0o644, 2)?;
        let piece = vec![5; MIB as usize];
        let mut at_64 = 0;
        for mib in 0..1024 {
            kernel.write(file.nodeid, mib * MIB, &piece)?;
            if mib % 16 == 15 {
                kernel.write_back(file.nodeid)?;
                kernel.drop_pages(file.nodeid)?;
            }
            if mib == 63 {
                at_64 = kernel.counts().begin_count();
            }
        }
        let questions = kernel.counts().begin_count() - at_64;
        ensure!(questions <= (1024 - 64) / 64, "{questions} behind 64 MiB");
        kernel.close(file)?;
        Ok(())
    })
}

#[test]
fn overwriting_asks_next_to_nothing_and_allocates_nothing() -> Result<()> {
    each(1 << 30, |rig| {
        let kernel = &rig.kernel;
        let (_, file) = kernel.create(ROOT, "large", 0o644, 2)?;
        let piece = vec![5; MIB as usize];
        for mib in 0..512 {
            kernel.write_direct(file.nodeid, mib * MIB, &piece)?;
        }
        kernel.fsync(file.nodeid, file.fh)?;
        let free = kernel.statfs(ROOT)?.bfree;
        let writes = rig.activity.write_count();
        let before = kernel.counts();
        let mut random = 1u64;
        for _ in 0..20_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = (random >> 33) % (512 * MIB / BLOCK) * BLOCK;
            kernel.write_direct(file.nodeid, at, &[7; BLOCK as usize])?;
        }
        let after = kernel.counts();
        let questions = after.begin_count() - before.begin_count();
        ensure!(questions <= 20, "{questions} questions");
        let completions = |counts: &simulated_kernel::Counts| counts.request_count(op::IOMAP_IOEND);
        ensure!(
            completions(&after) == completions(&before),
            "nothing was unwritten"
        );
        kernel.fsync(file.nodeid, file.fh)?;
        ensure!(kernel.statfs(ROOT)?.bfree == free, "blocks were allocated");
        // The times, once: a block of the log and its commit, and maybe the log's superblock.
        let writes = rig.activity.write_count() - writes;
        ensure!(writes <= 4, "{writes} writes");
        kernel.close(file)?;
        Ok(())
    })
}

#[test]
fn what_is_allocated_ahead_is_given_back() -> Result<()> {
    each(256 * MIB, |rig| {
        let kernel = &rig.kernel;
        let (entry, file) = kernel.create(ROOT, "grown", 0o644, 2)?;
        for piece in 0..160 {
            kernel.write_direct(file.nodeid, piece * 65_536, &[3; 65_536])?;
        }
        kernel.close(file)?;
        kernel.forget(entry.nodeid)?;
        let attr = kernel.lookup(ROOT, "grown")?.attr;
        ensure!(attr.size == 160 * 65_536);
        // A block of the extent tree may come on top.
        ensure!(attr.blocks <= attr.size / 512 + 8, "{} blocks", attr.blocks);
        Ok(())
    })
}
