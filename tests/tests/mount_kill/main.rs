//! The server is killed, at a random moment, while others work on its mount. Afterwards all
//! that had been synced is there, on the next mount and on the kernel's, and the volume is
//! clean once its journal has been replayed.
//!
//! `EXTMAP_KILLS` says how often each workload is killed; `tests/long-mount` sets it.

mod files;
mod noise;
mod programs;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use system_tests::guards::{FuseMount, KernelMount, Server, patience, pid_alive, wait_until};
use system_tests::rng::Rng;
use system_tests::scratch::Scratch;
use system_tests::{skip, tool};

/// Somebody at work on the mount.
pub(crate) trait Workload: Send {
    /// Works below `dir` until something fails, which is taken for the server's end.
    fn work(&mut self, dir: &Path);

    /// Compares what is below `dir` with what was synced.
    fn check(&self, dir: &Path) -> Result<()>;
}

/// Times of a server's life, in milliseconds.
const LIFE_MS_MIN: u64 = 30;
const LIFE_MS_MAX: u64 = 1200;
const KILLS_DEFAULT: u64 = 4;

#[test]
fn files_that_were_synced_stay() -> Result<()> {
    killed(&[], "", |seed| Box::new(files::SyncedFiles::new(seed)))
}

#[test]
fn files_that_were_synced_stay_without_writeback_cache() -> Result<()> {
    killed(&[], "writethrough", |seed| {
        Box::new(files::SyncedFiles::new(seed))
    })
}

#[test]
fn committed_transactions_of_sqlite_stay() -> Result<()> {
    let needs = [skip::Need::Tool("sqlite3")];
    killed(&needs, "", |seed| Box::new(programs::Sqlite::new(seed)))
}

#[test]
fn commits_of_git_stay() -> Result<()> {
    let needs = [skip::Need::Tool("git")];
    killed(&needs, "", |_| Box::new(programs::Git::new()))
}

fn killed(
    needs: &[skip::Need],
    options: &str,
    new: impl Fn(u64) -> Box<dyn Workload>,
) -> Result<()> {
    if !skip::allowed(skip::MOUNTS) || !skip::allowed(needs) {
        return Ok(());
    }
    let asked = std::env::var("EXTMAP_KILLS").ok();
    let kills = asked.map_or(Ok(KILLS_DEFAULT), |kills| kills.parse())?;
    for kill in 0..kills {
        // Other moments in every long run, the same in every short one.
        let seed = match kills {
            KILLS_DEFAULT => kill,
            _ => Rng::new(kill ^ u64::from(std::process::id()) << 32).next_u64(),
        };
        kill_once(seed, options, new(seed)).with_context(|| format!("kill {kill}, seed {seed}"))?;
    }
    println!("{kills} kills survived");
    Ok(())
}

fn kill_once(seed: u64, options: &str, mut workload: Box<dyn Workload>) -> Result<()> {
    let mut rng = Rng::new(seed);
    let scratch = Scratch::new()?;
    let image = image(&scratch, &mut rng)?;
    let dir = scratch.path("mounted");
    let all = format!("rw,{options}");
    let mount = FuseMount::with(Server::Extmap, &image, &dir, all.trim_end_matches(','))?;
    let server = mount.pid().context("the server was not found")?;
    let life = LIFE_MS_MIN + rng.below(LIFE_MS_MAX - LIFE_MS_MIN);
    let life = life * u64::from(patience());
    let (quiet, loud) = (dir.join("work"), dir.join("noise"));
    std::fs::create_dir(&quiet)?;
    std::fs::create_dir(&loud)?;
    // Where the machine is slow the workload may not come to its first sync.
    std::fs::File::open(&dir)?.sync_all()?;
    std::thread::scope(|scope| {
        scope.spawn(|| workload.work(&quiet));
        scope.spawn(|| noise::make(&loud, seed));
        std::thread::sleep(Duration::from_millis(life));
        kill(server)
    })?;
    // The mount point is free again once the dead mount has gone.
    drop(mount);
    check(&scratch, &image, &*workload)
}

/// Volumes of several kinds; all have a journal.
fn image(scratch: &Scratch, rng: &mut Rng) -> Result<PathBuf> {
    let kinds: [&[&str]; 4] = [
        &["-b", "4096"],
        &["-b", "1024", "-J", "size=4"],
        &["-b", "4096", "-O", "inline_data"],
        &["-t", "ext3", "-b", "4096"],
    ];
    let kind = rng.below(kinds.len() as u64) as usize;
    scratch.mke2fs("image", 256 << 20, kinds[kind])
}

fn kill(server: u32) -> Result<()> {
    let pid = i32::try_from(server).ok().and_then(Pid::from_raw);
    kill_process(pid.context("no process")?, Signal::KILL)?;
    let has_ended = wait_until(Duration::from_secs(10), || !pid_alive(server));
    ensure!(has_ended, "the server survived");
    Ok(())
}

/// The next mount of extmap's, and the kernel's of a copy.
fn check(scratch: &Scratch, image: &Path, workload: &dyn Workload) -> Result<()> {
    let copy = scratch.copy(image, "copy")?;
    let dir = scratch.path("after");
    let mount = FuseMount::with(Server::Extmap, image, &dir, "rw")?;
    workload
        .check(&dir.join("work"))
        .context("extmap's mount")?;
    mount.unmount()?;
    tool::run("e2fsck", &["-fn".as_ref(), image.as_os_str()]).context("after extmap")?;

    let mount = KernelMount::new(&copy, &dir, "rw")?;
    workload
        .check(&dir.join("work"))
        .context("the kernel's mount")?;
    mount.unmount()?;
    tool::run("e2fsck", &["-fn".as_ref(), copy.as_os_str()]).context("after the kernel")?;
    Ok(())
}
