//! `extmap info`: what a file system says of itself.
//!
//! Text follows dumpe2fs line by line, so that scripts and habits carry over
//! and the two can be compared with diff. Text and JSON are rendered from the
//! same values. Like dumpe2fs, it shows the device as it lies: a dirty journal
//! is reported, not replayed.

mod fields;
mod groups;
mod journal;
mod layout;
mod superblock;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fs_core::{GroupNumber, Volume};
use serde_json::{Value, json};

use self::fields::Fields;
use self::groups::Group;
use crate::failure::{CommandResult, complain};
use crate::image::ImageArgs;
use crate::output::Output;

/// Show what a file system says of itself, as dumpe2fs does
///
/// The device is shown as it lies; a journal is never replayed for this.
#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    image_args: ImageArgs,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Only the superblock and the journal, without the groups
    #[arg(short = 'H', long)]
    header_only: bool,
    /// Image file or block device
    image: PathBuf,
}

/// Runs `extmap info`.
pub(crate) fn run(args: &InfoArgs) -> CommandResult {
    let volume = args.image_args.open_as_it_lies(&args.image)?;
    let superblock = superblock::fields(volume.superblock());
    let mut reader = GroupReader::new(&volume, &args.image, args.header_only);
    let journal = match volume.journal() {
        Ok(Some(journal)) => journal::fields(volume.superblock(), &journal),
        Ok(None) => Fields::default(),
        // A damaged journal is no reason to say nothing of the rest.
        Err(error) => {
            reader.complain(&error);
            Fields::default()
        }
    };
    let out = Output::open()?;
    if args.json {
        print_json(superblock, journal, &mut reader, out)?;
    } else {
        print_text(&superblock, &journal, &mut reader, out)?;
    }
    Ok(ExitCode::from(u8::from(reader.failed)))
}

fn print_text(
    superblock: &Fields,
    journal: &Fields,
    reader: &mut GroupReader<'_>,
    mut out: Output,
) -> anyhow::Result<()> {
    out.write_all(superblock.text().as_bytes())?;
    out.write_all(journal.text().as_bytes())?;
    out.write_all(b"\n")?;
    if reader.wanted > 0 {
        out.write_all(b"\n")?;
    }
    while let Some(group) = reader.next() {
        out.write_all(group.text(reader.volume.superblock()).as_bytes())?;
    }
    Ok(out.finish()?)
}

fn print_json(
    superblock: Fields,
    journal: Fields,
    reader: &mut GroupReader<'_>,
    mut out: Output,
) -> anyhow::Result<()> {
    let mut groups = Vec::new();
    while let Some(group) = reader.next() {
        groups.push(group.json(reader.volume.superblock()));
    }
    let mut report = superblock.into_json();
    if !journal.is_empty() {
        report.insert("journal".into(), Value::Object(journal.into_json()));
    }
    if reader.wanted > 0 {
        report.insert("groups".into(), json!(groups));
    }
    serde_json::to_writer_pretty(&mut out, &report).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(out.finish()?)
}

/// Reads the groups one after the other. A damaged one is reported and left
/// out; the rest may still be of use.
struct GroupReader<'a> {
    volume: &'a Volume,
    image: &'a Path,
    next: u32,
    wanted: u32,
    failed: bool,
}

impl<'a> GroupReader<'a> {
    fn new(volume: &'a Volume, image: &'a Path, header_only: bool) -> Self {
        let groups = volume.group_count();
        Self {
            volume,
            image,
            next: 0,
            wanted: if header_only { 0 } else { groups },
            failed: false,
        }
    }

    fn next(&mut self) -> Option<Group> {
        while self.next < self.wanted {
            let number = GroupNumber(self.next);
            self.next += 1;
            match Group::read(self.volume, number) {
                Ok((group, problems)) => {
                    for problem in problems {
                        self.complain(&problem);
                    }
                    return Some(group);
                }
                Err(error) => self.complain(&error),
            }
        }
        None
    }

    fn complain(&mut self, error: &fs_core::Error) {
        self.failed = true;
        complain(&format!("{}: {error}", self.image.display()));
    }
}
