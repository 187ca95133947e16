//! Calling the program that makes file systems.

use crate::program::{self, Ended};
use anyhow::{Context, Result, ensure};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A run that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// The time "now" in runs that must not depend on the clock: seconds.
pub const EPOCH: i64 = 1_700_000_000;
/// The UUID of comparable runs.
pub const UUID: &str = "11111111-2222-4333-8444-555555555555";
/// The hash seed of comparable runs.
pub const HASH_SEED: &str = "66666666-7777-4888-9999-aaaaaaaaaaaa";

/// The settings mke2fs runs with.
const MKE2FS_CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/mkfs/mke2fs.conf");

/// Who makes the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// The program under test.
    Extmap,
    /// e2fsprogs' program: the one to agree with, and to try the tests with.
    Mke2fs,
}

impl Maker {
    /// `extmap`, unless `EXTMAP_MKFS_PEER=1` puts mke2fs in its place, which
    /// tries the tests and not the program.
    pub fn under_test() -> Self {
        match std::env::var("EXTMAP_MKFS_PEER").as_deref() {
            Ok("1") => Self::Mke2fs,
            _ => Self::Extmap,
        }
    }
}

/// One call. Options of `-E` may be given in several places; they are brought
/// together, because mke2fs takes the last `-E` only.
#[derive(Debug)]
pub struct Mkfs {
    maker: Maker,
    args: Vec<OsString>,
    extended: Vec<OsString>,
    wrapper: Vec<OsString>,
    set: Vec<(String, OsString)>,
    stdin: Stdio,
    dir: Option<std::path::PathBuf>,
}

impl Mkfs {
    /// A call of `maker` without arguments.
    pub fn by(maker: Maker) -> Self {
        Self {
            maker,
            args: Vec::new(),
            extended: Vec::new(),
            wrapper: Vec::new(),
            set: Vec::new(),
            stdin: Stdio::null(),
            dir: None,
        }
    }

    /// A call of the program under test.
    pub fn under_test() -> Self {
        Self::by(Maker::under_test())
    }

    /// Who is called.
    pub fn maker(&self) -> Maker {
        self.maker
    }

    /// Adds an argument; what follows `-E` is to be given to [`Self::args`].
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            match arg.as_ref() {
                option if option == "-E" => {
                    let value = args.next();
                    self.extended
                        .extend(value.map(|value| value.as_ref().to_owned()));
                }
                other => self.args.push(other.to_owned()),
            }
        }
        self
    }

    /// Makes the run independent of clock and chance: [`EPOCH`], [`UUID`],
    /// [`HASH_SEED`].
    pub fn fixed(self) -> Self {
        let seed = format!("hash_seed={HASH_SEED}");
        self.at_epoch().args(["-U", UUID, "-E", seed.as_str()])
    }

    /// Sets the time the file system is made at to [`EPOCH`].
    pub fn at_epoch(self) -> Self {
        let time = EPOCH.to_string();
        // The second is mke2fs 1.47.0's own name for it.
        self.env("SOURCE_DATE_EPOCH", &time)
            .env("E2FSPROGS_FAKE_TIME", &time)
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.set.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Fills from a directory or an archive.
    pub fn filled_from(self, source: &Path) -> Self {
        self.arg("-d").arg(source)
    }

    /// Reads standard input from a file.
    pub fn stdin_file(mut self, path: &Path) -> Result<Self> {
        self.stdin = File::open(path)
            .with_context(|| path.display().to_string())?
            .into();
        Ok(self)
    }

    /// Reads standard input from what another process writes.
    pub fn stdin_of(mut self, child: &mut std::process::Child) -> Result<Self> {
        self.stdin = child.stdout.take().context("no pipe")?.into();
        Ok(self)
    }

    /// Runs in this directory.
    pub fn in_dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_path_buf());
        self
    }

    /// Runs by another program, whose last words are the call:
    /// `setpriv --reuid=1000`, `strace -f`.
    pub fn through<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.wrapper
            .extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// All words of the call.
    pub fn words(&self) -> Result<Vec<OsString>> {
        let mut words = self.wrapper.clone();
        match self.maker {
            Maker::Extmap => words.extend([program::extmap_path()?.into(), "mkfs".into()]),
            Maker::Mke2fs => {
                words.push("mke2fs".into());
                if !self.args.iter().any(|arg| arg == "-t") {
                    words.extend(["-t", "ext4"].map(OsString::from));
                }
            }
        }
        if !self.extended.is_empty() {
            words.extend(["-E".into(), self.extended.join(OsStr::new(","))]);
        }
        words.extend(self.args.iter().cloned());
        Ok(words)
    }

    /// The call as a command that has not been started.
    pub fn command(self) -> Result<Command> {
        let words = self.words()?;
        let (first, rest) = words.split_first().context("no words")?;
        let mut command = Command::new(first);
        command.args(rest).stdin(self.stdin);
        // The time is what a test says, not what the caller's environment says.
        command
            .env_remove("SOURCE_DATE_EPOCH")
            .env_remove("E2FSPROGS_FAKE_TIME");
        command.env("MKE2FS_CONFIG", MKE2FS_CONFIG);
        command.env("PATH", crate::tool::path());
        command.envs(self.set);
        if let Some(dir) = self.dir {
            command.current_dir(dir);
        }
        Ok(command)
    }

    /// Runs it, whatever comes of it.
    pub fn run(self) -> Result<Ended> {
        program::finish(self.command()?, LIMIT)
    }

    /// Runs it; an error unless it succeeds.
    pub fn make(self) -> Result<Ended> {
        let words = self.words()?.join(OsStr::new(" "));
        let ended = self.run()?;
        ensure!(ended.success(), "{}: {ended}", words.display());
        Ok(ended)
    }
}
