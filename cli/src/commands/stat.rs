//! `extmap stat`: what an inode says, in stat(1)'s form.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use fs_core::{ExtentState, FileType, Inode, InodeFlags, Volume};

use crate::accounts::{group_name, user_name};
use crate::failure::CommandResult;
use crate::image::ImageArgs;
use crate::output::Output;
use crate::walk::{has_content, is_inline, visit_extents};
use crate::when;

/// Show what an inode of an image says
#[derive(Debug, clap::Args)]
pub(crate) struct StatArgs {
    #[command(flatten)]
    image_args: ImageArgs,
    /// Follow a symbolic link (inside the image)
    #[arg(short = 'L', long)]
    dereference: bool,
    /// Image file or block device
    image: PathBuf,
    /// A file in the image
    path: OsString,
}

/// Runs `extmap stat`.
pub(crate) fn run(args: &StatArgs) -> CommandResult {
    let volume = args.image_args.open(&args.image)?;
    let place = || {
        let path = Path::new(&args.path).display();
        format!("{}:{path}", args.image.display())
    };
    let path = args.path.as_bytes();
    let inode = volume.resolve(path, args.dereference).with_context(place)?;
    let mut out = Output::open()?;
    print_identity(&volume, path, &inode, &mut out).with_context(place)?;
    print_times(&inode, &mut out)?;
    print_details(&volume, &inode, &mut out).with_context(place)?;
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn print_identity(
    volume: &Volume,
    path: &[u8],
    inode: &Inode,
    out: &mut Output,
) -> anyhow::Result<()> {
    let mut line = out.name(path);
    if inode.file_type() == FileType::Symlink {
        line.extend_from_slice(b" -> ");
        line.extend(out.name(&volume.read_link(inode)?));
    }
    out.write_all(b"  File: ")?;
    out.write_all(&line)?;
    writeln!(
        out,
        "\n  Size: {:<15}\tBlocks: {:<10} IO Block: {:<6} {}",
        inode.size_bytes(),
        inode.blocks_512(),
        volume.superblock().block_bytes,
        type_words(inode)
    )?;
    let number = inode.number().to_string();
    match inode.device_number() {
        Some((major, minor)) => writeln!(
            out,
            " Inode: {number:<15}\tLinks: {:<11} Device type: {major},{minor}",
            inode.links()
        )?,
        None => writeln!(out, " Inode: {number:<15}\tLinks: {}", inode.links())?,
    }
    let unknown = || "UNKNOWN".to_owned();
    writeln!(
        out,
        "Access: ({:04o}/{})  Uid: ({:>5}/{:>8})   Gid: ({:>5}/{:>8})",
        inode.mode() & 0o7777,
        mode_letters(inode.mode()),
        inode.uid(),
        user_name(inode.uid()).unwrap_or_else(unknown),
        inode.gid(),
        group_name(inode.gid()).unwrap_or_else(unknown),
    )?;
    Ok(())
}

fn print_times(inode: &Inode, out: &mut Output) -> anyhow::Result<()> {
    writeln!(out, "Access: {}", when::full(inode.accessed()))?;
    writeln!(out, "Modify: {}", when::full(inode.modified()))?;
    writeln!(out, "Change: {}", when::full(inode.changed()))?;
    let birth = inode.created().map_or_else(|| "-".to_owned(), when::full);
    writeln!(out, " Birth: {birth}")?;
    Ok(())
}

fn print_details(volume: &Volume, inode: &Inode, out: &mut Output) -> anyhow::Result<()> {
    let flags = inode.flags();
    writeln!(
        out,
        " Flags: {} (0x{:x})",
        flag_letters(flags),
        flags.bits()
    )?;
    writeln!(out, "Generation: {}", inode.generation())?;
    writeln!(out, "Project: {}", inode.project_id())?;
    if is_inline(inode) {
        writeln!(out, "Extents: inline")?;
    } else if has_content(inode) {
        writeln!(out, "Extents: {}", count_extents(volume, inode)?)?;
    }
    for name in volume.xattr_names(inode)? {
        let name = out.name(&name);
        out.write_all(b" Xattr: ")?;
        out.write_all(&name)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn count_extents(volume: &Volume, inode: &Inode) -> anyhow::Result<u64> {
    let mut count = 0;
    visit_extents(volume, inode, &mut |extent| {
        count += u64::from(extent.state != ExtentState::Hole);
        Ok(())
    })?;
    Ok(count)
}

fn type_words(inode: &Inode) -> &'static str {
    match inode.file_type() {
        FileType::Regular if inode.size_bytes() == 0 => "regular empty file",
        FileType::Regular => "regular file",
        FileType::Directory => "directory",
        FileType::Symlink => "symbolic link",
        FileType::CharDevice => "character special file",
        FileType::BlockDevice => "block special file",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
    }
}

/// `drwxr-sr-t`, as ls(1) and stat(1) write a mode.
pub(crate) fn mode_letters(mode: u16) -> String {
    let type_letter = match FileType::from_mode(mode) {
        Some(FileType::Regular) => '-',
        Some(FileType::Directory) => 'd',
        Some(FileType::Symlink) => 'l',
        Some(FileType::CharDevice) => 'c',
        Some(FileType::BlockDevice) => 'b',
        Some(FileType::Fifo) => 'p',
        Some(FileType::Socket) => 's',
        None => '?',
    };
    let execute =
        |bit: u16, special: u16, letters: [char; 2]| match (mode & bit != 0, mode & special != 0) {
            (false, false) => '-',
            (true, false) => 'x',
            (true, true) => letters[0],
            (false, true) => letters[1],
        };
    let letter = |bit: u16, letter: char| if mode & bit != 0 { letter } else { '-' };
    String::from_iter([
        type_letter,
        letter(0o400, 'r'),
        letter(0o200, 'w'),
        execute(0o100, 0o4000, ['s', 'S']),
        letter(0o040, 'r'),
        letter(0o020, 'w'),
        execute(0o010, 0o2000, ['s', 'S']),
        letter(0o004, 'r'),
        letter(0o002, 'w'),
        execute(0o001, 0o1000, ['t', 'T']),
    ])
}

/// The letters of lsattr(1) of e2fsprogs 1.47, in its order.
const FLAG_LETTERS: &[(u32, char)] = &[
    (InodeFlags::SECRM.bits(), 's'),
    (InodeFlags::UNRM.bits(), 'u'),
    (InodeFlags::SYNC.bits(), 'S'),
    (InodeFlags::DIRSYNC.bits(), 'D'),
    (InodeFlags::IMMUTABLE.bits(), 'i'),
    (InodeFlags::APPEND.bits(), 'a'),
    (InodeFlags::NODUMP.bits(), 'd'),
    (InodeFlags::NOATIME.bits(), 'A'),
    (InodeFlags::COMPR.bits(), 'c'),
    (InodeFlags::ENCRYPT.bits(), 'E'),
    (InodeFlags::JOURNAL_DATA.bits(), 'j'),
    (InodeFlags::INDEX.bits(), 'I'),
    (InodeFlags::NOTAIL.bits(), 't'),
    (InodeFlags::TOPDIR.bits(), 'T'),
    (InodeFlags::EXTENTS.bits(), 'e'),
    (0x0080_0000, 'C'), // no copy on write; ext4 has none, the letter keeps its place
    (InodeFlags::DAX.bits(), 'x'),
    (InodeFlags::CASEFOLD.bits(), 'F'),
    (InodeFlags::INLINE_DATA.bits(), 'N'),
    (InodeFlags::PROJINHERIT.bits(), 'P'),
    (InodeFlags::VERITY.bits(), 'V'),
    (0x0000_0400, 'm'), // never compress
];

fn flag_letters(flags: InodeFlags) -> String {
    FLAG_LETTERS
        .iter()
        .map(|(bit, letter)| {
            if flags.bits() & bit != 0 {
                *letter
            } else {
                '-'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_ls_does() {
        assert_eq!(mode_letters(0o100_644), "-rw-r--r--");
        assert_eq!(mode_letters(0o041_777), "drwxrwxrwt");
        assert_eq!(mode_letters(0o104_755), "-rwsr-xr-x");
        assert_eq!(mode_letters(0o107_000), "---S--S--T");
        assert_eq!(mode_letters(0o120_777), "lrwxrwxrwx");
        assert_eq!(mode_letters(0o020_600), "crw-------");
        assert_eq!(mode_letters(0), "?---------");
    }

    #[test]
    fn flags_are_written_as_lsattr_does() {
        assert_eq!(flag_letters(InodeFlags::EXTENTS), "--------------e-------");
        let flags = InodeFlags::IMMUTABLE | InodeFlags::INDEX | InodeFlags::INLINE_DATA;
        assert_eq!(flag_letters(flags), "----i------I------N---");
    }
}
