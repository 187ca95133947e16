//! `extmap mkfs`: makes a file system, empty or filled, with mke2fs's options.
//!
//! ```text
//! mkfs ── options    the command line, as mkfs::Options
//!      ── target     what is written to; nothing is destroyed by accident
//!      ── progress   a bar on a terminal
//!      └─ report     what was made, for people and as JSON
//! ```

mod options;
mod progress;
mod report;
mod target;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use images::BlockDevice;
use mkfs::options::{Options, Size};
use mkfs::{Foundation, Plan, Report, Request, Tree};

pub(crate) use self::options::MkfsArgs;
use self::options::Moment;
use self::progress::Bar;
use self::target::{Access, Existing, NewFile, Target};
use crate::failure::CommandResult;
use crate::output::Output;

/// Runs `extmap mkfs`.
pub(crate) fn run(args: &MkfsArgs) -> CommandResult {
    if args.version {
        use std::io::Write;
        let mut output = Output::open()?;
        writeln!(output, "extmap {}", env!("CARGO_PKG_VERSION"))?;
        output.finish()?;
        return Ok(ExitCode::SUCCESS);
    }
    let made = make(args)?;
    if !args.quiet || args.json {
        made.print(args)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes an image of `size` at `image` with default options, unless there is
/// something already; what `mount --create` does.
pub(crate) fn create_image(image: &Path, size: Size) -> anyhow::Result<()> {
    if std::fs::metadata(image).is_ok_and(|metadata| !metadata.is_file() || metadata.len() != 0) {
        return Ok(());
    }
    make(&MkfsArgs::plain(image, size)).map(|_| ())
}

/// What was made, or would be.
struct Made {
    request: Request,
    /// `None` if nothing was written (`-n`).
    report: Option<Report>,
}

impl Made {
    fn print(&self, args: &MkfsArgs) -> anyhow::Result<()> {
        let mut output = Output::open()?;
        if args.json {
            report::json(&mut output, args, &self.request, self.report.as_ref())?;
        } else {
            report::text(&mut output, args, &self.request, self.report.as_ref())?;
        }
        Ok(output.finish()?)
    }
}

/// What is to be made, and of what.
struct Job<'a> {
    args: &'a MkfsArgs,
    options: Options,
    /// The size asked for, in bytes.
    size: Option<u64>,
    tree: Tree,
    bar: Bar,
}

fn make(args: &MkfsArgs) -> anyhow::Result<Made> {
    let device = args.device()?;
    let moment = Moment::now()?;
    let options = args.to_options(moment)?;
    let size = args.size_bytes(&options)?;
    let access = Access {
        force: args.force,
        direct: args.direct,
        dry_run: args.dry_run,
        offset_bytes: options.extended.offset.unwrap_or(0),
    };
    let target = Target::find(device, access, size)?;
    let bar = Bar::new(args.quiet);
    let tree = args.tree(device, &target, moment, &bar)?;
    let job = Job {
        args,
        options,
        size,
        tree,
        bar,
    };
    match target {
        Target::New(file) => job.make_new(&file),
        Target::Existing(existing) => job.make_existing(existing),
    }
}

impl Job<'_> {
    /// Makes a file system in a file that is as large as needed.
    fn make_new(&self, file: &NewFile) -> anyhow::Result<Made> {
        let wanted = target::description(self.size, self.size.is_some(), None);
        let request = match self.size {
            Some(_) => mkfs::fitted(&self.options, &wanted, &self.tree),
            None if self.args.source.is_some() => {
                mkfs::smallest(&self.options, &wanted, &self.tree, self.args.headroom)
            }
            None => return Err(file.without_size()),
        };
        let mut request = request.with_context(|| self.args.device_name())?;
        if self.args.dry_run {
            return Ok(Made {
                request,
                report: None,
            });
        }
        let bytes = self.size.unwrap_or(0).max(bytes_of(&request)?);
        let created = file.create(bytes)?;
        let device = created.device()?;
        request.writing.prezeroed |= device.is_hole(0, device.size_bytes());
        let report = self.write(&request, device)?;
        created.keep();
        Ok(Made {
            request,
            report: Some(report),
        })
    }

    /// Makes a file system on what is there already.
    fn make_existing(&self, existing: Existing) -> anyhow::Result<Made> {
        let there = existing.device.size_bytes();
        let more = self.size.filter(|&size| size > there);
        if let Some(size) = more
            && (existing.is_block_device || self.args.force == 0)
        {
            bail!(
                "{} has {there} bytes, {size} were asked for: give a smaller size{}",
                self.args.device_name(),
                if existing.is_block_device {
                    ""
                } else {
                    ", or -F to make the file larger"
                }
            );
        }
        let size = self.size.or(Some(there));
        let described = target::description(size, self.size.is_some(), Some(&existing));
        let request = mkfs::fitted(&self.options, &described, &self.tree)
            .with_context(|| self.args.device_name())?;
        if self.args.dry_run {
            return Ok(Made {
                request,
                report: None,
            });
        }
        let existing = match more {
            Some(size) => existing.grow(size)?,
            None => existing,
        };
        let report = self.write(&request, &*existing.device)?;
        Ok(Made {
            request,
            report: Some(report),
        })
    }

    fn write(&self, request: &Request, device: &dyn BlockDevice) -> anyhow::Result<Report> {
        let write = || {
            let foundation = Foundation::new(request)?;
            Plan::new(&foundation, &self.tree)?.write(device, &self.bar)
        };
        write().with_context(|| self.args.device_name())
    }
}

fn bytes_of(request: &Request) -> anyhow::Result<u64> {
    let geometry = &request.geometry;
    let bytes = geometry.blocks.checked_mul(geometry.block_bytes.into());
    bytes.ok_or_else(|| anyhow!("a file system of more than 2^64 bytes"))
}
