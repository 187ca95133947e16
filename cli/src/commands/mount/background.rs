//! The server's way into the background, without fork(2).
//!
//! The parent starts this program again with the same arguments and one more,
//! and a pipe as standard output. The server writes one answer to it: a zero
//! byte once the directory is mounted, and perhaps a remark, or an exit code and a sentence. A
//! server that dies says nothing, and the pipe ends. Descriptors the caller
//! left open are inherited, so an image may be /proc/self/fd/N.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, anyhow};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::failure::{Failure, mount_code};

/// The argument that makes a call the server's.
const SERVER_ARGUMENT: &str = "--answer-on-stdout";
/// Bound of the sentence a server answers with.
const SENTENCE_BYTES_MAX: u64 = 64 * 1024;

/// What this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Started by a person or by mount(8).
    Program,
    /// Started by such a program, which waits for our answer.
    Server,
}

impl Role {
    /// Finds out, and removes the argument that tells.
    pub(crate) fn take_from(argv: &mut Vec<OsString>) -> Self {
        if argv.get(1).is_some_and(|word| word == SERVER_ARGUMENT) {
            argv.remove(1);
            return Self::Server;
        }
        Self::Program
    }

    /// Tells whoever waits why this process ends.
    pub(crate) fn report(self, failure: &Failure) -> ExitCode {
        if self == Self::Program {
            return failure.report();
        }
        let mut answer = vec![failure.code().max(1)];
        answer.extend(failure.sentence().bytes());
        // If nobody waits any more, nobody needs the answer.
        let _ = io::stdout().lock().write_all(&answer);
        let _ = io::stdout().lock().flush();
        ExitCode::from(failure.code())
    }
}

/// Starts the server and waits for its answer: perhaps a remark, one sentence.
pub(super) fn start_server(argv: &[OsString]) -> Result<Option<String>, Failure> {
    let (reader, child) = spawn(argv)
        .context("cannot start the server")
        .map_err(|error| Failure::with_code(mount_code::SYSTEM, error))?;
    let mut answer = Vec::new();
    let mut reader = File::from(reader);
    let mut code = [0];
    if reader.read_exact(&mut code).is_err() {
        return Err(died(child));
    }
    // Even a sentence cut short is better than none.
    let _ = reader.take(SENTENCE_BYTES_MAX).read_to_end(&mut answer);
    let sentence = String::from_utf8_lossy(&answer).into_owned();
    if code == [0] {
        return Ok((!sentence.is_empty()).then_some(sentence));
    }
    Err(Failure::with_code(code[0], anyhow!(sentence)))
}

fn spawn(argv: &[OsString]) -> io::Result<(rustix::fd::OwnedFd, Child)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut command = Command::new(std::env::current_exe()?);
    if let Some((name, arguments)) = argv.split_first() {
        // The name chooses the command when it is an alias.
        command.arg0(name).arg(SERVER_ARGUMENT).args(arguments);
    }
    let child = command.stdout(Stdio::from(writer)).spawn()?;
    // `command` and with it our copy of the writing end go here.
    Ok((reader, child))
}

fn died(mut child: Child) -> Failure {
    let how = match child.wait() {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    let sentence = anyhow!("the server ended without an answer: {how}");
    Failure::with_code(mount_code::SYSTEM, sentence)
}

/// What this process was given besides standard input, output and error.
#[derive(Debug)]
pub(super) struct Inherited(Vec<RawFd>);

impl Inherited {
    /// To be called before this process opens anything of its own.
    pub(super) fn list() -> io::Result<Self> {
        let names = std::fs::read_dir("/proc/self/fd")?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        let numbers = names.iter().filter_map(|name| name.to_str()?.parse().ok());
        let mut descriptors: Vec<RawFd> = numbers.filter(|number| *number > 2).collect();
        // The listing saw its own descriptor, which is closed by now.
        descriptors.retain(|number| {
            let path = format!("/proc/self/fd/{number}");
            std::fs::symlink_metadata(path).is_ok()
        });
        Ok(Self(descriptors))
    }

    /// Closes them: a caller may wait for the end of a pipe of which the
    /// server, unasked, got a copy.
    fn close(self) {
        for number in self.0 {
            // What was closed before needs nothing more.
            let _ = nix::unistd::close(number);
        }
    }
}

/// Leaves the terminal, the directory and everything inherited, then answers:
/// all is well, but for what is to be remarked.
pub(super) fn answer_and_detach(inherited: Inherited, remark: Option<&str>) -> anyhow::Result<()> {
    // A group leader can't start a session; the shell's job control made us
    // one only if we were started directly.
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/").context("cannot leave the current directory")?;
    inherited.close();
    let null = openat(
        CWD,
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(io::Error::from)
    .context("cannot open /dev/null")?;
    let mut stdout = io::stdout().lock();
    // A parent that is gone needs no answer; the mount stays.
    let _ = stdout.write_all(&[0]);
    let _ = stdout.write_all(remark.unwrap_or_default().as_bytes());
    let _ = stdout.flush();
    drop(stdout);
    let replaced = dup2_stdin(&null)
        .and_then(|()| dup2_stdout(&null))
        .and_then(|()| dup2_stderr(&null));
    replaced
        .map_err(io::Error::from)
        .context("cannot leave the terminal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_told_by_its_first_argument_only() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let mut argv = words(&["extmap", SERVER_ARGUMENT, "mount", "a", "b"]);
        assert_eq!(Role::take_from(&mut argv), Role::Server);
        assert_eq!(argv, words(&["extmap", "mount", "a", "b"]));
        let mut argv = words(&["extmap", "cat", "a", SERVER_ARGUMENT]);
        assert_eq!(Role::take_from(&mut argv), Role::Program);
        assert_eq!(argv.len(), 4);
        assert_eq!(Role::take_from(&mut Vec::new()), Role::Program);
    }
}
