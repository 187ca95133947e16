//! What the last writer's close may take away, and what not.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use simulated_kernel::Errno;

use crate::rig::{Plan, Rig, on_both};

const ROOT: u64 = 1;
const MIB: u64 = 1 << 20;
const BLOCK: u64 = 4096;
const WRITE_ONLY: u32 = 1;
const KEEP_SIZE: u32 = 1;
/// Enough for the two to meet.
const ROUNDS: u32 = 400;

fn each(test: impl Fn(&Rig) -> Result<()>) -> Result<()> {
    each_on(&["-t", "ext4", "-b", "4096"], test)
}

fn each_on(kind: &[&str], test: impl Fn(&Rig) -> Result<()>) -> Result<()> {
    on_both(|variant| {
        let rig = Rig::new(&Plan::new(variant).mke2fs(kind))?;
        test(&rig)?;
        rig.finish()?;
        Ok(())
    })
}

/// Blocks that were asked for behind the end were taken for blocks allocated ahead, when the
/// file then grew in front of them.
#[test]
fn blocks_kept_behind_a_hole_outlive_the_last_writer() -> Result<()> {
    each(|rig| {
        let kernel = &rig.kernel;
        let (entry, file) = kernel.create(ROOT, "kept", 0o644, WRITE_ONLY)?;
        kernel.fallocate(file.nodeid, file.fh, KEEP_SIZE, 8 * MIB, 8 * MIB)?;
        kernel.write_direct(file.nodeid, 0, &vec![1; MIB as usize])?;
        kernel.close(file)?;
        let sectors = kernel.getattr(entry.nodeid)?.blocks;
        ensure!(sectors * 512 >= 9 * MIB, "{sectors} sectors are left");
        Ok(())
    })
}

/// The size END had spoken of was recorded by somebody else's sync(2) after the file had been cut.
#[test]
fn who_syncs_while_another_truncates_does_not_bring_the_size_back() -> Result<()> {
    each(|rig| {
        let kernel = &rig.kernel;
        let (entry, file) = kernel.create(ROOT, "cut", 0o644, WRITE_ONLY)?;
        for round in 0..ROUNDS {
            kernel.write(file.nodeid, 0, &vec![1; 100_000])?;
            std::thread::scope(|scope| -> Result<()> {
                let syncing = scope.spawn(|| kernel.sync());
                kernel.truncate(file.nodeid, 10)?;
                syncing.join().map_err(|_| anyhow!("syncing panicked"))??;
                Ok(())
            })?;
            let size = kernel.getattr(entry.nodeid)?.size;
            ensure!(size == 10, "round {round}: {size} bytes");
        }
        kernel.close(file)?;
        Ok(())
    })
}

/// Has a file take, at a place and so many bytes at a time, all there is; how many bytes that was.
fn fill_up(mut take: impl FnMut(u64, u64) -> Result<(), Errno>) -> u64 {
    let (mut at, mut len) = (0, MIB);
    while len >= BLOCK {
        match take(at, len) {
            Ok(()) => at += len,
            Err(_) => len /= 2,
        }
    }
    at
}

/// The blocks of a grown file, in bytes, once nobody has it in core any more.
fn bytes_held(rig: &Rig, name: &str, node: u64) -> Result<u64> {
    rig.kernel.forget(node)?;
    Ok(rig.kernel.lookup(ROOT, name)?.attr.blocks * 512)
}

/// What a last writer left ahead when it closed while the volume was frozen stayed for good.
#[test]
fn what_a_freeze_kept_from_being_given_back_is_given_back_later() -> Result<()> {
    each(|rig| {
        let kernel = &rig.kernel;
        let (entry, file) = kernel.create(ROOT, "frozen", 0o644, WRITE_ONLY)?;
        kernel.write_direct(file.nodeid, 0, &vec![1; MIB as usize])?;
        ensure!(kernel.getattr(entry.nodeid)?.blocks * 512 > MIB + MIB / 2);
        kernel.freeze(true)?;
        kernel.release(file)?;
        kernel.freeze(false)?;
        let held = bytes_held(rig, "frozen", entry.nodeid)?;
        ensure!(held <= MIB + BLOCK, "{held} bytes");
        Ok(())
    })
}

/// The last writer's close, which nobody waits for, changed the volume after it had come to rest.
#[test]
fn who_closes_while_the_volume_freezes_changes_nothing_afterwards() -> Result<()> {
    each(|rig| {
        let kernel = &rig.kernel;
        let (_, other) = kernel.create(ROOT, "other", 0o644, WRITE_ONLY)?;
        for round in 0..ROUNDS / 2 {
            let name = format!("closing{}", round % 8);
            let (entry, file) = kernel.create(ROOT, &name, 0o644, WRITE_ONLY)?;
            kernel.write_direct(file.nodeid, 0, &vec![1; 256 << 10])?;
            kernel.fsync(file.nodeid, file.fh)?;
            std::thread::scope(|scope| -> Result<()> {
                let closing = scope.spawn(|| {
                    // At another moment of freezing each time.
                    std::thread::sleep(Duration::from_micros(u64::from(round) * 10));
                    kernel.release(file)
                });
                kernel.freeze(true)?;
                closing.join().map_err(|_| anyhow!("closing panicked"))??;
                Ok(())
            })?;
            let before = rig.activity.write_count();
            // Whatever has changed would be committed.
            kernel.fsync(other.nodeid, other.fh)?;
            let writes = rig.activity.write_count() - before;
            kernel.freeze(false)?;
            ensure!(writes == 0, "round {round}: {writes} writes while frozen");
            kernel.unlink(ROOT, &name)?;
            kernel.forget(entry.nodeid)?;
        }
        kernel.close(other)?;
        Ok(())
    })
}

/// fallocate(2) inside a file made the server forget what it had allocated behind it.
#[test]
fn who_keeps_blocks_inside_of_a_file_gives_back_those_behind_it() -> Result<()> {
    each(|rig| {
        let kernel = &rig.kernel;
        let (entry, file) = kernel.create(ROOT, "inside", 0o644, WRITE_ONLY)?;
        kernel.write_direct(file.nodeid, 0, &vec![1; MIB as usize])?;
        kernel.fallocate(file.nodeid, file.fh, KEEP_SIZE, 0, BLOCK)?;
        let refused = kernel.fallocate(file.nodeid, file.fh, KEEP_SIZE, MIB, 1 << 40);
        ensure!(refused.is_err());
        kernel.close(file)?;
        let held = bytes_held(rig, "inside", entry.nodeid)?;
        ensure!(held <= MIB + BLOCK, "{held} bytes");
        Ok(())
    })
}

/// What open writers held ahead made a volume full that was half empty.
#[test]
fn who_fills_the_volume_beside_open_writers_gets_all_that_was_promised() -> Result<()> {
    each(|rig| {
        let kernel = &rig.kernel;
        let promised = kernel.statfs(ROOT)?.bavail * BLOCK;
        let mut written = 0;
        let mut files = Vec::new();
        for number in 0..30 {
            let (_, file) = kernel.create(ROOT, &format!("open{number}"), 0o644, WRITE_ONLY)?;
            kernel.write_direct(file.nodeid, 0, &vec![1; MIB as usize])?;
            written += MIB;
            files.push(file);
        }
        let (_, filler) = kernel.create(ROOT, "filler", 0o644, WRITE_ONLY)?;
        written +=
            fill_up(|at, len| kernel.write_direct(filler.nodeid, at, &vec![2; len as usize]));
        ensure!(written >= promised, "{written} of {promised} bytes");
        for file in files.into_iter().chain([filler]) {
            kernel.close(file)?;
        }
        Ok(())
    })
}

/// RELEASE is sent and not waited for: the next writer may have opened the file, and write into
/// what lies ahead, while the last one's is still being answered.
#[test]
fn who_opens_while_the_last_writer_closes_keeps_what_it_writes_into() -> Result<()> {
    each(|rig| {
        let kernel = &rig.kernel;
        let (entry, mut file) = kernel.create(ROOT, "log", 0o644, WRITE_ONLY)?;
        let mut size = 128 << 10;
        kernel.write_direct(file.nodeid, 0, &vec![1; size as usize])?;
        for round in 0..ROUNDS {
            let before = file;
            file = std::thread::scope(|scope| -> Result<_> {
                let closing = scope.spawn(|| kernel.release(before));
                let next = kernel.open(entry.nodeid, WRITE_ONLY)?;
                for _ in 0..2 {
                    let wrote = kernel.write_direct(next.nodeid, size, &[2; BLOCK as usize]);
                    ensure!(wrote.is_ok(), "round {round}: {wrote:?}");
                    size += BLOCK;
                }
                closing.join().map_err(|_| anyhow!("closing panicked"))??;
                Ok(next)
            })?;
        }
        kernel.close(file)?;
        Ok(())
    })
}

/// Space that is promised needs nothing more when it is written to, not even nodes of the map.
#[test]
fn promised_space_is_written_on_a_full_volume() -> Result<()> {
    each_on(&["-t", "ext4", "-b", "4096", "-m", "0"], |rig| {
        let kernel = &rig.kernel;
        let (_, promised) = kernel.create(ROOT, "promised", 0o644, WRITE_ONLY)?;
        kernel.fallocate(promised.nodeid, promised.fh, 0, 0, 8 * MIB)?;
        let (_, filler) = kernel.create(ROOT, "filler", 0o644, WRITE_ONLY)?;
        fill_up(|at, len| kernel.fallocate(filler.nodeid, filler.fh, 0, at, len));
        for block in (1..2000).step_by(2) {
            let wrote = kernel.write_direct(promised.nodeid, block * BLOCK, &[3; BLOCK as usize]);
            ensure!(wrote.is_ok(), "block {block}: {wrote:?}");
        }
        kernel.close(filler)?;
        kernel.close(promised)?;
        Ok(())
    })
}
