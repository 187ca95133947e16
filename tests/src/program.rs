//! Running the program under test, with a limit on its time.

use crate::guards::{ChildGuard, wait_until};
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// No command on a test's image may take longer: more is a hang.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Address space given to a command that reads a hostile image, bytes. The
/// images are smaller than 64 MiB, so this bounds what a length field can make
/// the program ask for.
pub const ADDRESS_SPACE: u64 = 2 << 30;

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; none if it was killed after [`TIMEOUT`].
    pub status: Option<ExitStatus>,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error, as text.
    pub stderr: String,
}

impl Ended {
    /// Exit status 0.
    pub fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The one sentence of a refusal. An error if the program succeeded, hung,
    /// panicked, was killed, or said more or less than one line.
    pub fn refusal(&self) -> Result<&str> {
        let Some(status) = self.status else {
            bail!("hangs: {self}");
        };
        let Some(code) = status.code() else {
            bail!("killed by a signal: {self}");
        };
        if self.stderr.contains("panicked") || code == 101 {
            bail!("panics: {self}");
        }
        if code == 0 {
            bail!("succeeds, but should refuse: {self}");
        }
        let mut lines = self.stderr.lines().filter(|line| !line.trim().is_empty());
        match (lines.next(), lines.next()) {
            (Some(line), None) => Ok(line),
            (None, _) => bail!("says nothing: {self}"),
            (Some(_), Some(_)) => bail!("says more than one sentence: {self}"),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{status}")?,
            None => write!(f, "killed because it took too long")?,
        }
        let stdout: String = self.text().chars().take(2000).collect();
        write!(f, "; stderr: {:?}; stdout: {stdout:?}", self.stderr)
    }
}

/// The program under test: `EXTMAP_BIN`, or the `extmap` built beside the
/// running test (`target/PROFILE/extmap`).
pub fn extmap_path() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("EXTMAP_BIN") {
        return Ok(path.into());
    }
    let here = std::env::current_exe()?;
    here.ancestors()
        .skip(1)
        .map(|dir| dir.join("extmap"))
        .find(|path| path.is_file())
        .with_context(|| {
            format!(
                "no extmap beside {}; build it or set EXTMAP_BIN",
                here.display()
            )
        })
}

/// Runs `extmap` with these arguments.
pub fn extmap<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<Ended> {
    run(extmap_path()?.as_os_str(), args, TIMEOUT)
}

/// Runs `extmap` with its address space limited to [`ADDRESS_SPACE`].
pub fn extmap_limited<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<Ended> {
    let mut all = vec![
        format!("--as={ADDRESS_SPACE}").into(),
        extmap_path()?.into_os_string(),
    ];
    all.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
    run("prlimit".as_ref(), all, TIMEOUT)
}

/// Runs any program with an empty standard input, killed after `limit`.
pub fn run<S: AsRef<OsStr>>(
    program: &OsStr,
    args: impl IntoIterator<Item = S>,
    limit: Duration,
) -> Result<Ended> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    finish(command, limit)
}

/// Runs a command to its end, killed after `limit`. Its standard input is the
/// caller's to choose.
pub fn finish(mut command: Command, limit: Duration) -> Result<Ended> {
    let out = tempfile::tempfile()?;
    let err = tempfile::tempfile()?;
    // Files, not pipes: a server that goes to the background may keep its
    // standard error, and waiting for the end of a pipe would wait for it.
    let child = command
        .env("PATH", crate::tool::path())
        .env("LC_ALL", "C")
        .stdout(out.try_clone()?)
        .stderr(err.try_clone()?)
        .spawn()
        .with_context(|| Path::new(command.get_program()).display().to_string())?;
    let mut child = ChildGuard(child);
    let mut status = None;
    wait_until(limit, || {
        status = child.0.try_wait().ok().flatten();
        status.is_some()
    });
    drop(child);
    Ok(Ended {
        status,
        stdout: read_all(out)?,
        stderr: String::from_utf8_lossy(&read_all(err)?).into_owned(),
    })
}

fn read_all(mut file: std::fs::File) -> Result<Vec<u8>> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
