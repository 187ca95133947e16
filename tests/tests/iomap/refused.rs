//! What is answered when the kernel does not take a mapping into its cache.

use anyhow::{Result, ensure};
use simulated_kernel::numbers::opflag;
use simulated_kernel::{Errno, OpenFile};

use crate::rig::{Plan, Rig, on_both};

const ROOT: u64 = 1;
const BLOCK: u64 = 4096;
const READ_WRITE: u32 = 2;
const KEEP_SIZE: u32 = 1;
/// How often a mapping is pushed that cannot be done without.
const PUSHES: usize = 3;

fn each(test: impl Fn(&Rig) -> Result<()>) -> Result<()> {
    on_both(|variant| {
        let rig = Rig::new(&Plan::new(variant))?;
        test(&rig)?;
        rig.finish()?;
        Ok(())
    })
}

/// A file of unwritten blocks of which the kernel knows nothing.
fn unwritten(rig: &Rig) -> Result<OpenFile> {
    let kernel = &rig.kernel;
    let (_, file) = kernel.create(ROOT, "file", 0o644, READ_WRITE)?;
    kernel.fallocate(file.nodeid, file.fh, 0, 0, 16 * BLOCK)?;
    kernel.fallocate(file.nodeid, file.fh, KEEP_SIZE, 0, 16 * BLOCK)?;
    ensure!(
        kernel
            .mapping_cache(file.nodeid)?
            .is_none_or(|cache| { cache.lookup(opflag::WRITE, 0).is_none() })
    );
    Ok(file)
}

/// A write locks its page after it was answered. If it was told "unwritten" outside of the cache,
/// nothing told it that the page had been written back and made written meanwhile, and it filled
/// the rest of the block with zeros.
#[test]
fn a_write_is_not_told_what_may_change_before_it_is_used() -> Result<()> {
    each(|rig| {
        let kernel = &rig.kernel;
        let file = unwritten(rig)?;
        for _ in 0..PUSHES - 1 {
            kernel.refuse_upsert(Errno::NOMEM);
        }
        kernel.write(file.nodeid, 10, b"accepted")?;
        ensure!(kernel.read(file.nodeid, 10, 8)? == b"accepted");
        // Never to be had: an error, and nothing is changed.
        kernel.write_back(file.nodeid)?;
        let far = 8 * BLOCK + 5;
        kernel.fallocate(file.nodeid, file.fh, KEEP_SIZE, 0, 32 * BLOCK)?;
        for _ in 0..PUSHES {
            kernel.refuse_upsert(Errno::NOMEM);
        }
        let refused = kernel.write(file.nodeid, far, b"refused");
        ensure!(refused == Err(Errno::NOMEM), "{refused:?}");
        ensure!(kernel.read(file.nodeid, far, 7)? == [0; 7]);
        kernel.write(file.nodeid, far, b"at last")?;
        kernel.close(file)?;
        Ok(())
    })
}

/// Writeback goes on with a mapping from outside of the cache for as long as it reaches, into
/// pages that were not locked when it was given: they may have been punched out since.
#[test]
fn writeback_is_told_of_the_pages_it_has_locked() -> Result<()> {
    each(|rig| {
        let kernel = &rig.kernel;
        let file = unwritten(rig)?;
        kernel.write(file.nodeid, 0, &[1; 4 * BLOCK as usize])?;
        // The kernel forgets its mappings, and takes none.
        kernel.fallocate(file.nodeid, file.fh, KEEP_SIZE, 8 * BLOCK, 24 * BLOCK)?;
        let before = kernel.counts().begins_with(opflag::WRITEBACK);
        kernel.drop_mappings(file.nodeid)?;
        for _ in 0..16 {
            kernel.refuse_upsert(Errno::NOMEM);
        }
        kernel.write_back(file.nodeid)?;
        let asked = kernel.counts().begins_with(opflag::WRITEBACK) - before;
        ensure!(asked == 4, "{asked} questions for four pages");
        kernel.close(file)?;
        Ok(())
    })
}
