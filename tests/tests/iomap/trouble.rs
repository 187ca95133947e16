//! A device that fails, and one that becomes smaller, while the kernel moves content on it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use simulated_kernel::{Errno, Rule};
use system_tests::debugfs;
use system_tests::skip::{self, Need};

use crate::rig::{Plan, Rig, VARIANTS, on_both, possible};

const ROOT: u64 = 1;
const MIB: u64 = 1 << 20;
const READ_WRITE: u32 = 2;

fn pattern(seed: u8) -> Vec<u8> {
    (0..MIB).map(|at| (at / 11) as u8 ^ seed).collect()
}

/// Whatever cannot be written is an error to who asks for it to be, at the latest at fsync(2),
/// also when the device works again; what was synced before is there after the next mount.
#[test]
fn a_device_that_fails_for_a_moment_loses_nothing_in_silence() -> Result<()> {
    on_both(|variant| {
        let plan = Plan::new(variant);
        let rig = Rig::new(&plan)?;
        let kernel = &rig.kernel;
        let (_, kept) = kernel.create(ROOT, "kept", 0o644, READ_WRITE)?;
        kernel.write_direct(kept.nodeid, 0, &pattern(1))?;
        kernel.fsync(kept.nodeid, kept.fh)?;
        let (_, dirty) = kernel.create(ROOT, "dirty", 0o644, READ_WRITE)?;
        kernel.write(dirty.nodeid, 0, &pattern(2))?;
        let (_, empty) = kernel.create(ROOT, "empty", 0o644, READ_WRITE)?;

        rig.device.set_failing(true);
        ensure!(kernel.read_direct(kept.nodeid, 0, 4096) == Err(Errno::IO));
        ensure!(kernel.write_direct(kept.nodeid, 0, &[9; 4096]) == Err(Errno::IO));
        ensure!(
            kernel.fsync(dirty.nodeid, dirty.fh).is_err(),
            "synced to nowhere"
        );
        ensure!(kernel.fsync(empty.nodeid, empty.fh).is_err());
        rig.device.set_failing(false);

        // The log has lost its thread: nothing may seem to be safe from here on.
        let late = kernel.create(ROOT, "late", 0o644, READ_WRITE);
        let synced = late.and_then(|(_, late)| kernel.fsync(late.nodeid, late.fh));
        ensure!(synced.is_err(), "synced without a log");
        ensure!(kernel.read_direct(kept.nodeid, 4096, 4096)? == pattern(1)[4096..8192]);

        let (scratch, image, device) = rig.cut(|_| true);
        let rig = Rig::over(&plan, scratch, image, device)?;
        let node = rig.kernel.lookup(ROOT, "kept")?.nodeid;
        ensure!(
            rig.kernel.read(node, 0, 2 * MIB)? == pattern(1),
            "{variant:?}"
        );
        rig.finish().with_context(|| format!("{variant:?}"))?;
        Ok(())
    })
}

/// Blocks of the leaves of a file's map, in the order of the file.
fn leaves(image: &Path, file: &str) -> Result<Vec<u64>> {
    let nodes = debugfs::read(image, &format!("extents -n {file}"))?;
    let block = |line: &str| line.split_whitespace().nth(7)?.parse().ok();
    let leaves: Vec<u64> = nodes.lines().filter_map(block).collect();
    ensure!(leaves.len() >= 2, "{nodes}");
    Ok(leaves)
}

/// Damage in one part of a map made the parts beside it unreadable: they are pushed along with
/// what is asked for.
#[test]
fn what_lies_beside_damage_is_read() -> Result<()> {
    if !possible() || !skip::allowed(&[Need::Tool("debugfs")]) {
        return Ok(());
    }
    /// Entries of a leaf of 4 KiB.
    const IN_A_LEAF: u64 = 340;
    for variant in VARIANTS {
        let plan = Plan::new(variant);
        let rig = Rig::new(&plan)?;
        let (_, file) = rig.kernel.create(ROOT, "file", 0o644, READ_WRITE)?;
        for extent in 0..IN_A_LEAF * 3 {
            let content = vec![extent as u8; 4096];
            rig.kernel
                .write_direct(file.nodeid, extent * 8192, &content)?;
        }
        rig.kernel.close(file)?;
        let (scratch, image, device) = rig.unmounted()?;
        let damaged = leaves(&image, "/file")?[1];
        device.write_at(damaged * 4096 + 2000, &[0xFF; 8])?;

        let rig = Rig::over(&plan, scratch, image, device)?;
        let node = rig.kernel.lookup(ROOT, "file")?.nodeid;
        let file = rig.kernel.open(node, 0)?;
        let (mut readable, mut lost) = (0, 0);
        for extent in 0..IN_A_LEAF * 3 {
            match rig.kernel.read_direct(node, extent * 8192, 4096) {
                Ok(bytes) => {
                    ensure!(bytes == vec![extent as u8; 4096], "extent {extent}");
                    readable += 1;
                }
                Err(_) => lost += 1,
            }
        }
        ensure!(
            lost > 0 && lost <= IN_A_LEAF,
            "{lost} lost, {readable} readable"
        );
        rig.kernel.close(file)?;
        let violations = rig.kernel.violations();
        ensure!(violations.is_empty(), "{violations:#?}");
        let (_scratch, _image, _device) = rig.cut(|_| true);
    }
    Ok(())
}

/// What lies on the lost part cannot be read or written, the rest can; nobody hangs.
#[test]
fn a_device_that_shrinks_keeps_what_it_still_has() -> Result<()> {
    on_both(|variant| {
        let rig = Rig::new(&Plan::new(variant))?;
        let kernel = &rig.kernel;
        let mut files = Vec::new();
        for number in 0..40 {
            let name = format!("file{number}");
            let (_, file) = kernel.create(ROOT, &name, 0o644, READ_WRITE)?;
            kernel.write_direct(file.nodeid, 0, &pattern(number))?;
            kernel.fsync(file.nodeid, file.fh)?;
            files.push((number, file));
        }
        rig.device.resize(32 * MIB);
        let (mut readable, mut lost) = (0, 0);
        for (number, file) in &files {
            // As if all mappings had been dropped: the server is asked again.
            kernel.close(*file)?;
            kernel.forget(file.nodeid)?;
            let found = kernel
                .lookup(ROOT, &format!("file{number}"))
                .and_then(|entry| kernel.open(entry.nodeid, READ_WRITE))
                .and_then(|file| kernel.read_direct(file.nodeid, 0, MIB));
            match found {
                Ok(bytes) => {
                    ensure!(bytes == pattern(*number), "file {number}");
                    readable += 1;
                }
                Err(_) => lost += 1,
            }
        }
        ensure!(readable > 0 && lost > 0, "{readable} readable, {lost} lost");
        // The kernel is told of no place but those the volume has; that the device has them no
        // more, only it can see.
        let violations = kernel.violations();
        let is_expected = |rule: Rule| rule == Rule::BeyondDevice;
        ensure!(
            violations
                .iter()
                .all(|violation| is_expected(violation.rule)),
            "{violations:#?}"
        );
        let (_scratch, _image, _device) = rig.cut(|_| true);
        Ok(())
    })
}
