//! What the unit tests of changes share: a volume mke2fs made, open for writing, and
//! e2fsck to judge what became of it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use images::{BlockDevice, Memory};

use crate::change::Writer;
use crate::clock::Clock;
use crate::error::Result;
use crate::volume::{WriteOptions, close_writer};

/// A volume in memory.
pub(crate) struct Fixture {
    pub(crate) writer: Writer,
    memory: Arc<Memory>,
}

impl Fixture {
    /// Runs mke2fs with these options; `size` is as mke2fs takes it. `None`, and a line that
    /// says so, if mke2fs is not there.
    pub(crate) fn new(options: &[&str], size: &str) -> Option<Self> {
        Self::filled(options, size, |_| {})
    }

    /// The same, with what `fill` puts into a directory.
    pub(crate) fn filled(
        options: &[&str],
        size: &str,
        fill: impl FnOnce(&std::path::Path),
    ) -> Option<Self> {
        if !skipping::have_programs(&["mke2fs", "e2fsck"]) {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        let tree = directory.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        fill(&tree);
        let made = Command::new("mke2fs")
            .args(["-q", "-F"])
            .args(options)
            .arg("-d")
            .arg(&tree)
            .arg(&image)
            .arg(size)
            .output()
            .unwrap();
        assert!(made.status.success(), "mke2fs {options:?}: {made:?}");
        Some(Self::of(std::fs::read(&image).unwrap()))
    }

    /// Opens an image for writing.
    pub(crate) fn of(image: Vec<u8>) -> Self {
        let memory = Arc::new(Memory::new(image));
        let device: Arc<dyn BlockDevice> = memory.clone();
        let writer = open_writer(device, Clock::System).unwrap();
        Self { writer, memory }
    }

    /// The device's bytes as they are.
    pub(crate) fn image(&self) -> Vec<u8> {
        self.memory.snapshot()
    }

    /// Closes the volume and has e2fsck judge it.
    #[track_caller]
    pub(crate) fn close(self) -> Vec<u8> {
        close_writer(&self.writer).unwrap();
        let image = self.memory.snapshot();
        assert_clean(&image);
        image
    }
}

/// The parts of a volume open for writing, without the threads and locks of its users.
pub(crate) fn open_writer(device: Arc<dyn BlockDevice>, clock: Clock) -> Result<Writer> {
    let options = WriteOptions {
        clock,
        ..WriteOptions::default()
    };
    crate::volume::open_writer(device, &options).map(|opened| opened.writer)
}

/// Fails unless `e2fsck -fn` finds nothing.
#[track_caller]
pub(crate) fn assert_clean(image: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("image");
    std::fs::write(&path, image).unwrap();
    let checked = Command::new("e2fsck")
        .arg("-fn")
        .arg(&path)
        .output()
        .unwrap();
    if !checked.status.success() {
        if let Ok(kept) = std::env::var("EXTMAP_KEEP_IMAGE") {
            std::fs::copy(&path, kept).unwrap();
        }
        panic!(
            "e2fsck -fn:\n{}{}",
            String::from_utf8_lossy(&checked.stdout),
            String::from_utf8_lossy(&checked.stderr)
        );
    }
}

#[test]
fn a_volume_that_was_opened_and_closed_is_clean() {
    for options in [
        &["-t", "ext4"][..],
        &["-t", "ext4", "-b", "1024"],
        &["-t", "ext4", "-b", "4096", "-O", "^has_journal"],
        &["-t", "ext3"],
        &["-t", "ext2"],
    ] {
        let Some(fixture) = Fixture::new(options, "16M") else {
            return;
        };
        fixture.close();
    }
}
