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
            | "fsname" | "errors" | "commit" => return Err(Refusal::NoValue),
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
mod tests {
    use super::*;

    fn person(list: &str) -> Result<MountOptions, String> {
        MountOptions::parse(&[list], Caller::Person)
    }

    fn helper(list: &str) -> Result<MountOptions, String> {
        MountOptions::parse(&[list], Caller::MountHelper { sloppy: false })
    }

    fn refused(list: &str) -> String {
        person(list).expect_err(list)
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(person(""), Ok(MountOptions::default()));
        let read = Ok(MountOptions {
            intent: Intent::Read,
            ..MountOptions::default()
        });
        assert_eq!(person("ro"), read);
        assert_eq!(person(",,ro,"), read);
    }

    #[test]
    fn noise_of_fstab_is_accepted() {
        let list = "defaults,auto,noauto,user,user=joe,users,nouser,nofail,_netdev,\
                    x-systemd.automount,x-gvfs-name=a=b,X-mount.mkdir,comment=anything";
        assert_eq!(person(list), Ok(MountOptions::default()));
        assert_eq!(helper(list), Ok(MountOptions::default()));
    }

    #[test]
    fn values_reach_their_fields() {
        let options = person(
            "ro,offset=1M,sb=32768,noload,allow_other,default_permissions,uid=1000,gid=0,\
             umask=022,threads=4,cache=64M,fsname=disk",
        );
        let expected = MountOptions {
            offset_bytes: Some(1 << 20),
            partition: None,
            superblock_kib: Some(32768),
            norecovery: true,
            access: Access::Other,
            default_permissions: true,
            uid: Some(1000),
            gid: Some(0),
            umask: Some(0o022),
            threads: NonZeroUsize::new(4),
            cache_bytes: Some(64 << 20),
            fs_name: Some("disk".into()),
            intent: Intent::Read,
            writing: Writing::default(),
            flags: VfsFlags::default(),
        };
        assert_eq!(options, Ok(expected));
    }

    #[test]
    fn every_flag_and_its_opposite() {
        type Field = fn(&VfsFlags) -> Option<bool>;
        let flags: &[(&str, &str, Field)] = &[
            ("suid", "nosuid", |f| f.suid),
            ("dev", "nodev", |f| f.dev),
            ("exec", "noexec", |f| f.exec),
            ("atime", "noatime", |f| f.atime),
        ];
        for (on, off, field) in flags {
            assert_eq!(field(&person(on).expect(on).flags), Some(true), "{on}");
            assert_eq!(field(&person(off).expect(off).flags), Some(false), "{off}");
            let both = person(&format!("{on},{off}")).expect(on);
            assert_eq!(field(&both.flags), Some(false), "the later of {on},{off}");
            let alone = person("ro").expect("ro");
            assert_eq!(field(&alone.flags), None, "{on} not said");
        }
    }

    #[test]
    fn flags_about_times_of_access_are_accepted() {
        for flag in IDLE_FLAGS {
            assert_eq!(person(flag), Ok(MountOptions::default()), "{flag}");
        }
    }

    #[test]
    fn aliases_mean_the_same() {
        assert_eq!(person("noload"), person("norecovery"));
    }

    #[test]
    fn people_insist_on_writing_and_mount_does_not() {
        assert_eq!(person("").expect("").intent, Intent::Either);
        assert_eq!(person("ro,rw").expect("rw").intent, Intent::Write);
        assert_eq!(person("rw,ro").expect("ro").intent, Intent::Read);
        let options = helper("rw,dev,suid").expect("rw");
        assert_eq!(options.intent, Intent::Either);
        assert_eq!(options.flags.suid, Some(true));
        assert!(refused("rw,norecovery").contains("for reading"));
        assert!(refused("sb=8193,rw").contains("for reading"));
    }

    #[test]
    fn how_changes_are_made() {
        let list = "errors=remount-ro,discard,writethrough,sync,askopen,commit=7";
        let expected = Writing {
            errors: Some(OnErrors::RemountReadOnly),
            discard: true,
            writethrough: true,
            sync: true,
            ask_opens: true,
            commit_seconds: Some(7),
        };
        assert_eq!(person(list).expect(list).writing, expected);
        let undone = "discard,nodiscard,sync,async,commit=5,commit=0";
        assert_eq!(person(undone).expect(undone).writing, Writing::default());
        for wrong in [
            "errors=",
            "errors=stop",
            "commit=-1",
            "commit=86401",
            "commit=x",
        ] {
            assert!(refused(wrong).contains(wrong), "{wrong}");
        }
    }

    #[test]
    fn unknown_options_are_named() {
        assert_eq!(refused("foo"), "unknown mount option 'foo'");
        assert_eq!(refused("ro,foo=bar"), "unknown mount option 'foo=bar'");
        assert_eq!(refused("ro=1"), "unknown mount option 'ro=1'");
        assert_eq!(refused("RO"), "unknown mount option 'RO'");
        assert_eq!(refused(" ro"), "unknown mount option ' ro'");
        assert_eq!(helper("rw,foo"), Err("unknown mount option 'foo'".into()));
    }

    #[test]
    fn sloppy_ignores_the_unknown_but_not_the_wrong() {
        let sloppy = Caller::MountHelper { sloppy: true };
        assert!(MountOptions::parse(&["foo,bar=1,ro"], sloppy).is_ok());
        assert!(MountOptions::parse(&["threads=0"], sloppy).is_err());
    }

    #[test]
    fn missing_values_are_named() {
        for name in [
            "offset",
            "partition",
            "sb",
            "uid",
            "gid",
            "umask",
            "threads",
            "cache",
            "fsname",
            "errors",
            "commit",
        ] {
            let expected = format!("mount option '{name}' needs a value");
            assert_eq!(refused(name), expected);
            assert!(refused(&format!("{name}=")).contains(&format!("'{name}='")));
        }
    }

    #[test]
    fn conflicts_are_refused() {
        assert!(refused("offset=512,partition=1").contains("exclude each other"));
        assert!(refused("partition=1,offset=0").contains("exclude each other"));
        assert!(refused("allow_other,allow_root").contains("exclude each other"));
        assert!(person("allow_other,allow_other").is_ok());
        assert_eq!(person("allow_root").expect("root").access, Access::Root);
    }

    #[test]
    fn boundaries_of_numbers() {
        let good = [
            "offset=0",
            "offset=18446744073709551615",
            "partition=1",
            "partition=4294967295",
            "sb=1",
            "uid=0",
            "uid=4294967294",
            "gid=4294967294",
            "umask=0",
            "umask=777",
            "umask=0777",
            "threads=1",
            "threads=256",
            "cache=1M",
            "cache=1048576",
            "cache=64G",
        ];
        for option in good {
            assert!(person(option).is_ok(), "{option}");
        }
        let bad = [
            "offset=18446744073709551616",
            "offset=-1",
            "offset=x",
            "partition=0",
            "partition=4294967296",
            "partition=1k",
            "sb=0",
            "sb=18446744073709551615",
            "uid=-1",
            "uid=4294967295",
            "uid=root",
            "gid=4294967295",
            "umask=8",
            "umask=1000",
            "umask=+7",
            "umask=0x7",
            "threads=0",
            "threads=257",
            "threads=-1",
            "cache=0",
            "cache=1048575",
            "cache=65G",
            "cache=lots",
        ];
        for option in bad {
            assert!(refused(option).contains(&format!("'{option}'")), "{option}");
        }
    }

    #[test]
    fn several_lists_are_one() {
        let lists = ["ro,threads=2", "threads=3"];
        let options = MountOptions::parse(&lists, Caller::Person).expect("lists");
        assert_eq!(options.threads, NonZeroUsize::new(3));
    }
}
