//! Who uses a file or a block device right now, as far as the system tells.
//!
//! Opening an image exclusively keeps other programs of ours out and, for block
//! devices, the kernel. What it does not notice: a regular file that is attached
//! to a loop device, mounted or not, and why a block device is busy. [`usage`]
//! asks mountinfo, swaps and sysfs. The answer is for messages and refusals; it
//! can be out of date the moment it is given.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::Error;

/// What holds a file or a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Usage {
    /// It is mounted here.
    Mounted {
        /// The loop device in between, if it is a regular file.
        through: Option<PathBuf>,
        /// The mount point.
        on: PathBuf,
    },
    /// It is attached to this loop device, which is not mounted.
    Attached(PathBuf),
    /// It is swap space in use.
    Swap,
    /// Other block devices (RAID, LVM, dm-crypt) are made of it.
    Held(Vec<OsString>),
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mounted { through: None, on } => write!(f, "mounted on {}", on.display()),
            Self::Mounted {
                through: Some(device),
                on,
            } => write!(
                f,
                "mounted on {} through {}",
                on.display(),
                device.display()
            ),
            Self::Attached(device) => write!(f, "attached to {}", device.display()),
            Self::Swap => f.write_str("in use as swap space"),
            Self::Held(holders) => {
                f.write_str("part of")?;
                for (number, holder) in holders.iter().enumerate() {
                    let comma = if number == 0 { "" } else { "," };
                    write!(f, "{comma} {}", holder.display())?;
                }
                Ok(())
            }
        }
    }
}

/// Who uses what `path` names, if anybody is known to.
pub fn usage(path: &Path) -> Option<Usage> {
    let metadata = fs::metadata(path).ok()?;
    if metadata.file_type().is_block_device() {
        usage_of_device(metadata.rdev())
    } else {
        usage_of_file(metadata.dev(), metadata.ino())
    }
}

/// The error that says who uses what `path` names.
pub(crate) fn in_use(path: &Path) -> Error {
    let locked_by = |path: &Path| lock_holder(&fs::metadata(path).ok()?);
    let process = locked_by(path).or_else(|| locked_by(&backing_file(path)?));
    let usage = usage(path).map(|usage| usage.to_string());
    let known: Vec<String> = process.into_iter().chain(usage).collect();
    Error::InUse {
        path: path.to_owned(),
        holder: (!known.is_empty()).then(|| known.join(", ")),
    }
}

/// The process that has locked a file with flock(2), in words.
fn lock_holder(file: &fs::Metadata) -> Option<String> {
    let (major, minor) = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", file.ino());
    let table = fs::read_to_string("/proc/locks").ok()?;
    let pid = table.lines().find_map(|line| {
        // number, FLOCK, ADVISORY, READ or WRITE, process, place (proc(5)).
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, at, ..] = words.as_slice() else {
            return None;
        };
        (*at == place).then(|| pid.parse::<u32>().ok())?
    })?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    match name.trim() {
        "" => Some(format!("process {pid}")),
        name => Some(format!("process {pid} ({name})")),
    }
}

/// The file beneath a loop device, or beneath the one a partition lies on.
pub fn backing_file(path: &Path) -> Option<PathBuf> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.file_type().is_block_device() {
        return None;
    }
    let device = format!("/sys/dev/block/{}", major_minor(metadata.rdev()));
    let backing = ["loop/backing_file", "../loop/backing_file"]
        .iter()
        .find_map(|name| fs::read(Path::new(&device).join(name)).ok())?;
    Some(without_newline(backing).into())
}

fn usage_of_device(number: u64) -> Option<Usage> {
    if let Some(on) = mount_point(number) {
        return Some(Usage::Mounted { through: None, on });
    }
    if is_swap(|metadata| metadata.file_type().is_block_device() && metadata.rdev() == number) {
        return Some(Usage::Swap);
    }
    let holders = format!("/sys/dev/block/{}/holders", major_minor(number));
    let mut holders: Vec<OsString> = fs::read_dir(holders)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .collect();
    holders.sort();
    (!holders.is_empty()).then_some(Usage::Held(holders))
}

fn usage_of_file(dev: u64, ino: u64) -> Option<Usage> {
    if is_swap(|metadata| metadata.dev() == dev && metadata.ino() == ino) {
        return Some(Usage::Swap);
    }
    let mut attached = None;
    for entry in fs::read_dir("/sys/block").ok()?.flatten() {
        let backing = entry.path().join("loop/backing_file");
        let Some(backing) = fs::read(backing).ok().map(without_newline) else {
            continue;
        };
        let is_ours = fs::metadata(Path::new(&backing))
            .is_ok_and(|metadata| metadata.dev() == dev && metadata.ino() == ino);
        if !is_ours {
            continue;
        }
        let device = Path::new("/dev").join(entry.file_name());
        let number = fs::metadata(&device).map(|metadata| metadata.rdev());
        match number.ok().and_then(usage_of_device) {
            Some(Usage::Mounted { on, .. }) => {
                return Some(Usage::Mounted {
                    through: Some(device),
                    on,
                });
            }
            _ => attached = Some(Usage::Attached(device)),
        }
    }
    attached
}

/// "8:1" of a device number, as the kernel's tables write it.
fn major_minor(number: u64) -> String {
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    format!("{major}:{minor}")
}

/// The first mount point of a device.
fn mount_point(number: u64) -> Option<PathBuf> {
    let wanted = major_minor(number);
    let table = fs::read("/proc/self/mountinfo").ok()?;
    table.split(|&byte| byte == b'\n').find_map(|line| {
        // mount ID, parent ID, major:minor, root, mount point (proc(5)).
        let mut fields = line.split(|&byte| byte == b' ');
        let device = fields.nth(2)?;
        let on = fields.nth(1)?;
        (device == wanted.as_bytes()).then(|| PathBuf::from(unescape(on)))
    })
}

fn is_swap(is_it: impl Fn(&fs::Metadata) -> bool) -> bool {
    let table = fs::read("/proc/swaps").unwrap_or_default();
    table.split(|&byte| byte == b'\n').skip(1).any(|line| {
        let name = line.split(|&byte| byte == b' ').next().unwrap_or_default();
        fs::metadata(Path::new(&unescape(name))).is_ok_and(|metadata| is_it(&metadata))
    })
}

/// The kernel's tables write space, tab, newline and backslash as octal escapes.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut left = field;
    while let Some((&first, rest)) = left.split_first() {
        let digits = rest.get(..3).filter(|_| first == b'\\');
        let escaped = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(first));
        left = match escaped {
            Some(_) => rest.get(3..).unwrap_or_default(),
            None => rest,
        };
    }
    OsString::from_vec(bytes)
}

fn without_newline(mut bytes: Vec<u8>) -> OsString {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_the_kernels_tables_are_undone() {
        for (escaped, plain) in [
            ("/mnt/a", "/mnt/a"),
            ("/mnt/a\\040b", "/mnt/a b"),
            ("\\134\\012", "\\\n"),
            ("/odd\\", "/odd\\"),
            ("/odd\\09", "/odd\\09"),
        ] {
            assert_eq!(unescape(escaped.as_bytes()), plain);
        }
    }

    #[test]
    fn an_ordinary_file_is_not_in_use() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(usage(file.path()), None);
        assert_eq!(usage(Path::new("/nonexistent")), None);
    }

    #[test]
    fn the_device_beneath_the_root_is_mounted_if_it_is_a_device() {
        let number = fs::metadata("/").unwrap().dev();
        if rustix::fs::major(number) == 0 {
            skipping::record("/ lies on no block device");
            return;
        }
        assert!(matches!(
            usage_of_device(number),
            Some(Usage::Mounted { .. })
        ));
    }
}
