//! `extmap ls`: names in a directory of an image.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use fs_core::{FileType, Inode, InodeNumber, Volume};

use crate::commands::stat::mode_letters;
use crate::failure::{CommandResult, complain};
use crate::image::ImageArgs;
use crate::output::Output;
use crate::walk::{is_dot, sorted_entries};
use crate::when;

/// List a directory of an image
#[derive(Debug, clap::Args)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    image_args: ImageArgs,
    /// Show mode, links, numeric owner and group, size, modification time
    #[arg(short)]
    long: bool,
    /// Show names that begin with a dot
    #[arg(short)]
    all: bool,
    /// List the directories below, too
    #[arg(short = 'R')]
    recursive: bool,
    /// Image file or block device
    image: PathBuf,
    /// A directory or file in the image
    #[arg(default_value = "/")]
    path: OsString,
}

/// Runs `extmap ls`.
pub(crate) fn run(args: &LsArgs) -> CommandResult {
    let volume = args.image_args.open(&args.image)?;
    let mut lister = Lister {
        volume: &volume,
        args,
        out: Output::open()?,
        seen: HashSet::new(),
        failed: false,
    };
    let path = args.path.as_bytes();
    // As in ls(1): a link to a directory shows the directory, -l shows the link.
    let place = || lister_place(args, path);
    let inode = volume.resolve(path, !args.long).with_context(place)?;
    if inode.file_type() == FileType::Directory {
        lister.list_tree(path, inode)?;
    } else {
        lister.print(&[(path.to_vec(), inode)])?;
    }
    let failed = lister.failed;
    lister.out.finish()?;
    Ok(ExitCode::from(u8::from(failed)))
}

fn lister_place(args: &LsArgs, path: &[u8]) -> String {
    let path = OsString::from_vec(path.to_vec());
    format!("{}:{}", args.image.display(), Path::new(&path).display())
}

struct Lister<'a> {
    volume: &'a Volume,
    args: &'a LsArgs,
    out: Output,
    /// Directories listed; a damaged image may name one twice, or its parent.
    seen: HashSet<InodeNumber>,
    failed: bool,
}

impl Lister<'_> {
    /// Lists a directory and, with -R, those below, depth first.
    fn list_tree(&mut self, path: &[u8], directory: Arc<Inode>) -> anyhow::Result<()> {
        let mut pending = vec![(path.to_vec(), directory)];
        let mut first = true;
        while let Some((path, directory)) = pending.pop() {
            if !self.seen.insert(directory.number()) {
                self.complain(
                    &path,
                    "this directory was already listed under another name",
                );
                continue;
            }
            if self.args.recursive {
                let heading = self.out.name(&path);
                self.out.write_all(if first { b"" } else { b"\n" })?;
                self.out.write_all(&heading)?;
                self.out.write_all(b":\n")?;
            }
            first = false;
            let entries = self.entries(&path, &directory);
            self.print(&entries)?;
            if self.args.recursive {
                pending.extend(subdirectories(&path, entries));
            }
        }
        Ok(())
    }

    /// The entries to show, with their inodes. What cannot be read is
    /// reported and left out.
    fn entries(&mut self, path: &[u8], directory: &Inode) -> Vec<(Vec<u8>, Arc<Inode>)> {
        let mut shown = Vec::new();
        let (entries, complete) = sorted_entries(self.volume, directory);
        if let Err(error) = complete {
            self.complain(path, &error.to_string());
        }
        for entry in entries {
            if !self.args.all && entry.name.starts_with(b".") {
                continue;
            }
            match self.volume.inode(entry.inode) {
                Ok(inode) => shown.push((entry.name, inode)),
                Err(error) => self.complain(&join(path, &entry.name), &error.to_string()),
            }
        }
        shown
    }

    fn print(&mut self, entries: &[(Vec<u8>, Arc<Inode>)]) -> anyhow::Result<()> {
        if self.args.long {
            return self.print_long(entries);
        }
        for (name, _) in entries {
            let name = self.out.name(name);
            self.print_name(&name)?;
        }
        Ok(())
    }

    fn print_name(&mut self, name: &[u8]) -> io::Result<()> {
        self.out.write_all(name)?;
        self.out.write_all(b"\n")
    }

    fn print_long(&mut self, entries: &[(Vec<u8>, Arc<Inode>)]) -> anyhow::Result<()> {
        let rows: Vec<_> = entries.iter().map(|(_, inode)| columns(inode)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2), width(3)];
        for ((name, inode), row) in entries.iter().zip(&rows) {
            let mode = mode_letters(inode.mode());
            write!(self.out, "{mode}")?;
            for (text, width) in row.iter().zip(widths) {
                write!(self.out, " {text:>width$}")?;
            }
            write!(self.out, " {} ", when::minutes(inode.modified().seconds))?;
            let mut line = self.out.name(name);
            if inode.file_type() == FileType::Symlink {
                line.extend_from_slice(b" -> ");
                line.extend(self.link_target(name, inode));
            }
            self.print_name(&line)?;
        }
        Ok(())
    }

    fn link_target(&mut self, name: &[u8], link: &Inode) -> Vec<u8> {
        match self.volume.read_link(link) {
            Ok(target) => self.out.name(&target),
            Err(error) => {
                self.complain(name, &error.to_string());
                b"?".to_vec()
            }
        }
    }

    fn complain(&mut self, path: &[u8], what: &str) {
        self.failed = true;
        complain(&format!("{}: {what}", lister_place(self.args, path)));
    }
}

/// Links, owner, group and size (or device number).
fn columns(inode: &Inode) -> [String; 4] {
    let size = match inode.device_number() {
        Some((major, minor)) => format!("{major}, {minor}"),
        None => inode.size_bytes().to_string(),
    };
    [
        inode.links().to_string(),
        inode.uid().to_string(),
        inode.gid().to_string(),
        size,
    ]
}

/// What to list next, the last first: the caller takes from the end.
fn subdirectories(
    path: &[u8],
    entries: Vec<(Vec<u8>, Arc<Inode>)>,
) -> impl Iterator<Item = (Vec<u8>, Arc<Inode>)> {
    entries
        .into_iter()
        .rev()
        .filter(|(name, inode)| inode.file_type() == FileType::Directory && !is_dot(name))
        .map(|(name, inode)| (join(path, &name), inode))
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if path.ends_with(b"/") { b"" } else { b"/" };
    [path, slash, name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_with_one_slash() {
        assert_eq!(join(b"/", b"a"), b"/a");
        assert_eq!(join(b"/a", b"b"), b"/a/b");
        assert_eq!(join(b"/a/", b"b"), b"/a/b");
    }
}
