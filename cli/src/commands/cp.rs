//! `extmap cp`: files out of an image and into one, with everything they carry.
//!
//! ```text
//! cp ── location    IMAGE:PATH or a local path
//!    ── report      what could not be done
//!    ── inward      into an image: from local files or another image
//!    ── copier      out of an image: the walk; refuses what would leave the destination
//!    ── content     out: bytes, holes kept
//!    └─ attributes  out: owner, xattrs, mode, times, in the order that keeps them
//! ```

mod attributes;
mod content;
mod copier;
mod inward;
mod location;
mod report;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use fs_core::FileType;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::copier::Copier;
use self::location::Location;
use self::report::Report;
use crate::failure::CommandResult;
use crate::image::ImageArgs;
use crate::walk::is_dot;

/// Copy files out of an image or into one, with owner, mode, times and attributes
#[derive(Debug, clap::Args)]
pub(crate) struct CpArgs {
    #[command(flatten)]
    image_args: ImageArgs,
    /// Copy directories with what is in them; symbolic links stay links
    #[arg(
        short = 'r',
        short_alias = 'R',
        visible_alias = "recursive",
        long = "recursive"
    )]
    recursive: bool,
    /// Accepted because cp(1) needs it: attributes are always kept
    #[arg(short = 'p')]
    _preserve: bool,
    /// IMAGE:PATH for a file in an image, or a local file if DEST is in an image
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<OsString>,
    /// A local file or directory, or IMAGE:PATH for one in an image
    #[arg(value_name = "DEST")]
    destination: OsString,
}

/// Where copies go.
#[derive(Debug)]
enum Destination {
    /// Into this directory, under their own names.
    Directory(OwnedFd),
    /// Into this directory, under this name.
    Name(OwnedFd, Vec<u8>),
}

/// Runs `extmap cp`.
pub(crate) fn run(args: &CpArgs) -> CommandResult {
    raise_file_limit();
    if let Location::Image { image, path } = Location::of_destination(&args.destination) {
        return inward::run(args, &image, &path);
    }
    let names_image = |source| matches!(Location::of_source(source), Location::Image { .. });
    if !args.sources.iter().any(|source| names_image(source)) {
        return Err(anyhow!(
            "{}: neither a source nor the destination is in an image that exists",
            Path::new(&args.destination).display()
        )
        .into());
    }
    let destination = open_destination(Path::new(&args.destination), args.sources.len())?;
    let mut report = Report::default();
    for (image, paths) in group_by_image(&args.sources)? {
        copy_from(args, &image, &paths, &destination, &mut report)?;
    }
    report.print_notes();
    Ok(ExitCode::from(u8::from(report.failed())))
}

/// Copies from one image; hard links among the paths are kept.
fn copy_from(
    args: &CpArgs,
    image: &Path,
    paths: &[Vec<u8>],
    destination: &Destination,
    report: &mut Report,
) -> anyhow::Result<()> {
    let volume = args.image_args.open(image)?;
    let (root, new_name) = match destination {
        Destination::Directory(root) => (root, None),
        Destination::Name(root, name) => (root, Some(name)),
    };
    let mut copier = Copier::new(&volume, image, root, report);
    for path in paths {
        // As cp(1): a link named on the command line is followed, unless -r is given.
        let inode = match volume.resolve(path, !args.recursive) {
            Ok(inode) => inode,
            Err(error) => {
                copier.complain(path, &error.into());
                continue;
            }
        };
        if inode.file_type() == FileType::Directory && !args.recursive {
            copier.complain(path, &anyhow!("is a directory, add -r to copy it"));
            continue;
        }
        match new_name.cloned().or_else(|| last_name(path)) {
            Some(name) => copier.copy(path, &inode, &name)?,
            None => copier.copy_into_root(path, &inode)?,
        }
    }
    Ok(())
}

/// Sources in the order given, those of one image together.
fn group_by_image(sources: &[OsString]) -> anyhow::Result<Vec<(PathBuf, Vec<Vec<u8>>)>> {
    let mut groups: Vec<(PathBuf, Vec<Vec<u8>>)> = Vec::new();
    for source in sources {
        let Location::Image { image, path } = Location::of_source(source) else {
            bail!(
                "{}: a source has the form IMAGE:PATH",
                Path::new(source).display()
            );
        };
        match groups.last_mut() {
            Some((last, paths)) if *last == image => paths.push(path),
            _ => groups.push((image, vec![path])),
        }
    }
    Ok(groups)
}

/// The last component of a path; `None` if it names a directory from within
/// ("/", ".", ".."), whose content then goes into the destination itself.
fn last_name(path: &[u8]) -> Option<Vec<u8>> {
    let name = path.split(|b| *b == b'/').rfind(|part| !part.is_empty())?;
    (!is_dot(name)).then(|| name.to_vec())
}

fn open_destination(path: &Path, sources: usize) -> anyhow::Result<Destination> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place = || path.display().to_string();
    if path.is_dir() {
        let directory = openat(CWD, path, flags, Mode::empty()).with_context(place)?;
        return Ok(Destination::Directory(directory));
    }
    if sources > 1 {
        bail!("{}: several sources need a directory", path.display());
    }
    let name = path
        .file_name()
        .filter(|_| !path.as_os_str().as_bytes().ends_with(b"/"))
        .ok_or_else(|| anyhow!("{}: no such directory", path.display()))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = openat(CWD, parent, flags, Mode::empty()).with_context(place)?;
    Ok(Destination::Name(directory, name.as_bytes().to_vec()))
}

/// A deep tree holds one descriptor a level. That the limit cannot be raised
/// shows, if at all, as an error of the level that needed it.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
}

/// `IMAGE:/path`, for messages.
fn place_in(image: &Path, path: &[u8]) -> String {
    let path = OsString::from_vec(path.to_vec());
    format!("{}:{}", image.display(), Path::new(&path).display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_of_a_path() {
        assert_eq!(last_name(b"/etc/passwd"), Some(b"passwd".to_vec()));
        assert_eq!(last_name(b"etc//"), Some(b"etc".to_vec()));
        for path in [&b"/"[..], b"", b"/etc/.", b"..", b"/a/../"] {
            assert_eq!(last_name(path), None);
        }
    }

    #[test]
    fn sources_of_one_image_stay_together() {
        let sources = ["a.img:/x", "a.img:/y", "b.img:/z"].map(OsString::from);
        let groups = group_by_image(&sources).expect("groups");
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].1, [b"/x".to_vec(), b"/y".to_vec()]);
        assert!(group_by_image(&["plain".into()]).is_err());
    }
}
