//! `IMAGE:PATH` or a local path.
//!
//! File names may hold colons. The image is what stands before the first colon
//! that ends the name of something that exists and is not a directory; failing
//! that, a source is split at its first colon (and the open then fails by name),
//! while a destination is a local path.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What an argument of `cp` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// A file in an image.
    Image {
        /// The image.
        image: PathBuf,
        /// The path in it, from its root.
        path: Vec<u8>,
    },
    /// A file of this system.
    Local(PathBuf),
}

impl Location {
    /// Reads an argument that should name a file in an image.
    pub(super) fn of_source(argument: &OsStr) -> Self {
        let colon = image_colon(argument).or_else(|| colons(argument).next());
        Self::split(argument, colon)
    }

    /// Reads an argument that should name a local file.
    pub(super) fn of_destination(argument: &OsStr) -> Self {
        Self::split(argument, image_colon(argument))
    }

    fn split(argument: &OsStr, colon: Option<usize>) -> Self {
        let bytes = argument.as_bytes();
        match colon {
            Some(colon) => Self::Image {
                image: PathBuf::from(OsString::from_vec(bytes[..colon].to_vec())),
                path: bytes[colon + 1..].to_vec(),
            },
            None => Self::Local(PathBuf::from(argument)),
        }
    }
}

fn colons(argument: &OsStr) -> impl Iterator<Item = usize> {
    let bytes = argument.as_bytes().iter().enumerate();
    bytes.filter_map(|(at, byte)| (*byte == b':' && at > 0).then_some(at))
}

fn image_colon(argument: &OsStr) -> Option<usize> {
    colons(argument).find(|colon| {
        let image = Path::new(OsStr::from_bytes(&argument.as_bytes()[..*colon]));
        image.metadata().is_ok_and(|metadata| !metadata.is_dir())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(image: &str, path: &str) -> Location {
        Location::Image {
            image: image.into(),
            path: path.into(),
        }
    }

    #[test]
    fn a_source_is_split_at_its_first_colon() {
        let location = Location::of_source(OsStr::new("none.img:/a:b"));
        assert_eq!(location, image("none.img", "/a:b"));
        let location = Location::of_source(OsStr::new("none.img:"));
        assert_eq!(location, image("none.img", ""));
        let location = Location::of_source(OsStr::new("plain"));
        assert_eq!(location, Location::Local("plain".into()));
    }

    #[test]
    fn an_existing_image_may_have_colons_in_its_name() {
        let directory = tempfile::tempdir().expect("directory");
        let name = directory.path().join("a:b.img");
        std::fs::write(&name, b"").expect("image");
        let name = name.to_str().expect("name");
        let location = Location::of_source(OsStr::new(&format!("{name}:/x:y")));
        assert_eq!(location, image(name, "/x:y"));
        let location = Location::of_destination(OsStr::new(&format!("{name}:/x")));
        assert_eq!(location, image(name, "/x"));
    }

    #[test]
    fn a_destination_with_a_colon_may_be_local() {
        let location = Location::of_destination(OsStr::new("some:thing"));
        assert_eq!(location, Location::Local("some:thing".into()));
    }
}
