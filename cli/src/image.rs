//! Opening an image, for inspection or to change it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use fs_core::{OpenOptions, Recovery, Volume, WritableVolume, WriteOptions};
use images::{BlockDevice, Usage};

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

    /// Opens the file system in `image` for writing. Its journal is replayed onto it.
    pub(crate) fn open_for_writing(&self, image: &Path) -> anyhow::Result<WritableVolume> {
        let name = || image.display().to_string();
        if self.sb.is_some() || self.norecovery {
            bail!("{}: --sb and --norecovery are for reading only", name());
        }
        // What is mounted is refused when it is opened.
        if let Some(usage @ Usage::Attached(_)) = images::usage(image) {
            bail!("{} is {usage}: detach it first", name());
        }
        let place = Place {
            image,
            offset_bytes: self.offset,
            partition: self.partition,
        };
        let device = place.open(false).map_err(|error| place.named(error))?;
        let options = WriteOptions {
            host: host_name().unwrap_or_else(|| WriteOptions::default().host),
            ..WriteOptions::default()
        };
        let volume = WritableVolume::open(device, &options);
        volume.with_context(|| format!("{}: cannot be written to", name()))
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

/// The name of this machine, for others who find a volume in use.
pub(crate) fn host_name() -> Option<String> {
    let name = rustix::system::uname();
    let name = name.nodename().to_str().ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}
