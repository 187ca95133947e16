//! Running other programs: e2fsprogs, mount(8), fio. A failure carries the
//! command and what it said.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

/// Runs `program`; its standard output if it exits with success.
pub fn run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Result<String> {
    let output = output(program, args)?;
    if !output.status.success() {
        bail!("{}: {}", describe(program, args), failure(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `program` and returns everything, whatever its exit status.
pub fn output<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Result<Output> {
    Command::new(program)
        .args(args)
        .env("PATH", path())
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .with_context(|| describe(program, args))
}

/// Whether `program` can be found.
pub fn exists(program: &str) -> bool {
    path()
        .split(':')
        .any(|dir| std::path::Path::new(dir).join(program).is_file())
}

/// `PATH` with the administrator's directories, which a user's often lacks.
pub fn path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/sbin:/usr/bin:/bin")
}

/// One line: exit status, then both outputs.
pub fn failure(output: &Output) -> String {
    format!(
        "{}; stderr: {}; stdout: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim(),
        String::from_utf8_lossy(&output.stdout).trim()
    )
}

fn describe<S: AsRef<OsStr>>(program: &str, args: &[S]) -> String {
    let mut text = program.to_owned();
    for arg in args {
        text.push(' ');
        text.push_str(&arg.as_ref().to_string_lossy());
    }
    text
}
