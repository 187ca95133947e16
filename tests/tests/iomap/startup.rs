//! Whether the kernel moves content, and what happens where it does not.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fuse_frontend::IomapMode;
use simulated_kernel::numbers::{ioctl, op};
use simulated_kernel::{Errno, Settings};
use system_tests::guards::wait_until;

use crate::rig::{Plan, Rig, on_both};

const ROOT: u64 = 1;

/// Kernels that do not move content, each for its reason.
fn unwilling(settings: &Settings) -> Vec<Settings> {
    let with = |change: fn(&mut Settings)| {
        let mut settings = settings.clone();
        change(&mut settings);
        settings
    };
    vec![
        with(|settings| settings.knows_iomap = false),
        with(|settings| settings.compiled_in = false),
        with(|settings| settings.enabled = false),
        with(|settings| settings.capable = false),
    ]
}

#[test]
fn kernels_that_will_not_are_served_plainly() -> Result<()> {
    on_both(|variant| {
        for settings in unwilling(&Plan::new(variant).settings) {
            let mut plan = Plan::new(variant);
            plan.settings = settings;
            plan.mode = IomapMode::Auto;
            let rig = Rig::new(&plan)?;
            let made = rig.kernel.mkdir(ROOT, "dir", 0o755)?;
            ensure!(rig.kernel.lookup(ROOT, "dir")?.nodeid == made.nodeid);
            ensure!(rig.kernel.counts().request_count(op::IOMAP_CONFIG) == 0);
            rig.finish()
                .with_context(|| format!("{:?}", plan.settings))?;
        }
        Ok(())
    })
}

#[test]
fn where_they_must_the_mount_fails_with_the_reason() -> Result<()> {
    on_both(|variant| {
        for settings in unwilling(&Plan::new(variant).settings) {
            let mut plan = Plan::new(variant);
            plan.settings = settings;
            // Nobody answers INIT then.
            plan.settings.answer_limit = Duration::from_millis(300);
            let Err(error) = Rig::new(&plan) else {
                anyhow::bail!("mounted although {:?}", plan.settings);
            };
            let text = format!("{error:#}");
            ensure!(
                text.contains("file data cannot be left to the kernel"),
                "{text}"
            );
        }
        Ok(())
    })
}

#[test]
fn nobody_asks_where_it_is_turned_off() -> Result<()> {
    on_both(|variant| {
        let mut plan = Plan::new(variant);
        plan.mode = IomapMode::Never("the test says so".to_owned());
        let rig = Rig::new(&plan)?;
        rig.kernel.mkdir(ROOT, "dir", 0o755)?;
        ensure!(rig.kernel.counts().request_count(op::IOMAP_CONFIG) == 0);
        rig.finish()?;
        Ok(())
    })
}

#[test]
fn a_device_that_is_none_fails_the_mount() -> Result<()> {
    on_both(|variant| {
        let mut plan = Plan::new(variant);
        plan.is_block_device = false;
        let Err(error) = Rig::new(&plan) else {
            anyhow::bail!("mounted on what is no block device");
        };
        let text = format!("{error:#}");
        ensure!(text.contains("cannot be registered"), "{text}");
        Ok(())
    })
}

#[test]
fn both_ways_to_start_are_served() -> Result<()> {
    on_both(|variant| {
        let mut plan = Plan::new(variant);
        plan.before_mount = |handle| {
            handle.ioctl(ioctl::SYNC_INIT, &mut [])?;
            Ok(())
        };
        let rig = Rig::new(&plan)?;
        let (_, file) = rig.kernel.create(ROOT, "file", 0o644, 2)?;
        rig.kernel.write_direct(file.nodeid, 0, &[1; 4096])?;
        rig.kernel.close(file)?;
        // Each thread that serves has said that it must not wait for reclaim.
        let threads = plan.settings.channels as u64;
        let all_have = || rig.kernel.counts().nofs_threads == threads;
        // A thread says so when it begins, which need not be yet.
        ensure!(wait_until(Duration::from_secs(5), all_have));
        rig.finish()?;
        Ok(())
    })
}

#[test]
fn a_mount_for_reading_reads_and_refuses_the_rest() -> Result<()> {
    on_both(|variant| {
        let plan = Plan::new(variant);
        let rig = Rig::new(&plan)?;
        let (_, file) = rig.kernel.create(ROOT, "file", 0o644, 2)?;
        rig.kernel.write(file.nodeid, 0, &[5; 10_000])?;
        rig.kernel.close(file)?;
        let (scratch, image, device) = rig.unmounted()?;
        let mut reading = Plan::new(variant);
        reading.read_only = true;
        let rig = Rig::over(&reading, scratch, image, device)?;
        let node = rig.kernel.lookup(ROOT, "file")?.nodeid;
        let file = rig.kernel.open(node, 0)?;
        ensure!(rig.kernel.read(node, 0, 20_000)? == vec![5; 10_000]);
        ensure!(rig.kernel.read_direct(node, 4096, 4096)? == vec![5; 4096]);
        ensure!(rig.kernel.mkdir(ROOT, "dir", 0o755).err() == Some(Errno::ROFS));
        rig.kernel.close(file)?;
        rig.finish()?;
        Ok(())
    })
}
