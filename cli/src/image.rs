//! Opening an image for inspection.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use fs_core::{OpenOptions, Recovery, Volume};
use images::BlockDevice;

use crate::size::parse_bytes;

/// Options of every command that looks into an image.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ImageArgs {
    /// Where the file system starts in the image (suffixes: k, M, G, T)
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, conflicts_with = "partition")]
    pub(crate) offset: Option<u64>,

    /// The partition of the image (GPT or MBR) that holds the file system, from 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) partition: Option<u32>,

    /// Read the copy of the superblock at this position, in units of 1 KiB
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) sb: Option<u64>,

    /// Show the file system as it lies, without replaying its journal in memory
    #[arg(long)]
    pub(crate) norecovery: bool,
}

impl ImageArgs {
    /// Opens the file system in `image` for reading.
    pub(crate) fn open(&self, image: &Path) -> anyhow::Result<Volume> {
        let recovery = if self.norecovery {
            Recovery::None
        } else {
            Recovery::InMemory
        };
        self.open_with(image, recovery)
    }

    /// Opens the file system as it lies on the device, whatever its journal holds.
    pub(crate) fn open_as_it_lies(&self, image: &Path) -> anyhow::Result<Volume> {
        self.open_with(image, Recovery::None)
    }

    fn open_with(&self, image: &Path, recovery: Recovery) -> anyhow::Result<Volume> {
        let options = OpenOptions {
            superblock_kib: self.sb,
            recovery,
            ..OpenOptions::default()
        };
        open_volume(image, self.offset, self.partition, &options)
    }
}

/// Where in an image a file system lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) image: &'a Path,
    pub(crate) offset_bytes: Option<u64>,
    pub(crate) partition: Option<u32>,
}

impl Place<'_> {
    /// Opens the image; errors may lack its name, see [`Place::named`].
    pub(crate) fn open(&self, read_only: bool) -> images::Result<Arc<dyn BlockDevice>> {
        let options = images::OpenOptions {
            read_only,
            offset_bytes: self.offset_bytes,
            partition: self.partition,
            ..images::OpenOptions::default()
        };
        images::open(self.image, &options)
    }

    /// An error with the image's name.
    pub(crate) fn named(&self, error: images::Error) -> anyhow::Error {
        match error {
            // These name the image themselves.
            images::Error::Open { .. }
            | images::Error::InUse { .. }
            | images::Error::WrongType { .. } => anyhow::Error::from(error),
            other => anyhow::Error::from(other).context(self.image.display().to_string()),
        }
    }
}

/// Opens an image read-only; every error names the image.
pub(crate) fn open_volume(
    image: &Path,
    offset_bytes: Option<u64>,
    partition: Option<u32>,
    options: &OpenOptions,
) -> anyhow::Result<Volume> {
    let place = Place {
        image,
        offset_bytes,
        partition,
    };
    let device = place.open(true).map_err(|error| place.named(error))?;
    Volume::open(device, options).with_context(|| image.display().to_string())
}
