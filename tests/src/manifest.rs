//! What a tree looks like from outside, and how two of them differ.
//!
//! A manifest maps each path to named facts, all as text: one comparison serves
//! every fact, a report names it, and a fact that cannot be had (an error) is
//! recorded as the error, so that it takes part in the comparison.

use crate::scratch::hex;
use crate::sys;
use anyhow::{Context, Result, bail};
use blake3::Hasher;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, SeekFrom, StatxFlags, StatxTimestamp};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirEntryExt, FileTypeExt};
use std::path::{Path, PathBuf};

/// Facts about one file, by name.
pub type Facts = BTreeMap<String, String>;

/// Larger holes are not read whole: their first and last 64 KiB are.
const HOLE_SAMPLE_BYTES: u64 = 64 << 10;

/// A longer piece of data is not read whole.
const RANGE_BYTES_MAX: u64 = 4 << 30;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Everything of every file.
    Full,
    /// Every name with its stat; everything else of every hundredth file. For
    /// trees of hundreds of thousands.
    Sampled,
}

/// A tree's paths (from its root, `.` being the root itself) and their facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// By path; a path is bytes.
    pub files: BTreeMap<PathBuf, Facts>,
}

impl Manifest {
    /// Looks at everything below `root`.
    pub fn of(root: &Path) -> Result<Self> {
        Self::with_depth(root, Depth::Full)
    }

    /// Looks at everything below `root`, as closely as `depth` says.
    pub fn with_depth(root: &Path, depth: Depth) -> Result<Self> {
        let mut manifest = Self::default();
        let mut pending = vec![PathBuf::from(".")];
        while let Some(relative) = pending.pop() {
            let path = root.join(&relative);
            let full = depth == Depth::Full || manifest.files.len() % 100 == 0;
            let (mut facts, kind) = look(&path, full);
            if kind == Some(FileType::Directory) {
                match list(&path) {
                    Ok(names) => {
                        note_listing(&mut facts, &names);
                        pending.extend(names.into_keys().map(|name| relative.join(name)));
                    }
                    Err(error) => {
                        facts.insert("readdir".into(), format!("{error:#}"));
                    }
                }
            }
            manifest.files.insert(relative, facts);
        }
        manifest.check_listing_inodes()?;
        Ok(manifest)
    }

    /// Keeps only the named facts (a trailing `*` matches a prefix).
    pub fn keep(mut self, names: &[&str]) -> Self {
        for facts in self.files.values_mut() {
            facts.retain(|fact, _| names.iter().any(|name| matches(name, fact)));
        }
        self
    }

    /// Forgets the named facts (a trailing `*` matches a prefix).
    pub fn without(mut self, names: &[&str]) -> Self {
        for facts in self.files.values_mut() {
            facts.retain(|fact, _| !names.iter().any(|name| matches(name, fact)));
        }
        self
    }

    /// Forgets the named facts of one path.
    pub fn without_at(mut self, path: &str, names: &[&str]) -> Self {
        if let Some(facts) = self.files.get_mut(Path::new(path)) {
            facts.retain(|fact, _| !names.iter().any(|name| matches(name, fact)));
        }
        self
    }

    /// Cuts times to whole seconds, which is all that mke2fs takes over.
    pub fn whole_seconds(mut self) -> Self {
        for facts in self.files.values_mut() {
            for (_, value) in facts.iter_mut().filter(|(fact, _)| fact.ends_with("time")) {
                value.truncate(value.find('.').unwrap_or(value.len()));
            }
        }
        self
    }

    /// EUCLEAN for the kernel's EBADMSG, which tells a wrong checksum from other
    /// damage.
    pub fn checksum_errors_as_euclean(mut self) -> Self {
        for facts in self.files.values_mut() {
            for value in facts.values_mut().filter(|value| *value == "error EBADMSG") {
                *value = "error EUCLEAN".into();
            }
        }
        self
    }

    /// Forgets the named facts of all directories.
    pub fn without_in_directories(mut self, names: &[&str]) -> Self {
        let directory = |facts: &&mut Facts| facts.get("type").is_some_and(|t| t == "Directory");
        for facts in self.files.values_mut().filter(directory) {
            facts.retain(|fact, _| !names.contains(&fact.as_str()));
        }
        self
    }

    /// Forgets a path and everything below it.
    pub fn without_path(mut self, path: &str) -> Self {
        self.files.retain(|file, _| !file.starts_with(path));
        self
    }

    /// Facts that are errors, as `path: fact: error`.
    pub fn errors(&self) -> Vec<String> {
        let mut errors = Vec::new();
        for (path, facts) in &self.files {
            for (fact, value) in facts {
                if value.starts_with("error ") {
                    errors.push(format!("{}: {fact}: {value}", path.display()));
                }
            }
        }
        errors
    }

    /// The differences, one line each; empty if there is none.
    pub fn diff(&self, other: &Self, this: &str, that: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let paths: BTreeSet<&PathBuf> = self.files.keys().chain(other.files.keys()).collect();
        for path in paths {
            match (self.files.get(path), other.files.get(path)) {
                (Some(_), None) => lines.push(format!("{path:?}: only in {this}")),
                (None, Some(_)) => lines.push(format!("{path:?}: only in {that}")),
                (Some(a), Some(b)) => diff_facts(&mut lines, path, a, b, this, that),
                (None, None) => {}
            }
        }
        lines
    }

    /// An error that shows the differences (the first 40) unless there is none.
    pub fn assert_same(&self, other: &Self, this: &str, that: &str) -> Result<()> {
        if self.files.len() < 2 {
            bail!("{this} shows an empty tree; nothing would be compared");
        }
        let lines = self.diff(other, this, that);
        if lines.is_empty() {
            return Ok(());
        }
        let mut report = format!("{} differences:", lines.len());
        for line in lines.iter().take(40) {
            let _ = write!(report, "\n  {line}");
        }
        bail!("{report}");
    }

    /// The inode number and type a listing gives must be those stat gives.
    fn check_listing_inodes(&mut self) -> Result<()> {
        let mut wrong = Vec::new();
        for (path, facts) in &self.files {
            for (name, value) in facts.iter().filter(|(fact, _)| fact.starts_with("entry.")) {
                let child = path.join(OsStr::from_bytes(&unhex(&name["entry.".len()..])?));
                let stat = self.files.get(&child).and_then(|facts| {
                    Some(format!("{} {}", facts.get("ino")?, facts.get("type")?))
                });
                if stat.is_some_and(|stat| stat != *value) {
                    wrong.push((path.clone(), format!("{child:?} is listed as {value}")));
                }
            }
        }
        for facts in self.files.values_mut() {
            facts.retain(|fact, _| !fact.starts_with("entry."));
        }
        for (path, text) in wrong {
            if let Some(facts) = self.files.get_mut(&path) {
                facts.insert("wrong listing".into(), text);
            }
        }
        Ok(())
    }
}

fn matches(pattern: &str, fact: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => fact.starts_with(prefix),
        None => fact == pattern,
    }
}

fn diff_facts(lines: &mut Vec<String>, path: &Path, a: &Facts, b: &Facts, this: &str, that: &str) {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for name in names {
        let (left, right) = (a.get(name), b.get(name));
        if left != right {
            let show = |value: Option<&String>| -> String {
                value.map_or("nothing".into(), |text| text.chars().take(300).collect())
            };
            lines.push(format!(
                "{path:?}: {name}: {this} {}, {that} {}",
                show(left),
                show(right)
            ));
        }
    }
}

/// A directory's names with inode number and type; a name listed twice is kept
/// with a count in its second element.
type Listing = BTreeMap<OsString, (u64, u32, Option<FileType>)>;

fn list(path: &Path) -> Result<Listing> {
    let mut names = Listing::new();
    let entries = std::fs::read_dir(path).map_err(|error| text_error(&error))?;
    for entry in entries {
        let entry = entry.map_err(|error| text_error(&error))?;
        let kind = entry.file_type().ok().map(kind_of);
        let known = names
            .entry(entry.file_name())
            .or_insert((entry.ino(), 0, kind));
        known.1 += 1;
    }
    Ok(names)
}

fn kind_of(kind: std::fs::FileType) -> FileType {
    if kind.is_dir() {
        FileType::Directory
    } else if kind.is_symlink() {
        FileType::Symlink
    } else if kind.is_file() {
        FileType::RegularFile
    } else if kind.is_fifo() {
        FileType::Fifo
    } else if kind.is_socket() {
        FileType::Socket
    } else if kind.is_char_device() {
        FileType::CharacterDevice
    } else if kind.is_block_device() {
        FileType::BlockDevice
    } else {
        FileType::Unknown
    }
}

fn note_listing(facts: &mut Facts, names: &Listing) {
    for (name, (ino, times, kind)) in names {
        if *times > 1 {
            facts.insert(
                format!("listed twice.{}", name.display()),
                times.to_string(),
            );
        }
        // A type the listing does not tell has been looked up by std.
        let listed = format!("{ino} {:?}", kind.unwrap_or(FileType::Unknown));
        facts.insert(format!("entry.{}", hex(name.as_bytes())), listed);
    }
}

fn look(path: &Path, full: bool) -> (Facts, Option<FileType>) {
    let mut facts = Facts::new();
    let kind = match look_stat(path, &mut facts) {
        Ok(kind) => kind,
        Err(error) => {
            facts.insert("stat".into(), error_text(error));
            return (facts, None);
        }
    };
    if kind == FileType::Symlink {
        let target = rustix::fs::readlink(path, Vec::new());
        let text = match target {
            Ok(target) => format!("{:?}", OsStr::from_bytes(target.as_bytes())),
            Err(error) => error_text(error),
        };
        facts.insert("target".into(), text);
    }
    if full {
        look_xattrs(path, &mut facts);
        if matches!(kind, FileType::RegularFile | FileType::Directory) {
            look_inside(path, kind, &mut facts);
        }
    }
    (facts, Some(kind))
}

fn look_stat(path: &Path, facts: &mut Facts) -> Result<FileType, Errno> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
    let kind = FileType::from_raw_mode(u32::from(stat.stx_mode));
    let mut put = |name: &str, value: String| facts.insert(name.into(), value);
    put("type", format!("{kind:?}"));
    put("mode", format!("{:o}", stat.stx_mode & 0o7777));
    put("uid", stat.stx_uid.to_string());
    put("gid", stat.stx_gid.to_string());
    put("nlink", stat.stx_nlink.to_string());
    put("size", stat.stx_size.to_string());
    put("blocks", stat.stx_blocks.to_string());
    put("ino", stat.stx_ino.to_string());
    put("atime", time(stat.stx_atime));
    put("mtime", time(stat.stx_mtime));
    put("ctime", time(stat.stx_ctime));
    if stat.stx_mask & StatxFlags::BTIME.bits() != 0 {
        put("btime", time(stat.stx_btime));
    }
    if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
        put(
            "rdev",
            format!("{}:{}", stat.stx_rdev_major, stat.stx_rdev_minor),
        );
    }
    Ok(kind)
}

fn time(time: StatxTimestamp) -> String {
    format!("{}.{:09}", time.tv_sec, time.tv_nsec)
}

fn look_xattrs(path: &Path, facts: &mut Facts) {
    let mut names = vec![0u8; 64 << 10];
    let len = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(len) => len,
        Err(error) => {
            facts.insert("xattrs".into(), error_text(error));
            return;
        }
    };
    for name in names[..len]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0u8; 64 << 10];
        let text = match rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]) {
            Ok(len) if len <= 64 => hex(&value[..len]),
            Ok(len) => format!("{len} bytes, hash {}", blake3::hash(&value[..len])),
            Err(error) => error_text(error),
        };
        facts.insert(format!("xattr.{}", OsStr::from_bytes(name).display()), text);
    }
}

fn look_inside(path: &Path, kind: FileType, facts: &mut Facts) {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(error) => {
            facts.insert("open".into(), error_text(error));
            return;
        }
    };
    let or_error = |result: Result<u32, Errno>| match result {
        Ok(value) => format!("{value:#x}"),
        Err(error) => error_text(error),
    };
    facts.insert("flags".into(), or_error(sys::get_flags(&file)));
    facts.insert("generation".into(), or_error(sys::get_version(&file)));
    let extended = sys::get_fsxattr(&file);
    facts.insert(
        "xflags".into(),
        or_error(extended.map(|value| value.xflags)),
    );
    facts.insert(
        "projid".into(),
        or_error(extended.map(|value| value.projid)),
    );
    if kind == FileType::RegularFile {
        let (map, sum) = match content(file.as_fd()) {
            Ok(content) => content,
            Err(error) => (String::new(), error_text(error)),
        };
        facts.insert("hash".into(), sum);
        facts.insert("data".into(), map);
    }
}

/// The map of data and holes, and a hash of the whole (large holes are read
/// at both ends only).
///
/// The map is taken before anything is read: the kernel's ext4 counts cached
/// pages of unwritten extents as data. Pages read under another name of the file
/// are dropped first.
fn content(file: BorrowedFd<'_>) -> Result<(String, String), Errno> {
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?;
    let len = rustix::fs::fstat(file)?.st_size.unsigned_abs();
    let segments = segments(file, len)?;
    let mut hasher = Hasher::new();
    let mut at = 0;
    for &(start, end) in &segments {
        hash_hole(file, at, start, &mut hasher)?;
        hash_range(file, start, end, &mut hasher)?;
        at = end;
    }
    hash_hole(file, at, len, &mut hasher)?;
    let mut map = String::new();
    for (start, end) in segments.iter().take(4) {
        let _ = write!(map, "[{start}, {end}) ");
    }
    let whole = blake3::hash(format!("{segments:?}").as_bytes());
    let _ = write!(
        map,
        "of {len}; {} in all, digest {}",
        segments.len(),
        hex(&whole.as_bytes()[..4])
    );
    Ok((map, hasher.finalize().to_string()))
}

/// The data of a file of `len` bytes, as SEEK_DATA and SEEK_HOLE tell it;
/// neighbours are one.
fn segments(file: BorrowedFd<'_>, len: u64) -> Result<Vec<(u64, u64)>, Errno> {
    let mut segments: Vec<(u64, u64)> = Vec::new();
    let mut at = 0;
    while at < len {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
        if start < at || end <= start || end > len {
            return Err(Errno::RANGE);
        }
        match segments.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => segments.push((start, end)),
        }
        at = end;
    }
    Ok(segments)
}

fn hash_hole(file: BorrowedFd<'_>, from: u64, to: u64, hasher: &mut Hasher) -> Result<(), Errno> {
    if to.saturating_sub(from) <= 2 * HOLE_SAMPLE_BYTES {
        return hash_range(file, from, to, hasher);
    }
    hash_range(file, from, from + HOLE_SAMPLE_BYTES, hasher)?;
    hash_range(file, to - HOLE_SAMPLE_BYTES, to, hasher)
}

fn hash_range(file: BorrowedFd<'_>, from: u64, to: u64, hasher: &mut Hasher) -> Result<(), Errno> {
    if to.saturating_sub(from) > RANGE_BYTES_MAX {
        // Only a server that takes a huge hole for data comes here; its map
        // differs already.
        hash_range(file, from, from + HOLE_SAMPLE_BYTES, hasher)?;
        return hash_range(file, to - HOLE_SAMPLE_BYTES, to, hasher);
    }
    let len_max = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
    let mut buffer = vec![0u8; len_max.min(1 << 20)];
    let mut at = from;
    while at < to {
        let want = usize::try_from(to - at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let len = rustix::io::pread(file, &mut buffer[..want], at)?;
        if len == 0 {
            hasher.update(b"unexpected end of file");
            return Ok(());
        }
        hasher.update(&buffer[..len]);
        at += len as u64;
    }
    Ok(())
}

/// statfs(2): the numbers `df` shows.
pub fn statfs(root: &Path) -> Result<Facts> {
    let stat = rustix::fs::statvfs(root).context("statfs")?;
    Ok([
        ("f_bsize", stat.f_bsize),
        ("f_frsize", stat.f_frsize),
        ("f_blocks", stat.f_blocks),
        ("f_bfree", stat.f_bfree),
        ("f_bavail", stat.f_bavail),
        ("f_files", stat.f_files),
        ("f_ffree", stat.f_ffree),
        ("f_favail", stat.f_favail),
        ("f_namelen", stat.f_namemax),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_string()))
    .collect())
}

/// The label, as the ioctl gives it.
pub fn label(root: &Path) -> Result<String> {
    let dir = std::fs::File::open(root)?;
    Ok(match sys::get_label(&dir) {
        Ok(label) => OsString::from_vec(label).display().to_string(),
        Err(error) => error_text(error),
    })
}

fn error_text(error: Errno) -> String {
    let name = match error {
        // The kernel tells bad checksums (EBADMSG) from other damage; the
        // program says EUCLEAN of both.
        Errno::UCLEAN | Errno::BADMSG => "EUCLEAN",
        Errno::IO => "EIO",
        Errno::NOENT => "ENOENT",
        Errno::NOTTY => "ENOTTY",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::ACCESS => "EACCES",
        Errno::PERM => "EPERM",
        Errno::NODATA => "ENODATA",
        Errno::RANGE => "ERANGE",
        Errno::INVAL => "EINVAL",
        Errno::NOSYS => "ENOSYS",
        Errno::LOOP => "ELOOP",
        other => return format!("error {} ({other})", other.raw_os_error()),
    };
    format!("error {name}")
}

fn text_error(error: &std::io::Error) -> anyhow::Error {
    match Errno::from_io_error(error) {
        Some(errno) => anyhow::anyhow!("{}", error_text(errno)),
        None => anyhow::anyhow!("error {error}"),
    }
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).context("hex"))
        .collect()
}
