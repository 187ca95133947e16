//! /proc/self/mountinfo, as proc_pid_mountinfo(5) describes it.

use std::fs;
use std::io;

/// One line, as far as this program needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Unique among the mounts of now.
    pub(super) id: u32,
    /// `major:minor` of the file system.
    pub(super) device: String,
    /// Where it is mounted.
    pub(super) directory: Vec<u8>,
    /// `fuse.extmap`, for example.
    pub(super) fs_type: String,
}

/// All mounts this process sees, in the order they were made.
pub(super) fn read_mount_table() -> io::Result<Vec<Mount>> {
    let table = fs::read("/proc/self/mountinfo")?;
    let lines = table.split(|byte| *byte == b'\n');
    Ok(lines.filter_map(parse_line).collect())
}

/// `36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/sda1 rw`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = text(fields.next()?)?.parse().ok()?;
    let device = text(fields.nth(1)?)?;
    let directory = unescape(fields.nth(1)?);
    let _options = fields.next()?;
    // Optional fields end with a hyphen.
    fields.by_ref().find(|field| *field == b"-")?;
    let fs_type = text(fields.next()?)?;
    Some(Mount {
        id,
        device,
        directory,
        fs_type,
    })
}

fn text(field: &[u8]) -> Option<String> {
    String::from_utf8(field.to_vec()).ok()
}

/// Blanks, tabs, newlines and backslashes are written as `\040` and so on.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| first == b'\\');
        match code.and_then(octal) {
            Some(byte) => {
                plain.push(byte);
                rest = &after[3..];
            }
            None => {
                plain.push(first);
                rest = after;
            }
        }
    }
    plain
}

fn octal(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok()?;
    u8::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let line =
            br"36 35 0:51 / /mnt/a\040b\134 rw,nosuid shared:7 master:1 - fuse.extmap x.img ro";
        let mount = parse_line(line).expect("mount");
        assert_eq!(mount.id, 36);
        assert_eq!(mount.device, "0:51");
        assert_eq!(mount.directory, b"/mnt/a b\\");
        assert_eq!(mount.fs_type, "fuse.extmap");
    }

    #[test]
    fn optional_fields_may_be_missing() {
        let mount = parse_line(b"1 2 8:1 / / rw - ext4 /dev/sda1 rw").expect("mount");
        assert_eq!(
            (mount.directory, mount.fs_type),
            (b"/".to_vec(), "ext4".into())
        );
        assert_eq!(parse_line(b""), None);
        assert_eq!(parse_line(b"1 2 8:1 / / rw"), None);
    }
}
