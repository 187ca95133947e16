//! A tree from a tar archive.
//!
//! The archive is read once, before anything is written: its headers become the
//! tree, its content stays where it is and is read from there later, by several
//! threads at any offset. Understood are the formats v7, ustar, GNU and PAX with
//! GNU's, star's and bsdtar's extensions for sparse files, attributes and ACLs.
//!
//! An archive is not to be trusted. Whatever is unclear is refused with the
//! member's name: entries outside the tree ("..", absolute paths), entries under
//! what is not a directory, damaged headers, content that is cut off, and a
//! missing mark at the end (GNU tar accepts that, and with it archives that were
//! cut off between two members). Memory grows with the number of members only.

mod acl;
mod archive;
mod builder;
mod compression;
mod header;
mod joined;
mod member;
mod members;
mod pax;
mod sparse;
mod xattr;

use std::fs::File;
use std::path::{Path, PathBuf};

use self::archive::Archive;
use self::builder::Builder;
use self::members::Members;
use super::{ScanOptions, Tree};
use crate::{Progress, Result, Stage};

/// What is wrong is half a sentence that goes on behind the name of the archive,
/// or of a member.
type Parsed<T> = std::result::Result<T, String>;

/// Where an archive is.
#[derive(Debug)]
pub enum TarInput {
    /// A file, or anything else that can be opened.
    Path(PathBuf),
    /// Something that is open: standard input, a pipe, a socket.
    File {
        /// What is open; read from its present position.
        file: File,
        /// What messages call it.
        name: PathBuf,
    },
}

/// Makes a tree of an archive. It may be compressed with gzip, zstd or xz; its
/// first bytes tell. What cannot be read at any offset is copied to an unnamed
/// temporary file in `spool_directory`, which lives as long as the tree.
///
/// Members keep their owners, whoever calls this. A later member replaces an
/// earlier one of the same name; directories keep their entries. Directories the
/// archive needs but does not contain belong to 0:0 with mode 0755, unless the
/// options say otherwise.
///
/// # Errors
/// `Source` if the archive or the spool directory fails (its disk may be full);
/// `BadSource` if the archive is damaged or holds what ext4 cannot hold.
pub fn read(
    input: TarInput,
    options: &ScanOptions,
    spool_directory: &Path,
    progress: &dyn Progress,
) -> Result<Tree> {
    progress.begin(Stage::Scanning, 0);
    let archive = Archive::open(input, &options.exclude, spool_directory)?;
    let name = archive.name.clone();
    let mut members = Members::new(archive);
    let mut builder = Builder::new(options);
    while let Some(member) = members.next()? {
        let path = member.path.clone();
        builder
            .add(member)
            .map_err(|why| members.bad_member(&path, &why))?;
        progress.advance(1);
    }
    let has_root_attributes = builder.has_root_attributes();
    let draft = builder
        .finish()
        .map_err(|(path, why)| members.bad_member(&path, &why))?;
    draft.finish(&name, has_root_attributes)
}
