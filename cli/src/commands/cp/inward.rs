//! Into an image: from local files or another image.
//!
//! ```text
//! inward ── destination  where in the image: the rules of cp(1)
//!        ── walk         through the source, directories in a list
//!        ── source       what is copied from ── local    files of this system
//!        │                                   └─ volume   another image
//!        ── target       the image: make, replace, fill, attributes
//!        └─ trouble      what ends one file's copy, and what ends all
//! ```
//!
//! Nothing is made durable file by file: many go with each commit of the journal, and
//! everything is when the volume is closed. It is closed however the copy ends.

mod destination;
mod local;
mod source;
mod target;
mod trouble;
mod volume;
mod walk;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use fs_core::WritableVolume;

use self::destination::Destination;
use self::local::LocalFiles;
use self::source::FileId;
use self::target::Target;
use self::volume::VolumeFiles;
use self::walk::Copier;
use super::location::Location;
use super::report::Report;
use super::{CpArgs, place_in};
use crate::failure::{CommandResult, complain, sentence};
use crate::interrupt::Interrupt;

/// Sources in the order given, those of one place together.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    /// The image; none for local files.
    image: Option<PathBuf>,
    paths: Vec<Vec<u8>>,
}

/// Runs `extmap cp` with a destination in an image.
pub(super) fn run(args: &CpArgs, image: &Path, path: &[u8]) -> CommandResult {
    let groups = group(&args.sources);
    for source in groups.iter().filter_map(|group| group.image.as_ref()) {
        if is_same(source, image) {
            return Err(anyhow::anyhow!(
                "{}: copying within one image is not possible, copy through a local directory",
                image.display()
            )
            .into());
        }
    }
    let interrupt = Interrupt::catch()?;
    let volume = args.image_args.open_for_writing(image)?;
    let mut report = Report::default();
    let copied = copy(args, image, path, &groups, &volume, &interrupt, &mut report);
    let closed = volume
        .close()
        .with_context(|| format!("{}: cannot be closed", image.display()));
    report.print_notes();
    if let (Err(_), Err(error)) = (&copied, &closed) {
        complain(&sentence(error));
    }
    copied.and(closed)?;
    Ok(ExitCode::from(u8::from(report.failed())))
}

fn copy(
    args: &CpArgs,
    image: &Path,
    path: &[u8],
    groups: &[Group],
    volume: &WritableVolume,
    interrupt: &Interrupt,
    report: &mut Report,
) -> anyhow::Result<()> {
    let place = || place_in(image, path);
    let destination = Destination::find(volume, path).with_context(place)?;
    if args.sources.len() > 1 && matches!(destination, Destination::Name { .. }) {
        bail!("{}: several sources need a directory", place());
    }
    let may_use_reserve = rustix::process::geteuid().is_root();
    let mut target = Target::new(volume, interrupt, may_use_reserve);
    for group in groups {
        let paths = &group.paths;
        match &group.image {
            Some(image) => {
                let files = VolumeFiles::new(args.image_args.open(image)?, image);
                let mut copier = Copier::new(&files, &mut target, report, true);
                for path in paths {
                    copier.copy(path, args.recursive, &destination.place(path))?;
                }
            }
            None => {
                let files = LocalFiles::new(file_id(image));
                let mut copier = Copier::new(&files, &mut target, report, false);
                for path in paths {
                    copier.copy(path, args.recursive, &destination.place(path))?;
                }
            }
        }
    }
    Ok(())
}

fn group(sources: &[OsString]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for source in sources {
        let (image, path) = match Location::of_destination(source) {
            Location::Image { image, path } => (Some(image), path),
            Location::Local(path) => (None, path.as_os_str().as_bytes().to_vec()),
        };
        match groups.last_mut() {
            Some(last) if last.image == image => last.paths.push(path),
            _ => groups.push(Group {
                image,
                paths: vec![path],
            }),
        }
    }
    groups
}

fn file_id(path: &Path) -> FileId {
    let found = path.metadata().ok();
    let (device, inode) = found.map_or((0, 0), |found| (found.dev(), found.ino()));
    FileId { device, inode }
}

/// True if two paths name one file, or one device.
fn is_same(a: &Path, b: &Path) -> bool {
    let device = |path: &Path| {
        let found = path.metadata().ok()?;
        found.file_type().is_block_device().then(|| found.rdev())
    };
    file_id(a) == file_id(b) || device(a).is_some_and(|number| device(b) == Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_one_place_stay_together() {
        let directory = tempfile::tempdir().expect("directory");
        let image = directory.path().join("a.img");
        std::fs::write(&image, b"").expect("image");
        let inside = OsString::from(format!("{}:/x", image.display()));
        let sources = ["a".into(), "no.img:/b".into(), inside.clone(), inside];
        let groups = group(&sources);
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].paths, [b"a".to_vec(), b"no.img:/b".to_vec()]);
        assert_eq!(groups[1].image, Some(image));
    }

    #[test]
    fn an_image_is_itself_by_any_name() {
        let directory = tempfile::tempdir().expect("directory");
        let [a, b, c] = ["a", "b", "c"].map(|name| directory.path().join(name));
        std::fs::write(&a, b"").expect("image");
        std::fs::write(&c, b"").expect("image");
        std::fs::hard_link(&a, &b).expect("link");
        assert!(is_same(&a, &b));
        assert!(!is_same(&a, &c));
    }
}
