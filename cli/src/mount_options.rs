//! The list after `-o`, typed.
//!
//! Options come from three places: people, fstab(5), and mount(8) itself, which
//! adds `rw` to every call of a helper whether anybody asked for it or not. A
//! later option overrides an earlier one of the same meaning, as everywhere.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use crate::size::{parse_bytes, parse_decimal};

/// Bounds of `cache=`, in bytes: less serves nobody, more is a typing error.
const CACHE_BYTES: RangeInclusive<u64> = 1 << 20..=64 << 30;
/// Bounds of `threads=`.
const THREADS: RangeInclusive<usize> = 1..=256;

/// Bounds of `commit=`.
const COMMIT_SECONDS: RangeInclusive<u64> = 0..=86_400;

/// What fstab(5) and mount(8) say to each other; means nothing here.
const NOISE: &[&str] = &[
    "defaults", "auto", "noauto", "user", "users", "nouser", "nofail", "_netdev",
];
/// Flags of mount(8) about when times of access are written: never, as the kernel does
/// not tell of reads from its cache.
const IDLE_FLAGS: &[&str] = &[
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
];
/// Noise with a value or a name of someone's own.
const NOISE_PREFIXES: &[&str] = &["x-", "X-", "comment=", "user="];

/// Who passes the options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A person, with `extmap mount`: every word counts.
    Person,
    /// mount(8): `rw` only means that nobody said `ro`.
    MountHelper {
        /// mount(8)'s `-s`: unknown options are ignored.
        sloppy: bool,
    },
}

/// Who may enter the mounted directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Access {
    /// Only the user who mounted it.
    #[default]
    Owner,
    /// That user and root.
    Root,
    /// Everybody.
    Other,
}

/// Whether the image is opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Intent {
    /// For writing if that is possible, else for reading.
    #[default]
    Either,
    /// For reading (`ro`).
    Read,
    /// For writing or not at all (`rw`, said by a person).
    Write,
}

/// What is done when damage is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnErrors {
    Continue,
    RemountReadOnly,
    Panic,
}

/// Whether the kernel is to move the content of files (FUSE iomap).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum IomapWish {
    /// If it can.
    #[default]
    Auto,
    /// Or the mount fails.
    Always,
    Never,
}

/// How changes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Writing {
    /// `None` for what the superblock says.
    pub(crate) errors: Option<OnErrors>,
    /// Tell the device of blocks that become free.
    pub(crate) discard: bool,
    /// Nothing written stays in the page cache alone.
    pub(crate) writethrough: bool,
    /// Every change is durable at once.
    pub(crate) sync: bool,
    /// Every open(2) asks the server.
    pub(crate) ask_opens: bool,
    /// Do without a loop device.
    pub(crate) no_loop: bool,
    /// Seconds between commits.
    pub(crate) commit_seconds: Option<u64>,
}

/// Flags of the mount point; `None` where nothing was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct VfsFlags {
    pub(crate) suid: Option<bool>,
    pub(crate) dev: Option<bool>,
    pub(crate) exec: Option<bool>,
    pub(crate) atime: Option<bool>,
}

/// Everything that can be said after `-o`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MountOptions {
    /// Where the file system starts in the image, in bytes.
    pub(crate) offset_bytes: Option<u64>,
    /// The partition that holds it, from 1.
    pub(crate) partition: Option<u32>,
    /// Position of the superblock to use, in units of 1 KiB.
    pub(crate) superblock_kib: Option<u64>,
    /// Leave a dirty journal alone.
    pub(crate) norecovery: bool,
    pub(crate) access: Access,
    /// The kernel checks permissions.
    pub(crate) default_permissions: bool,
    /// Show every file as this user's.
    pub(crate) uid: Option<u32>,
    /// Show every file as this group's.
    pub(crate) gid: Option<u32>,
    /// Permission bits to take away.
    pub(crate) umask: Option<u16>,
    /// Threads that answer the kernel.
    pub(crate) threads: Option<NonZeroUsize>,
    /// Bound of the metadata cache.
    pub(crate) cache_bytes: Option<usize>,
    /// The source that the mount table shows.
    pub(crate) fs_name: Option<String>,
    pub(crate) intent: Intent,
    pub(crate) iomap: IomapWish,
    pub(crate) writing: Writing,
    pub(crate) flags: VfsFlags,
}

impl MountOptions {
    /// Reads the lists of one or more `-o`. An error is one sentence.
    pub(crate) fn parse<S: AsRef<str>>(lists: &[S], caller: Caller) -> Result<Self, String> {
        let mut options = Self::default();
        for option in lists.iter().flat_map(|list| list.as_ref().split(',')) {
            match option {
                "" => {}
                "ro" => options.intent = Intent::Read,
                "rw" if caller == Caller::Person => options.intent = Intent::Write,
                "rw" => options.intent = Intent::Either,
                _ => match options.apply(option) {
                    Err(Refusal::Unknown) if caller == (Caller::MountHelper { sloppy: true }) => {}
                    result => result.map_err(|refusal| refusal.sentence(option))?,
                },
            }
        }
        if options.intent == Intent::Write && options.is_for_reading() {
            return Err(
                "mount options 'norecovery' and 'sb=' are for reading: leave out 'rw'".into(),
            );
        }
        if options.iomap == IomapWish::Always && options.writing.writethrough {
            return Err(
                "mount options 'iomap=always' and 'writethrough' exclude each other, use one"
                    .into(),
            );
        }
        if options.offset_bytes.is_some() && options.partition.is_some() {
            return Err(
                "mount options 'offset=' and 'partition=' exclude each other, use one".into(),
            );
        }
        Ok(options)
    }

    /// Whether something is asked for that only reading can give.
    pub(crate) fn is_for_reading(&self) -> bool {
        self.norecovery || self.superblock_kib.is_some()
    }

    fn apply(&mut self, option: &str) -> Result<(), Refusal> {
        let has_prefix = NOISE_PREFIXES.iter().any(|p| option.starts_with(p));
        if has_prefix || NOISE.contains(&option) || IDLE_FLAGS.contains(&option) {
            return Ok(());
        }
        match option.split_once('=') {
            Some((name, value)) => self.apply_value(name, value),
            None => self.apply_word(option),
        }
    }

    fn apply_word(&mut self, word: &str) -> Result<(), Refusal> {
        match word {
            "norecovery" | "noload" => self.norecovery = true,
            "default_permissions" => self.default_permissions = true,
            "allow_other" => self.set_access(Access::Other)?,
            "allow_root" => self.set_access(Access::Root)?,
            "discard" => self.writing.discard = true,
            "nodiscard" => self.writing.discard = false,
            "writethrough" => self.writing.writethrough = true,
            "askopen" => self.writing.ask_opens = true,
            "sync" | "dirsync" => self.writing.sync = true,
            "async" => self.writing.sync = false,
            "offset" | "partition" | "sb" | "uid" | "gid" | "umask" | "threads" | "cache"
            | "fsname" | "errors" | "commit" | "loop" | "iomap" => return Err(Refusal::NoValue),
            _ => return self.flags.apply(word),
        }
        Ok(())
    }

    fn apply_value(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        match name {
            "offset" => self.offset_bytes = Some(parse_bytes(value).map_err(Refusal::Value)?),
            "partition" => {
                self.partition = Some(in_range(parse_decimal(value), 1..=u32::MAX)?);
            }
            "sb" => self.superblock_kib = Some(in_range(parse_decimal(value), 1..=u64::MAX >> 10)?),
            // The largest number means "no user" and "no group" to the system.
            "uid" => self.uid = Some(in_range(parse_decimal(value), 0..=u32::MAX - 1)?),
            "gid" => self.gid = Some(in_range(parse_decimal(value), 0..=u32::MAX - 1)?),
            "umask" => self.umask = Some(parse_umask(value)?),
            "threads" => {
                self.threads = NonZeroUsize::new(in_range(parse_decimal(value), THREADS)?);
            }
            "cache" => {
                let bytes = parse_bytes(value).map_err(Refusal::Value)?;
                let bytes = in_range(Some(bytes), CACHE_BYTES)?;
                self.cache_bytes = Some(usize::try_from(bytes).unwrap_or(usize::MAX));
            }
            "loop" => {
                self.writing.no_loop = match value {
                    "auto" => false,
                    "never" => true,
                    _ => return Err(Refusal::Value("the value must be auto or never".into())),
                };
            }
            "iomap" => {
                self.iomap = match value {
                    "auto" => IomapWish::Auto,
                    "always" => IomapWish::Always,
                    "never" => IomapWish::Never,
                    _ => {
                        let words = "the value must be 'auto', 'always' or 'never'";
                        return Err(Refusal::Value(words.into()));
                    }
                };
            }
            "errors" => self.writing.errors = Some(parse_on_errors(value)?),
            "commit" => {
                let seconds = in_range(parse_decimal(value), COMMIT_SECONDS)?;
                // As for ext4: 0 for the default.
                self.writing.commit_seconds = (seconds > 0).then_some(seconds);
            }
            "fsname" if value.is_empty() => return Err(Refusal::NoValue),
            "fsname" => self.fs_name = Some(value.to_owned()),
            _ => return Err(Refusal::Unknown),
        }
        Ok(())
    }

    fn set_access(&mut self, access: Access) -> Result<(), Refusal> {
        if self.access != Access::Owner && self.access != access {
            return Err(Refusal::Value(
                "'allow_other' and 'allow_root' exclude each other, use one".into(),
            ));
        }
        self.access = access;
        Ok(())
    }
}

impl VfsFlags {
    fn apply(&mut self, word: &str) -> Result<(), Refusal> {
        let (flag, on) = match word {
            "suid" => (&mut self.suid, true),
            "nosuid" => (&mut self.suid, false),
            "dev" => (&mut self.dev, true),
            "nodev" => (&mut self.dev, false),
            "exec" => (&mut self.exec, true),
            "noexec" => (&mut self.exec, false),
            "atime" => (&mut self.atime, true),
            "noatime" => (&mut self.atime, false),
            _ => return Err(Refusal::Unknown),
        };
        *flag = Some(on);
        Ok(())
    }
}

/// Why an option is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    Unknown,
    NoValue,
    /// Half a sentence about the value.
    Value(String),
}

impl Refusal {
    fn sentence(self, option: &str) -> String {
        match self {
            Self::Unknown => format!("unknown mount option '{option}'"),
            Self::NoValue => format!("mount option '{option}' needs a value"),
            Self::Value(why) => format!("mount option '{option}': {why}"),
        }
    }
}

fn in_range<T>(value: Option<T>, range: RangeInclusive<T>) -> Result<T, Refusal>
where
    T: PartialOrd + std::fmt::Display,
{
    value.filter(|value| range.contains(value)).ok_or_else(|| {
        Refusal::Value(format!(
            "the value must be a number from {} to {}",
            range.start(),
            range.end()
        ))
    })
}

fn parse_on_errors(value: &str) -> Result<OnErrors, Refusal> {
    Ok(match value {
        "continue" => OnErrors::Continue,
        "remount-ro" => OnErrors::RemountReadOnly,
        "panic" => OnErrors::Panic,
        _ => {
            let words = "the value must be 'continue', 'remount-ro' or 'panic'";
            return Err(Refusal::Value(words.into()));
        }
    })
}

fn parse_umask(value: &str) -> Result<u16, Refusal> {
    let octal = !value.is_empty() && value.bytes().all(|b| matches!(b, b'0'..=b'7'));
    octal
        .then(|| u16::from_str_radix(value, 8).ok())
        .flatten()
        .filter(|umask| *umask <= 0o777)
        .ok_or_else(|| Refusal::Value("the value must be an octal number from 0 to 777".into()))
}

#[cfg(test)]
#[path = "mount_options_tests.rs"]
mod tests;
