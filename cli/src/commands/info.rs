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
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use fs_core::{GroupNumber, Volume};
use serde_json::{Value, json};

use self::fields::Fields;
use self::groups::Group;
use crate::escape::escape_message;
use crate::failure::CommandResult;
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
    let mut report = Report {
        volume: &volume,
        groups: if args.header_only {
            0
        } else {
            volume.group_count()
        },
        problems: Problems::default(),
    };
    let out = Output::open()?;
    if args.json {
        report.print_json(out)?;
    } else {
        report.print_text(out)?;
    }
    match report.problems.sentence() {
        Some(problem) => Err(anyhow!("{}: {problem}", args.image.display()).into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// What could not be read. Everything else is printed all the same: who looks
/// into a damaged image needs to see the rest.
#[derive(Debug, Default)]
struct Problems {
    first: Option<String>,
    others: u64,
}

impl Problems {
    fn note(&mut self, error: &fs_core::Error) {
        if self.first.is_some() {
            self.others += 1;
        } else {
            self.first = Some(error.to_string());
        }
    }

    fn sentence(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        Some(match self.others {
            0 => first.clone(),
            others => format!("{first} (and {others} more)"),
        })
    }
}

struct Report<'a> {
    volume: &'a Volume,
    /// How many groups to show.
    groups: u32,
    problems: Problems,
}

impl Report<'_> {
    fn print_text(&mut self, mut out: Output) -> anyhow::Result<()> {
        let superblock = self.volume.superblock();
        out.write_all(superblock::fields(superblock).text().as_bytes())?;
        match self.journal() {
            Ok(journal) => out.write_all(journal.text().as_bytes())?,
            Err(error) => writeln!(out, "{:<26}({})", "Journal:", plain(&error))?,
        }
        out.write_all(b"\n")?;
        if self.groups > 0 {
            out.write_all(b"\n")?;
        }
        for number in 0..self.groups {
            match self.group(number) {
                Ok(group) => out.write_all(group.text(superblock).as_bytes())?,
                Err(error) => writeln!(out, "Group {number}: ({})", plain(&error))?,
            }
        }
        Ok(out.finish()?)
    }

    /// Groups are written one by one: a large file system has a million.
    fn print_json(&mut self, mut out: Output) -> anyhow::Result<()> {
        let superblock = self.volume.superblock();
        let mut object = superblock::fields(superblock).into_json();
        match self.journal() {
            Ok(journal) if journal.is_empty() => {}
            Ok(journal) => drop(object.insert("journal".into(), journal.into_json().into())),
            Err(error) => drop(object.insert("journal".into(), damaged(&error))),
        }
        let object = serde_json::to_string_pretty(&object)?;
        let members = object.trim_end_matches('}').trim_end();
        out.write_all(members.as_bytes())?;
        let mut before = ",\n  \"groups\": [\n    ";
        for number in 0..self.groups {
            let group = match self.group(number) {
                Ok(group) => group.json(superblock),
                Err(error) => {
                    let mut group = damaged(&error);
                    group["number"] = number.into();
                    group
                }
            };
            write!(out, "{before}{group}")?;
            before = ",\n    ";
        }
        out.write_all(if self.groups > 0 { b"\n  ]" } else { b"" })?;
        out.write_all(b"\n}\n")?;
        Ok(out.finish()?)
    }

    fn journal(&mut self) -> fs_core::Result<Fields> {
        match self.volume.journal() {
            Ok(Some(journal)) => Ok(journal::fields(self.volume.superblock(), &journal)),
            Ok(None) => Ok(Fields::default()),
            Err(error) => {
                self.problems.note(&error);
                Err(error)
            }
        }
    }

    fn group(&mut self, number: u32) -> fs_core::Result<Group> {
        match Group::read(self.volume, GroupNumber(number)) {
            Ok((group, problems)) => {
                problems
                    .iter()
                    .for_each(|problem| self.problems.note(problem));
                Ok(group)
            }
            Err(error) => {
                self.problems.note(&error);
                Err(error)
            }
        }
    }
}

/// Stands for what could not be read.
fn damaged(error: &fs_core::Error) -> Value {
    json!({ "error": error.to_string() })
}

/// An error may quote names of the image.
fn plain(error: &fs_core::Error) -> String {
    escape_message(&error.to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_problems_are_one_sentence() {
        let mut problems = Problems::default();
        assert_eq!(problems.sentence(), None);
        problems.note(&fs_core::ErrorKind::NotFound.into());
        assert_eq!(
            problems.sentence().as_deref(),
            Some("no such file or directory")
        );
        problems.note(&fs_core::ErrorKind::Stale.into());
        problems.note(&fs_core::ErrorKind::Stale.into());
        let sentence = problems.sentence().expect("a sentence");
        assert!(sentence.ends_with("directory (and 2 more)"), "{sentence}");
    }
}
