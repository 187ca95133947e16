//! Where in the image copies go: the rules of cp(1).

use anyhow::{anyhow, bail};
use fs_core::{ErrorKind, FileType, InodeNumber, WritableVolume};

use super::super::last_name;

/// Symbolic links followed at the end of the destination, as Linux.
const LINKS_MAX: usize = 40;

/// What was named as the destination.
#[derive(Debug)]
pub(super) enum Destination {
    /// Into this directory, under their own names.
    Directory(InodeNumber),
    /// Under this name.
    Name {
        parent: InodeNumber,
        name: Vec<u8>,
        /// A slash follows: only a directory can have this name.
        is_directory: bool,
    },
}

/// Where one copy goes.
#[derive(Debug)]
pub(super) enum Place {
    /// The content of a directory, into this one.
    Content(InodeNumber),
    /// Under this name.
    Name {
        parent: InodeNumber,
        name: Vec<u8>,
        is_directory: bool,
    },
}

impl Destination {
    /// Finds it in the image. A symbolic link at its end is followed, and has to lead
    /// somewhere.
    pub(super) fn find(volume: &WritableVolume, path: &[u8]) -> anyhow::Result<Self> {
        let mut path = path.to_vec();
        for followed in 0..=LINKS_MAX {
            match volume.resolve(&path, true) {
                Ok(found) if found.file_type() == FileType::Directory => {
                    return Ok(Self::Directory(found.number()));
                }
                Err(error) if *error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            let is_directory = path.ends_with(b"/");
            let name = last_name(&path).ok_or_else(|| anyhow!("no such directory"))?;
            let before = parent_path(&path).to_vec();
            let parent = match volume.resolve(&before, true) {
                Ok(parent) if parent.file_type() == FileType::Directory => parent.number(),
                Err(error) if *error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => bail!("no such directory to copy into"),
            };
            let link = match volume.child(parent, &name) {
                Ok(found) if found.file_type() == FileType::Symlink => found,
                Ok(_) if is_directory => bail!("is not a directory"),
                Err(error) if *error.kind() != ErrorKind::NotFound => return Err(error.into()),
                Err(_) if followed > 0 => bail!("is a symbolic link that leads nowhere"),
                _ => {
                    return Ok(Self::Name {
                        parent,
                        name,
                        is_directory,
                    });
                }
            };
            let target = volume.read_link(link.number())?;
            path = match target.starts_with(b"/") {
                true => target,
                false => [before.as_slice(), b"/", &target].concat(),
            };
        }
        bail!("more than {LINKS_MAX} symbolic links in one path")
    }

    /// Where a source with this path goes.
    pub(super) fn place(&self, source: &[u8]) -> Place {
        match self {
            Self::Directory(directory) => match last_name(source) {
                Some(name) => Place::Name {
                    parent: *directory,
                    name,
                    is_directory: false,
                },
                None => Place::Content(*directory),
            },
            Self::Name {
                parent,
                name,
                is_directory,
            } => Place::Name {
                parent: *parent,
                name: name.clone(),
                is_directory: *is_directory,
            },
        }
    }
}

/// What stands before the last component.
fn parent_path(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/');
    let trimmed = end.and_then(|end| path.get(..=end)).unwrap_or_default();
    let slash = trimmed.iter().rposition(|byte| *byte == b'/');
    slash.and_then(|at| path.get(..=at)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_a_name() {
        let cases = [
            ("/a/b", "/a/"),
            ("/a/b//", "/a/"),
            ("a", ""),
            ("/a", "/"),
            ("/", ""),
            ("", ""),
        ];
        for (path, parent) in cases {
            assert_eq!(parent_path(path.as_bytes()), parent.as_bytes(), "{path}");
        }
    }
}
