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
use mkfs::options::Size;
use mkfs::{Foundation, Plan, Report, Request, Tree};

pub(crate) use self::options::MkfsArgs;
use self::options::Moment;
use self::progress::Bar;
use self::target::{Access, Target};
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

fn make(args: &MkfsArgs) -> anyhow::Result<Made> {
    let device = args.device()?;
    let moment = Moment::now()?;
    let options = args.to_options(moment)?;
    let size = args.size_bytes(&options)?;
    let offset_bytes = options.extended.offset.unwrap_or(0);
    let access = Access {
        force: args.force,
        direct: args.direct,
        dry_run: args.dry_run,
        offset_bytes,
    };
    let target = Target::find(device, access)?;
    let bar = Bar::new(args.quiet);
    let tree = args.tree(device, &target, moment, &bar)?;
    let name = || device.display().to_string();
    match target {
        Target::New(file) => {
            let wanted = target::description(size, size.is_some(), None);
            let mut request = match size {
                Some(_) => mkfs::fitted(&options, &wanted, &tree),
                None if args.source.is_some() => {
                    mkfs::smallest(&options, &wanted, &tree, args.headroom)
                }
                None => bail!(
                    "{} does not exist: say how large it is to be, as in 'extmap mkfs {} 1G'",
                    name(),
                    name()
                ),
            }
            .with_context(name)?;
            request.writing.prezeroed = true;
            if args.dry_run {
                return Ok(Made {
                    request,
                    report: None,
                });
            }
            let bytes = size.unwrap_or(0).max(bytes_of(&request)?);
            let created = file.create(bytes)?;
            let report = write(&request, &tree, created.device()?, &bar).with_context(name)?;
            created.keep();
            Ok(Made {
                request,
                report: Some(report),
            })
        }
        Target::Existing(mut existing) => {
            let there = existing.device.size_bytes();
            if let Some(size) = size.filter(|&size| size > there) {
                if existing.is_block_device || args.force == 0 {
                    bail!(
                        "{} has {there} bytes, {size} were asked for: give a smaller size{}",
                        name(),
                        if existing.is_block_device {
                            ""
                        } else {
                            ", or -F to make the file larger"
                        }
                    );
                }
                if !args.dry_run {
                    existing = existing.grow(size)?;
                }
            }
            let described =
                target::description(size.or(Some(there)), size.is_some(), Some(&existing));
            let request = mkfs::fitted(&options, &described, &tree).with_context(name)?;
            if args.dry_run {
                return Ok(Made {
                    request,
                    report: None,
                });
            }
            let report = write(&request, &tree, &*existing.device, &bar).with_context(name)?;
            Ok(Made {
                request,
                report: Some(report),
            })
        }
    }
}

fn bytes_of(request: &Request) -> anyhow::Result<u64> {
    let geometry = &request.geometry;
    let bytes = geometry.blocks.checked_mul(geometry.block_bytes.into());
    bytes.ok_or_else(|| anyhow!("a file system of more than 2^64 bytes"))
}

fn write(
    request: &Request,
    tree: &Tree,
    device: &dyn images::BlockDevice,
    bar: &Bar,
) -> mkfs::Result<Report> {
    let foundation = Foundation::new(request)?;
    Plan::new(&foundation, tree)?.write(device, bar)
}
