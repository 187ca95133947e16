//! Opening the image: for writing where that is possible and wanted, else for reading.

use std::sync::Arc;

use anyhow::{Context, bail};
use fs_core::{
    ErrorKind, ErrorsPolicy, FileType, Inode, InodeNumber, OpenOptions, Recovery, RecoveryReport,
    Volume, WritableVolume, WriteOptions,
};
use fuse_frontend::{IomapMode, Served};
use images::BlockDevice;
use rustix::io::Errno;

use super::Request;
use super::route::{self, Route};
use crate::image::{Place, host_name};
use crate::mount_options::{Intent, MountOptions, OnErrors};

/// Everything becomes durable when nothing has changed for so long: sync(2) does not reach
/// the server of a FUSE mount, but what it writes does.
const QUIET_MS: u64 = 100;

/// An open file system.
pub(super) struct Opened {
    pub(super) volume: Served,
    /// One sentence, if it could not be opened for writing and nobody asked for reading.
    pub(super) why_read_only: Option<String>,
    /// Whether the kernel may move content, as the image was opened.
    pub(super) iomap: IomapMode,
}

/// Why an image is not opened for writing.
enum NotWritable {
    /// Reading may do.
    But(String),
    /// Nothing will do.
    Fails(anyhow::Error),
}

/// Opens what a call of mount asks for.
pub(super) fn open(request: &Request<'_>) -> anyhow::Result<Opened> {
    let options = &request.options;
    let name = || request.image.display().to_string();
    if options.intent == Intent::Read {
        return open_for_reading(request, None);
    }
    if options.is_for_reading() {
        let why = "mounted read-only, as 'norecovery' and 'sb=' ask for";
        return open_for_reading(request, Some(format!("{}: {why}", name())));
    }
    match open_for_writing(request) {
        Ok((volume, iomap)) => {
            log_recovery(volume.recovery_report(), "the journal was replayed");
            check_root(|| volume.inode(InodeNumber::ROOT)).with_context(name)?;
            Ok(Opened {
                volume: volume.into(),
                why_read_only: None,
                iomap,
            })
        }
        Err(NotWritable::Fails(error)) => Err(error),
        Err(NotWritable::But(why)) if options.intent == Intent::Write => {
            bail!("{}: cannot be mounted for writing: {why}", name())
        }
        Err(NotWritable::But(why)) => {
            let remark = format!("{}: mounted read-only: {why}", name());
            open_for_reading(request, Some(remark))
        }
    }
}

fn open_for_reading(request: &Request<'_>, remark: Option<String>) -> anyhow::Result<Opened> {
    let options = &request.options;
    let mut open_options = OpenOptions {
        superblock_kib: options.superblock_kib,
        recovery: if options.norecovery {
            Recovery::None
        } else {
            Recovery::InMemory
        },
        ..OpenOptions::default()
    };
    if let Some(cache_bytes) = options.cache_bytes {
        open_options.cache_bytes = cache_bytes;
    }
    let route = route::choose(request, true)?;
    let device = open_device(request, &route, true).map_err(|error| place(request).named(error))?;
    let volume =
        Volume::open(device, &open_options).with_context(|| request.image.display().to_string())?;
    let report = volume.recovery_report();
    if report.journal_was_dirty && open_options.recovery == Recovery::None {
        tracing::info!("the journal needs recovery and was left alone, as asked");
    } else {
        log_recovery(report, "the journal was replayed in memory");
    }
    check_root(|| volume.inode(InodeNumber::ROOT))
        .with_context(|| request.image.display().to_string())?;
    Ok(Opened {
        volume: volume.into(),
        why_read_only: remark,
        iomap: route.iomap,
    })
}

fn place<'a>(request: &Request<'a>) -> Place<'a> {
    Place {
        image: request.image,
        offset_bytes: request.options.offset_bytes,
        partition: request.options.partition,
    }
}

fn open_device(
    request: &Request<'_>,
    route: &Route,
    read_only: bool,
) -> images::Result<Arc<dyn BlockDevice>> {
    let options = images::OpenOptions {
        read_only,
        offset_bytes: request.options.offset_bytes,
        partition: request.options.partition,
        direct: route.direct,
        ..images::OpenOptions::default()
    };
    images::open(&route.path, &options)
}

fn open_for_writing(request: &Request<'_>) -> Result<(WritableVolume, IomapMode), NotWritable> {
    let options = &request.options;
    let place = place(request);
    let route = route::choose(request, false).map_err(NotWritable::Fails)?;
    let device = open_device(request, &route, false).map_err(|error| match &error {
        images::Error::Open { source, .. } if is_refused(source) => {
            NotWritable::But(source.to_string())
        }
        _ => NotWritable::Fails(place.named(error)),
    })?;
    let write_options = write_options(request, options);
    let volume =
        WritableVolume::open(device, &write_options).map_err(|error| match error.kind() {
            ErrorKind::Unsupported(_) | ErrorKind::ReadOnly => NotWritable::But(error.to_string()),
            // What is damaged can be rescued.
            ErrorKind::Corrupt(_) => NotWritable::But(error.to_string()),
            _ => {
                let named = anyhow::Error::from(error).context(request.image.display().to_string());
                NotWritable::Fails(named)
            }
        })?;
    Ok((volume, route.iomap))
}

fn is_refused(error: &std::io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS)
    )
}

fn write_options(request: &Request<'_>, options: &MountOptions) -> WriteOptions {
    let defaults = WriteOptions::default();
    let writing = &options.writing;
    let directory = std::path::absolute(request.directory);
    let directory = directory.as_deref().unwrap_or(request.directory);
    WriteOptions {
        cache_bytes: options.cache_bytes.unwrap_or(defaults.cache_bytes),
        errors: writing.errors.map(|errors| match errors {
            OnErrors::Continue => ErrorsPolicy::Continue,
            OnErrors::RemountReadOnly => ErrorsPolicy::ReadOnly,
            OnErrors::Panic => ErrorsPolicy::Stop,
        }),
        discard: writing.discard,
        commit_interval_ms: writing
            .commit_seconds
            .map_or(defaults.commit_interval_ms, |seconds| seconds * 1000),
        quiet_ms: QUIET_MS,
        mounted_on: Some(directory.as_os_str().as_encoded_bytes().to_vec()),
        host: host_name().unwrap_or_else(|| defaults.host.clone()),
        ..defaults
    }
}

/// A mount whose root cannot be read would be of no use; better to say why now.
fn check_root(root: impl FnOnce() -> fs_core::Result<Arc<Inode>>) -> anyhow::Result<()> {
    let root = root().context("cannot read the root directory")?;
    if root.file_type() != FileType::Directory {
        bail!("the root inode is not a directory, check the file system");
    }
    Ok(())
}

fn log_recovery(report: &RecoveryReport, what: &str) {
    if report.journal_was_dirty {
        tracing::info!(
            transactions = report.transactions_replayed,
            blocks = report.blocks_replayed,
            fast_commits = report.fast_commits_replayed,
            orphans = report.orphans.len(),
            "{what}"
        );
    }
}
