//! Recovery of an image after a power cut, three times: by this program writing, by this
//! program reading, and by e2fsck alone. Each must end in a clean file system.

use std::collections::HashMap;
use std::hash::Hasher;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use fs_core::{ExtentState, FileBlock, InodeNumber, OpenOptions, Volume, WritableVolume};
use images::{BlockDevice, Memory};

use super::record::{RECOVERY_SECONDS, options};
use super::tree::Tree;

/// What e2fsck may do on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repairs {
    /// Replay the journal and finish orphans, nothing else.
    RecoveryOnly,
    /// Whatever it finds: there is no journal.
    Any,
}

/// What an image shows after recovery.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// By [`WritableVolume::open`]; with [`Repairs::Any`] the same as `theirs`.
    pub ours: Arc<Tree>,
    /// By e2fsck.
    pub theirs: Arc<Tree>,
}

/// Judges images one at a time; remembers what recovered images show.
#[derive(Debug)]
pub struct Judge {
    directory: tempfile::TempDir,
    /// Found once: a program that is looked for in a PATH of its own costs a fork(2) of all
    /// that is known here, and thousands of them are started.
    e2fsck: PathBuf,
    repairs: Repairs,
    /// Bytes of the log, which nobody looks at after recovery.
    log: Vec<Range<usize>>,
    known: HashMap<u64, Arc<Tree>>,
    /// How often e2fsck ran.
    pub checks: u64,
}

/// Where images lie while e2fsck looks at them: memory, if the machine has such a place.
fn fast_directory() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    }
}

fn find_e2fsck() -> Result<PathBuf> {
    let path = crate::tool::path();
    let places = path
        .split(':')
        .map(|place| PathBuf::from(place).join("e2fsck"));
    places
        .into_iter()
        .find(|place| place.is_file())
        .context("e2fsck not found")
}

impl Judge {
    /// A judge for images like this one.
    ///
    /// # Errors
    /// If the image cannot be read.
    pub fn new(image: &[u8], repairs: Repairs) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("extmap-crash-")
            .tempdir_in(fast_directory())?;
        Ok(Self {
            directory,
            e2fsck: find_e2fsck()?,
            repairs,
            log: log_bytes(image)?,
            known: HashMap::new(),
            checks: 0,
        })
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    /// Puts an image where e2fsck looks, over the one before: all are equally long.
    fn put(&self, image: &[u8]) -> Result<()> {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path())?;
        file.write_all(image)?;
        Ok(())
    }

    /// Recovers an image in all ways.
    ///
    /// # Errors
    /// What went wrong, and who says so.
    pub fn recover(&mut self, image: Vec<u8>) -> Result<Recovered> {
        let theirs = self.recovered_by_e2fsck(&image).context("e2fsck alone")?;
        if self.repairs == Repairs::Any {
            let ours = Arc::clone(&theirs);
            return Ok(Recovered { ours, theirs });
        }
        let seen = read(image.clone()).context("reading alone")?;
        let ours = self.recovered_by_us(image).context("our recovery")?;
        ensure!(
            seen == *ours,
            "our reader shows another tree than our recovery: {seen:?} and {ours:?}"
        );
        Ok(Recovered { ours, theirs })
    }

    /// The same of an image that may be marked as one with errors, which e2fsck clears.
    ///
    /// # Errors
    /// What went wrong, and who says so.
    pub fn recover_marked(&mut self, image: Vec<u8>) -> Result<Recovered> {
        let theirs = self.recovered_by_e2fsck(&image).context("e2fsck alone")?;
        let ours = self.recovered_by_us(image).context("our recovery")?;
        Ok(Recovered { ours, theirs })
    }

    fn recovered_by_us(&mut self, image: Vec<u8>) -> Result<Arc<Tree>> {
        let memory = Arc::new(Memory::new(image));
        let device: Arc<dyn BlockDevice> = memory.clone();
        let volume = WritableVolume::open(device, &options(RECOVERY_SECONDS)).context("opening")?;
        let open = Tree::of(&volume)?;
        volume.close().context("closing")?;
        let closed = self.clean(memory.snapshot())?;
        ensure!(
            open == *closed,
            "closed other than it was open: {open:?} and {closed:?}"
        );
        Ok(closed)
    }

    fn recovered_by_e2fsck(&mut self, image: &[u8]) -> Result<Arc<Tree>> {
        let path = self.path();
        self.put(image)?;
        let said = self.e2fsck("-fy")?;
        if self.repairs == Repairs::RecoveryOnly {
            check_recovery_only(&said)?;
        } else {
            ensure!(matches!(said.code, 0 | 1), "{}", said.text);
        }
        let image = std::fs::read(&path)?;
        self.clean(image)
            .with_context(|| format!("after {}", said.text))
    }

    /// What an image shows in which e2fsck finds nothing.
    fn clean(&mut self, image: Vec<u8>) -> Result<Arc<Tree>> {
        let hash = self.hash(&image);
        if let Some(known) = self.known.get(&hash) {
            return Ok(Arc::clone(known));
        }
        self.put(&image)?;
        let said = self.e2fsck("-fn")?;
        if said.code != 0 {
            bail!("e2fsck -fn: exit code {}: {}", said.code, said.text);
        }
        let tree = Arc::new(read(image)?);
        self.known.insert(hash, Arc::clone(&tree));
        Ok(tree)
    }

    fn hash(&self, image: &[u8]) -> u64 {
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        let mut at = 0;
        for log in &self.log {
            hasher.write(&image[at..log.start]);
            at = log.end;
        }
        hasher.write(&image[at..]);
        hasher.finish()
    }

    fn e2fsck(&mut self, how: &str) -> Result<Said> {
        self.checks += 1;
        let output = std::process::Command::new(&self.e2fsck)
            .arg(how)
            .arg(self.path())
            .env("LC_ALL", "C")
            // The time it notes, so that equal images stay equal.
            .env("E2FSCK_TIME", RECOVERY_SECONDS.to_string())
            .stdin(std::process::Stdio::null())
            .output()
            .context("e2fsck")?;
        let name = self.path().to_string_lossy().into_owned();
        let text = String::from_utf8_lossy(&output.stdout).replace(&name, "IMAGE")
            + &String::from_utf8_lossy(&output.stderr).replace(&name, "IMAGE");
        let Some(code) = output.status.code() else {
            bail!("e2fsck died: {text}");
        };
        Ok(Said { code, text })
    }
}

/// What e2fsck said.
#[derive(Debug)]
struct Said {
    code: i32,
    text: String,
}

/// Fails if e2fsck did anything but replay the journal and finish orphans.
fn check_recovery_only(said: &Said) -> Result<()> {
    let strange: Vec<&str> = said
        .text
        .lines()
        .filter(|line| !is_expected(line.trim()))
        .collect();
    ensure!(
        strange.is_empty() && matches!(said.code, 0 | 1),
        "exit code {}, unexpected: {strange:#?} in\n{}",
        said.code,
        said.text
    );
    Ok(())
}

fn is_expected(line: &str) -> bool {
    let begins = [
        "e2fsck 1.",
        "Pass 1: Checking inodes, blocks, and sizes",
        "Pass 2: Checking directory structure",
        "Pass 3: Checking directory connectivity",
        "Pass 4: Checking reference counts",
        "Pass 5: Checking group summary information",
        "Pass 1E: Optimizing extent trees",
        "IMAGE: recovering journal",
        "IMAGE: Clearing orphaned inode ",
        "IMAGE: Truncating orphaned inode ",
        "Clearing orphaned inode ",
        "Truncating orphaned inode ",
        // The mark of every volume in use that has an orphan file, Linux's too.
        "Feature orphan_present is set but orphan file is clean.",
        "Clear? yes",
        // What e2fsck says of orphans it has just cleared from it, Linux's too.
        "Orphan file (inode ",
        "IMAGE: ***** FILE SYSTEM WAS MODIFIED *****",
    ];
    // Not a repair: a tree with fewer nodes would hold the same.
    let is_optimization = line.starts_with("Inode ")
        && line.contains(" extent tree (at level ")
        && line.ends_with(" Optimize? yes");
    let is_summary =
        line.starts_with("IMAGE: ") && line.contains(" files (") && line.ends_with(" blocks");
    line.is_empty()
        || is_summary
        || is_optimization
        || begins.iter().any(|begin| line.starts_with(begin))
}

/// What our reader shows of an image, its journal replayed in memory.
///
/// # Errors
/// What it cannot read.
pub fn read(image: Vec<u8>) -> Result<Tree> {
    let device: Arc<dyn BlockDevice> = Arc::new(Memory::read_only(image));
    let volume = Volume::open(device, &OpenOptions::default())?;
    Tree::of(&volume)
}

/// Where the log lies, but for its superblock.
fn log_bytes(image: &[u8]) -> Result<Vec<Range<usize>>> {
    let device: Arc<dyn BlockDevice> = Arc::new(Memory::read_only(image.to_vec()));
    let volume = Volume::open(device, &OpenOptions::default())?;
    let mut ranges: Vec<Range<usize>> = Vec::new();
    if volume.journal()?.is_none() {
        return Ok(ranges);
    }
    let block_bytes = volume.superblock().block_bytes as usize;
    let journal = volume.inode(InodeNumber::JOURNAL)?;
    let end = journal.size_bytes() / block_bytes as u64;
    let mut at = 1;
    while at < end {
        let run = volume.map(&journal, FileBlock(at))?;
        let ExtentState::Written(place) = run.state else {
            bail!("the journal has a hole: {run:?}");
        };
        let len = (run.end().0.min(end) - at) as usize * block_bytes;
        let start = place.0 as usize * block_bytes;
        ranges.push(start..start + len);
        at = run.end().0;
    }
    ranges.sort_by_key(|range| range.start);
    Ok(ranges)
}

/// Where the log's superblock lies, in bytes.
///
/// # Errors
/// If there is no journal.
pub fn log_superblock(image: &[u8]) -> Result<u64> {
    let device: Arc<dyn BlockDevice> = Arc::new(Memory::read_only(image.to_vec()));
    let volume = Volume::open(device, &OpenOptions::default())?;
    let journal = volume.inode(InodeNumber::JOURNAL)?;
    match volume.map(&journal, FileBlock(0))?.state {
        ExtentState::Written(place) => Ok(place.0 * u64::from(volume.superblock().block_bytes)),
        state => bail!("the journal begins with {state:?}"),
    }
}
