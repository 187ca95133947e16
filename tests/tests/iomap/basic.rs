//! The ways content goes.

use anyhow::{Result, ensure};
use simulated_kernel::numbers::op;

use crate::rig::{Plan, Rig, VARIANTS, possible};

const ROOT: u64 = 1;

fn each(test: impl Fn(&Rig) -> Result<()>) -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let kinds: [&[&str]; 3] = [
        &["-t", "ext4", "-b", "4096"],
        &["-t", "ext4", "-b", "4096", "-O", "inline_data"],
        &["-t", "ext3", "-b", "4096"],
    ];
    for variant in VARIANTS {
        for kind in kinds {
            let rig = Rig::new(&Plan::new(variant).mke2fs(kind))?;
            test(&rig)?;
            rig.finish()?;
        }
    }
    Ok(())
}

#[test]
fn what_is_written_is_read_by_all_ways() -> Result<()> {
    each(|rig| {
        let kernel = &rig.kernel;
        let (_, file) = kernel.create(ROOT, "file", 0o644, 2)?;
        let node = file.nodeid;
        kernel.write(node, 100, b"buffered")?;
        ensure!(kernel.read(node, 98, 12)? == b"\0\0buffered");
        ensure!(kernel.read_direct(node, 0, 512)?[100..108] == *b"buffered");
        kernel.write_direct(node, 8192, &[9; 512])?;
        ensure!(kernel.map_read(node, 8191, 3)? == [0, 9, 9]);
        kernel.map_write(node, 102, b"FF")?;
        ensure!(kernel.read_direct(node, 0, 512)?[100..108] == *b"buFFered");
        kernel.truncate(node, 104)?;
        kernel.truncate(node, 9000)?;
        ensure!(kernel.read_direct(node, 0, 9216)?.len() == 9000);
        ensure!(kernel.read(node, 100, 8)? == b"buFF\0\0\0\0");
        kernel.fsync(node, file.fh)?;
        kernel.close(file)?;
        ensure!(kernel.lookup(ROOT, "file")?.attr.size == 9000);
        Ok(())
    })
}

#[test]
fn no_data_passes_through_the_server() -> Result<()> {
    each(|rig| {
        let kernel = &rig.kernel;
        let (_, file) = kernel.create(ROOT, "file", 0o644, 2)?;
        kernel.write_direct(file.nodeid, 0, &[7; 1 << 16])?;
        kernel.write(file.nodeid, 1 << 16, &[8; 1 << 16])?;
        ensure!(kernel.read(file.nodeid, 0, 1 << 17)?.len() == 1 << 17);
        kernel.close(file)?;
        let counts = kernel.counts();
        ensure!(counts.request_count(op::READ) == 0, "READ");
        ensure!(counts.request_count(op::WRITE) == 0, "WRITE");
        Ok(())
    })
}
