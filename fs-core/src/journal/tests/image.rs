//! Images made by mke2fs, Linux and debugfs, and what they say of them.
//!
//! Mounts, loop devices and directories are undone when a value goes, also on
//! the way out of a failed test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::device::Bytes;
use crate::error::Result;
use crate::journal::{LogLocation, Replay, ReplayedBlock, recover};
use crate::types::FsBlock;

/// What the machine must have for a test; `None` after saying what is missing.
pub(crate) fn tools(names: &[&str]) -> Option<()> {
    skipping::have_programs(names).then_some(())
}

/// Like [`tools`]; also that Linux mounts an image here.
pub(crate) fn tools_and_mounts() -> Option<()> {
    tools(&[
        "mke2fs", "e2fsck", "debugfs", "mount", "umount", "losetup", "dumpe2fs",
    ])?;
    let scratch = Scratch::new(&["-b", "1024"]);
    if scratch.try_mount("rw").is_none() {
        skipping::record("images cannot be mounted here (root and loop devices are needed)");
        return None;
    }
    Some(())
}

/// Runs a program that must succeed; its output.
fn run(program: &str, args: &[&str], accepted: &[i32]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let code = output.status.code().unwrap_or(-1);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        accepted.contains(&code),
        "{program} {args:?}: {code}\n{said}{errors}"
    );
    said
}

/// A directory of its own with an image in it.
pub(crate) struct Scratch {
    dir: TempDir,
}

impl Scratch {
    /// A new ext4 image of 24 MiB.
    pub(crate) fn new(mke2fs_args: &[&str]) -> Self {
        let scratch = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let lazy = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        let image = scratch.image();
        let image = image.to_str().unwrap();
        let args = ["-q", "-F", "-t", "ext4", "-E", lazy];
        run(
            "mke2fs",
            &[&args, mke2fs_args, &[image, "24M"]].concat(),
            &[0],
        );
        scratch
    }

    /// An image with these bytes.
    pub(crate) fn holding(bytes: &[u8]) -> Self {
        let scratch = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::write(scratch.image(), bytes).unwrap();
        scratch
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.image()).unwrap()
    }

    pub(crate) fn mount(&self, options: &str) -> Mount {
        self.try_mount(options)
            .unwrap_or_else(|| panic!("cannot mount with {options}"))
    }

    pub(crate) fn try_mount(&self, options: &str) -> Option<Mount> {
        let dir = self.dir.path().join("mnt");
        std::fs::create_dir_all(&dir).unwrap();
        let status = Command::new("mount")
            .args(["-t", "ext4", "-o", &format!("loop,{options}")])
            .args([&self.image(), &dir])
            .output();
        status
            .is_ok_and(|o| o.status.success())
            .then(|| Mount { dir })
    }

    /// What Linux makes of the log: the image after a mount for reading, which
    /// recovers it; `None` if it refuses.
    pub(crate) fn recovered_by_linux(&self) -> Option<Vec<u8>> {
        let image = self.image();
        let device = run("losetup", &["-f", "--show", image.to_str().unwrap()], &[0]);
        let device = Loop(device.trim().into());
        let dir = self.dir.path().join("mnt");
        std::fs::create_dir_all(&dir).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "ext4", "-o", "ro", &device.0])
            .arg(&dir)
            .output();
        let mount = mounted
            .is_ok_and(|o| o.status.success())
            .then(|| Mount { dir })?;
        drop(mount);
        drop(device);
        Some(self.bytes())
    }

    /// Runs debugfs commands, one a line.
    pub(crate) fn debugfs(&self, commands: &str) -> String {
        let script = self.dir.path().join("commands");
        std::fs::write(&script, commands).unwrap();
        let image = self.image();
        let args = [
            "-w",
            "-f",
            script.to_str().unwrap(),
            image.to_str().unwrap(),
        ];
        run("debugfs", &args, &[0])
    }

    /// The device block of each of the log's blocks.
    pub(crate) fn log_blocks(&self) -> Vec<u64> {
        let listed = self.debugfs("blocks <8>\n");
        let blocks: Vec<u64> = listed
            .lines()
            .filter(|line| !line.starts_with("debugfs"))
            .flat_map(str::split_whitespace)
            .map(|word| word.parse().unwrap())
            .collect();
        assert!(blocks.len() >= 1024, "{listed}");
        blocks
    }

    /// The head of what dumpe2fs prints.
    pub(crate) fn dumpe2fs(&self) -> String {
        run("dumpe2fs", &["-h", self.image().to_str().unwrap()], &[0])
    }

    /// Replays the log as e2fsck does, and nothing else.
    pub(crate) fn e2fsck_journal_only(&self) -> String {
        let image = self.image();
        let args = ["-y", "-E", "journal_only", image.to_str().unwrap()];
        run("e2fsck", &args, &[0, 1])
    }
}

/// A loop device over an image.
struct Loop(String);

impl Drop for Loop {
    fn drop(&mut self) {
        if !Command::new("losetup")
            .args(["-d", &self.0])
            .status()
            .is_ok_and(|s| s.success())
        {
            println!("could not detach {}", self.0);
        }
    }
}

/// A mounted image.
pub(crate) struct Mount {
    dir: PathBuf,
}

impl Mount {
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// Commits what was done so far.
    pub(crate) fn sync_all(&self) {
        run("sync", &["-f", self.dir.to_str().unwrap()], &[0]);
    }

    /// Writes a file and returns once it is on the device.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.join(name), bytes).unwrap();
        self.fsync(name);
    }

    pub(crate) fn fsync(&self, name: &str) {
        File::open(self.dir.join(name)).unwrap().sync_all().unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let lazily = [vec![], vec!["-l"]];
        let unmounted = lazily.iter().any(|options| {
            let status = Command::new("umount").args(options).arg(&self.dir).status();
            status.is_ok_and(|s| s.success())
        });
        if !unmounted {
            println!("could not unmount {}", self.dir.display());
        }
    }
}

/// An image's bytes and where its log lies, according to debugfs.
#[derive(Clone)]
pub(crate) struct Dirty {
    pub(crate) bytes: Vec<u8>,
    pub(crate) block_bytes: usize,
    pub(crate) log_blocks: Vec<u64>,
}

impl Dirty {
    /// `log_blocks` come from [`Scratch::log_blocks`] of the volume while it was
    /// clean: where the log lies never changes, but debugfs does not open every
    /// dirty one.
    pub(crate) fn new(bytes: Vec<u8>, log_blocks: Vec<u64>) -> Self {
        let s_log_block_size = bytes[1024 + 0x18];
        Self {
            bytes,
            block_bytes: 1024 << s_log_block_size,
            log_blocks,
        }
    }

    pub(crate) fn with_location<T>(&self, use_it: impl FnOnce(&LogLocation<'_>) -> T) -> T {
        let device = Bytes::device(self.bytes.clone());
        use_it(&LogLocation {
            device: &device,
            block_bytes: self.block_bytes as u32,
            blocks_count: (self.bytes.len() / self.block_bytes) as u64,
            inode_bytes: 256,
            map: &|at| Ok(FsBlock(self.log_blocks[at as usize])),
            len_blocks: self.log_blocks.len() as u32,
        })
    }

    pub(crate) fn recover(&self) -> Result<Replay> {
        self.with_location(recover)
    }

    /// The image after recovery.
    pub(crate) fn recovered(&self, replay: &Replay) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for (target, content) in &replay.blocks {
            let content = match content {
                ReplayedBlock::InLog(at) => &self.bytes[self.range(at.0)],
                ReplayedBlock::Bytes(bytes) => bytes,
            };
            bytes[self.range(target.0)].copy_from_slice(content);
        }
        bytes
    }

    pub(crate) fn range(&self, block: u64) -> std::ops::Range<usize> {
        let from = block as usize * self.block_bytes;
        from..from + self.block_bytes
    }

    /// Fails unless both images are equal but for what anyone who replays a log
    /// writes besides: the log's superblock, and in the file system's its times,
    /// counters, state and checksum.
    pub(crate) fn assert_equal(&self, what: &str, ours: &[u8], theirs: &[u8]) {
        let log_superblock = self.range(self.log_blocks[0]);
        let free_fields = [
            0x0C..0x14,   // s_free_blocks_count_lo, s_free_inodes_count
            0x2C..0x36,   // s_mtime, s_wtime, s_mnt_count
            0x3A..0x3C,   // s_state
            0x60..0x64,   // s_feature_incompat: recover
            0x178..0x180, // s_kbytes_written
            0x3FC..0x400, // s_checksum
        ];
        assert_eq!(ours.len(), theirs.len());
        let differing: Vec<String> = (0..ours.len())
            .filter(|&at| ours[at] != theirs[at])
            .filter(|at| !log_superblock.contains(at))
            .filter(|at| {
                !free_fields
                    .iter()
                    .any(|f| f.contains(&at.wrapping_sub(1024)))
            })
            .map(|at| {
                format!(
                    "block {} byte {:#x}",
                    at / self.block_bytes,
                    at % self.block_bytes
                )
            })
            .collect();
        assert!(
            differing.is_empty(),
            "{what}: {} bytes differ: {:?}",
            differing.len(),
            &differing[..differing.len().min(20)]
        );
    }
}
