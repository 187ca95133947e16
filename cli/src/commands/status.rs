//! `extmap status`: what the server of a mount says of itself.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use fuse_frontend::{IomapStatus, Status};
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::escape::escape_message;
use crate::failure::CommandResult;
use crate::output::Output;

/// Show what the server of a mount says of itself
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// The mounted directory, or anything in it that can be opened
    directory: PathBuf,
}

/// Runs `extmap status`.
pub(crate) fn run(args: &StatusArgs) -> CommandResult {
    let status = ask(&args.directory).with_context(|| args.directory.display().to_string())?;
    let mut out = Output::open()?;
    if args.json {
        serde_json::to_writer_pretty(&mut out, &status).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        print(&status, &mut out)?;
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn ask(directory: &Path) -> anyhow::Result<Status> {
    // Not O_PATH: the question has to reach the server. Not a file that would wait for
    // somebody, as a fifo does.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = openat(CWD, directory, flags, Mode::empty()).map_err(std::io::Error::from)?;
    Ok(fuse_frontend::status(opened.as_fd())?)
}

/// Days, hours, minutes and seconds, from the first that counts.
fn duration(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let first = parts.iter().position(|(value, _)| *value > 0);
    let words: Vec<String> = parts
        .iter()
        .skip(first.unwrap_or(parts.len() - 1))
        .map(|(value, unit)| format!("{value} {unit}"))
        .collect();
    words.join(" ")
}

fn print_iomap(iomap: &IomapStatus, out: &mut Output) -> std::io::Result<()> {
    writeln!(
        out,
        "File data:     by the kernel: {} mappings pushed, {} of them ahead, {} ranges taken back, \
         {} answers not pushed",
        iomap.upserts, iomap.upserts_ahead, iomap.invalidations, iomap.plain_answers
    )?;
    for (error, count) in &iomap.refused {
        writeln!(out, "  refused {count} times: {}", escape_message(error))?;
    }
    Ok(())
}

fn print(status: &Status, out: &mut Output) -> std::io::Result<()> {
    writeln!(out, "Image:         {}", escape_message(&status.image))?;
    writeln!(
        out,
        "Mounted:       for {}, type {}",
        if status.is_writable {
            "writing"
        } else {
            "reading"
        },
        status.mount_type
    )?;
    if let Some(why) = &status.why_read_only {
        writeln!(out, "Read-only:     {}", escape_message(why))?;
    }
    writeln!(out, "Write cache:   {}", status.write_cache)?;
    match (&status.iomap, &status.why_no_iomap) {
        (Some(iomap), _) => print_iomap(iomap, out)?,
        (None, Some(why)) => {
            writeln!(out, "File data:     by the server: {}", escape_message(why))?;
        }
        (None, None) => {}
    }
    writeln!(
        out,
        "Server:        extmap {}, process {}, {} threads, up {}",
        status.version,
        status.pid,
        status.threads,
        duration(status.uptime_seconds)
    )?;
    if status.is_writable {
        writeln!(out, "Transactions:  {}", status.transactions)?;
        match &status.journal {
            Some(journal) => writeln!(
                out,
                "Journal:       {} of {} blocks in use, {} written",
                journal.used_blocks, journal.len_blocks, journal.written_blocks
            )?,
            None => writeln!(out, "Journal:       none")?,
        }
        writeln!(out, "Known inodes:  {}", status.known_inodes)?;
    }
    writeln!(
        out,
        "Metadata:      {} blocks found in memory, {} read",
        status.cache_found, status.cache_read
    )?;
    let requests: u64 = status.requests.values().sum();
    writeln!(
        out,
        "Requests:      {requests}, {} answered with an error",
        status.errors
    )?;
    for (name, count) in &status.requests {
        writeln!(out, "  {name:<20} {count}")?;
    }
    if !status.problems.is_empty() {
        writeln!(out, "Problems, newest last:")?;
    }
    for problem in &status.problems {
        writeln!(out, "  {}", escape_message(problem))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_begin_where_they_count() {
        assert_eq!(duration(0), "0 s");
        assert_eq!(duration(61), "1 min 1 s");
        assert_eq!(duration(90_000), "1 d 1 h 0 min 0 s");
    }
}
