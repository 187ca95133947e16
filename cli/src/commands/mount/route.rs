//! By which way the image is reached: by itself, or by a block device and without a cache.
//!
//! A kernel that moves the content of files by itself (FUSE iomap) does so on a block device.
//! An image that is a file gets a loop device for that, which reads and writes it directly; a
//! block device is opened without its cache. Everything then goes there, our own blocks too: a
//! page of a cache in between could be written over what the kernel wrote.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fuse_frontend::IomapMode;
use images::{Attachment, LoopDevice, Usage};

use super::Request;
use crate::mount_options::{Access, IomapWish};

/// A way to an image.
#[derive(Debug)]
pub(super) struct Route {
    /// What is opened.
    pub(super) path: PathBuf,
    /// Without the page cache.
    pub(super) direct: bool,
    /// What is to be said to the frontend.
    pub(super) iomap: IomapMode,
    /// Keeps the device attached until it is open.
    _attached: Option<LoopDevice>,
}

impl Route {
    fn plain(request: &Request<'_>, iomap: IomapMode) -> Self {
        Self {
            path: request.image.to_owned(),
            direct: false,
            iomap,
            _attached: None,
        }
    }
}

/// Chooses a way. A loop device is attached only for a kernel that will use it.
///
/// # Errors
/// If the kernel must move content and there is no way for that.
pub(super) fn choose(request: &Request<'_>, read_only: bool) -> anyhow::Result<Route> {
    let options = &request.options;
    let must = options.iomap == IomapWish::Always;
    if options.iomap == IomapWish::Never {
        let reason = "turned off by 'iomap=never'".to_owned();
        return Ok(Route::plain(request, IomapMode::Never(reason)));
    }
    if options.writing.writethrough && !must {
        let reason = "'writethrough' has every write pass through the server".to_owned();
        return Ok(Route::plain(request, IomapMode::Never(reason)));
    }
    let mode = match must {
        true => IomapMode::Always,
        false => IomapMode::Auto,
    };
    // What else speaks against it the frontend finds, and says.
    if options.access == Access::Root || fuse_frontend::iomap_support().is_err() {
        return Ok(Route::plain(request, mode));
    }
    match attach(request, read_only) {
        Ok((path, attached)) => Ok(Route {
            path,
            direct: true,
            iomap: mode,
            _attached: attached,
        }),
        Err(error) if must => Err(error)
            .context("file data cannot be left to the kernel")
            .with_context(|| request.image.display().to_string()),
        Err(error) => {
            tracing::info!("file data goes through this server: {error:#}");
            let reason = IomapMode::Never(format!("{error:#}"));
            Ok(Route::plain(request, reason))
        }
    }
}

/// The block device of an image, and what keeps it there.
fn attach(request: &Request<'_>, read_only: bool) -> anyhow::Result<(PathBuf, Option<LoopDevice>)> {
    let image = request.image;
    if is_block_device(image)? {
        return Ok((image.to_owned(), None));
    }
    if request.options.writing.no_loop {
        bail!("'loop=never' leaves no block device over an image file");
    }
    // Opened by its own name it is refused, and who holds it is said.
    if let Some(usage @ (Usage::Mounted { .. } | Usage::Swap)) = images::usage(image) {
        bail!("the image is {usage}");
    }
    let how = Attachment {
        read_only,
        direct: true,
    };
    let attached = LoopDevice::attach_as(image, how).context("no loop device")?;
    Ok((attached.path().to_owned(), Some(attached)))
}

fn is_block_device(image: &Path) -> anyhow::Result<bool> {
    let metadata = std::fs::metadata(image)?;
    Ok(metadata.file_type().is_block_device())
}
