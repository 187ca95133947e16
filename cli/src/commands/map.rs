//! `extmap map`: where a file's bytes lie.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use fs_core::{ExtentState, Inode, MappedExtent, Volume};
use serde_json::json;

use crate::failure::CommandResult;
use crate::image::ImageArgs;
use crate::output::Output;
use crate::walk::{has_content, is_inline, visit_extents};

/// Show where the bytes of a file lie in the file system
#[derive(Debug, clap::Args)]
pub(crate) struct MapArgs {
    #[command(flatten)]
    image_args: ImageArgs,
    /// One JSON array of extents instead of a table
    #[arg(long)]
    json: bool,
    /// Image file or block device
    image: PathBuf,
    /// A file in the image; symbolic links are followed inside it
    path: OsString,
}

/// One line of the answer. All numbers are bytes; `device` counts from the
/// first byte of the file system, not of the disk around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    file: u64,
    device: Option<u64>,
    len: u64,
    state: &'static str,
}

/// Runs `extmap map`.
pub(crate) fn run(args: &MapArgs) -> CommandResult {
    let volume = args.image_args.open(&args.image)?;
    let place = || {
        let path = Path::new(&args.path).display();
        format!("{}:{path}", args.image.display())
    };
    let inode = volume
        .resolve(args.path.as_bytes(), true)
        .with_context(place)?;
    let out = Output::open()?;
    if args.json {
        print_json(&volume, &inode, out).with_context(place)?;
    } else {
        print_table(&volume, &inode, out).with_context(place)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print_table(volume: &Volume, inode: &Inode, mut out: Output) -> anyhow::Result<()> {
    writeln!(
        out,
        "{:>16} {:>18} {:>16} STATE",
        "FILE OFFSET", "DEVICE OFFSET", "LENGTH"
    )?;
    visit_rows(volume, inode, &mut |row| {
        let device = row.device.map_or_else(|| "-".to_owned(), |d| d.to_string());
        let Row {
            file, len, state, ..
        } = row;
        Ok(writeln!(out, "{file:>16} {device:>18} {len:>16} {state}")?)
    })?;
    Ok(out.finish()?)
}

/// Written row by row: a file of a large image may have millions.
fn print_json(volume: &Volume, inode: &Inode, mut out: Output) -> anyhow::Result<()> {
    let mut before = "[\n  ";
    visit_rows(volume, inode, &mut |row| {
        let value = json!({
            "file_offset": row.file,
            "device_offset": row.device,
            "length": row.len,
            "state": row.state,
        });
        write!(out, "{before}{value}")?;
        before = ",\n  ";
        Ok(())
    })?;
    let end = if before.starts_with('[') { "[]" } else { "\n]" };
    writeln!(out, "{end}")?;
    Ok(out.finish()?)
}

fn visit_rows(
    volume: &Volume,
    inode: &Inode,
    visit: &mut dyn FnMut(Row) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if !has_content(inode) {
        bail!("has no content: neither a file nor a directory nor a symbolic link");
    }
    if is_inline(inode) {
        let len = inode.size_bytes();
        let row = Row {
            file: 0,
            device: None,
            len,
            state: "inline",
        };
        return if len == 0 { Ok(()) } else { visit(row) };
    }
    let block_bytes = u64::from(volume.superblock().block_bytes);
    visit_extents(volume, inode, &mut |extent| {
        visit(row_of(&extent, block_bytes, inode.size_bytes()))
    })
}

fn row_of(extent: &MappedExtent, block_bytes: u64, size_bytes: u64) -> Row {
    let bytes = |blocks: u64| blocks.saturating_mul(block_bytes);
    let file = bytes(extent.file_block.0);
    let len = bytes(extent.len_blocks);
    match extent.state {
        // A hole ends where the file does; blocks are always whole.
        ExtentState::Hole => Row {
            file,
            device: None,
            len: len.min(size_bytes.saturating_sub(file)),
            state: "hole",
        },
        ExtentState::Written(block) => Row {
            file,
            device: Some(bytes(block.0)),
            len,
            state: "written",
        },
        ExtentState::Unwritten(block) => Row {
            file,
            device: Some(bytes(block.0)),
            len,
            state: "unwritten",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_core::{FileBlock, FsBlock};

    fn extent(state: ExtentState) -> MappedExtent {
        MappedExtent {
            file_block: FileBlock(2),
            len_blocks: 3,
            state,
        }
    }

    #[test]
    fn extents_become_bytes() {
        let row = row_of(&extent(ExtentState::Written(FsBlock(10))), 4096, 10_000);
        assert_eq!(
            (row.file, row.device, row.len, row.state),
            (8192, Some(40960), 12288, "written")
        );
        let row = row_of(&extent(ExtentState::Unwritten(FsBlock(1))), 1024, 0);
        assert_eq!(
            (row.file, row.device, row.len, row.state),
            (2048, Some(1024), 3072, "unwritten")
        );
    }

    #[test]
    fn a_hole_ends_with_the_file() {
        let row = row_of(&extent(ExtentState::Hole), 4096, 10_000);
        assert_eq!((row.file, row.device, row.len), (8192, None, 1808));
    }
}
