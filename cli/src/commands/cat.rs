//! `extmap cat`: files' bytes to standard output.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use fs_core::{FileType, Volume};

use crate::failure::CommandResult;
use crate::image::ImageArgs;
use crate::output::Output;

const PIECE_BYTES: usize = 1 << 20;

/// Write files of an image to standard output
#[derive(Debug, clap::Args)]
pub(crate) struct CatArgs {
    #[command(flatten)]
    image_args: ImageArgs,
    /// Image file or block device
    image: PathBuf,
    /// Files in the image; symbolic links are followed inside it
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<OsString>,
}

/// Runs `extmap cat`.
pub(crate) fn run(args: &CatArgs) -> CommandResult {
    let volume = args.image_args.open(&args.image)?;
    let mut out = Output::open()?;
    for path in &args.paths {
        let place = || format!("{}:{}", args.image.display(), Path::new(path).display());
        copy_to(&volume, path.as_bytes(), &mut out).with_context(place)?;
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn copy_to(volume: &Volume, path: &[u8], out: &mut Output) -> anyhow::Result<()> {
    let file = volume.resolve(path, true)?;
    match file.file_type() {
        FileType::Regular => {}
        FileType::Directory => bail!("is a directory"),
        _ => bail!("is not a regular file"),
    }
    let mut piece = vec![0; PIECE_BYTES];
    let mut offset = 0_u64;
    loop {
        let len = volume.read(&file, &mut piece, offset)?;
        let Some(bytes) = piece.get(..len).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        out.write_all(bytes)?;
        offset = offset.saturating_add(bytes.len() as u64);
    }
}
