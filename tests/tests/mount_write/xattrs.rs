//! Extended attributes and ACLs.

use super::log::Log;
use anyhow::Result;
use rustix::fs::{
    Mode, OFlags, XattrFlags, chmod, getxattr, listxattr, mkdir, open, removexattr, setxattr, stat,
};
use rustix::io::Errno;
use std::path::Path;

fn get(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 65_536];
    let len = getxattr(path, name, &mut value[..])?;
    value.truncate(len);
    Ok(value)
}

fn names(path: &Path) -> Result<Vec<String>, Errno> {
    let mut list = vec![0u8; 65_536];
    let len = listxattr(path, &mut list[..])?;
    let mut names: Vec<String> = list[..len]
        .split(|&byte| byte == 0)
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    Ok(names)
}

pub(super) fn script(root: &Path, log: &mut Log) -> Result<()> {
    let file = root.join("file");
    std::fs::write(&file, b"")?;
    let (any, create, replace) = (XattrFlags::empty(), XattrFlags::CREATE, XattrFlags::REPLACE);
    let large = vec![7u8; 3000];
    let calls: &[(&str, &[u8], XattrFlags)] = &[
        ("user.a", b"1", replace),
        ("user.a", b"1", create),
        ("user.a", b"2", create),
        ("user.a", b"two", replace),
        ("user.b", b"", any),
        ("user.large", &large, any),
        ("user.larger", &[9; 5000], any),
        ("user.", b"x", any),
        ("user", b"x", any),
        ("nonsense.x", b"x", any),
        ("trusted.t", b"x", any),
        ("security.s", b"x", any),
        ("system.posix_acl_access", b"x", any),
        ("user.slash/dot.", b"x", any),
    ];
    for (name, value, flags) in calls {
        log.done(name, setxattr(&file, *name, value, *flags));
        log.gave(name, get(&file, name).map(|value| value.len()));
    }
    let long = format!("user.{}", "n".repeat(250));
    log.done("longest", setxattr(&file, &long, b"x", any));
    let longer = format!("user.{}", "n".repeat(251));
    log.done("longer", setxattr(&file, &longer, b"x", any));
    log.gave("names", names(&file));
    let mut small = [0; 1];
    log.gave("too small", getxattr(&file, "user.a", &mut small[..]));
    for name in ["user.b", "user.b", "user.large", "trusted.t", "nonsense.x"] {
        log.done("remove", removexattr(&file, name));
    }
    log.gave("names", names(&file));
    std::os::unix::fs::symlink("file", root.join("link"))?;
    let link = root.join("link");
    log.done(
        "user on a link",
        rustix::fs::lsetxattr(&link, "user.x", b"x", any),
    );
    log.done(
        "trusted on a link",
        rustix::fs::lsetxattr(&link, "trusted.x", b"x", any),
    );
    Ok(())
}

const OWNER: u16 = 1;
const USER: u16 = 2;
const GROUP: u16 = 4;
const MASK: u16 = 0x10;
const OTHERS: u16 = 0x20;

fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permission, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permission.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

const NOBODY: u32 = u32::MAX;

pub(super) fn acls(root: &Path, log: &mut Log) -> Result<()> {
    let access = "system.posix_acl_access";
    let default = "system.posix_acl_default";
    let any = XattrFlags::empty();
    let file = root.join("file");
    std::fs::write(&file, b"")?;
    let shown = |log: &mut Log, path: &Path| {
        log.gave("mode", stat(path).map(|stat| stat.st_mode));
        log.gave("access", get(path, access));
        log.gave("default", get(path, default));
    };
    let minimal = acl(&[(OWNER, 6, NOBODY), (GROUP, 5, NOBODY), (OTHERS, 1, NOBODY)]);
    let extended = acl(&[
        (OWNER, 7, NOBODY),
        (USER, 6, 1234),
        (GROUP, 5, NOBODY),
        (MASK, 6, NOBODY),
        (OTHERS, 4, NOBODY),
    ]);
    log.done("minimal", setxattr(&file, access, &minimal, any));
    shown(log, &file);
    log.done("extended", setxattr(&file, access, &extended, any));
    shown(log, &file);
    for mode in [0o600, 0o2755, 0o070] {
        log.done("chmod", chmod(&file, Mode::from_raw_mode(mode)));
        shown(log, &file);
    }
    log.done(
        "default of a file",
        setxattr(&file, default, &extended, any),
    );
    log.done("remove", removexattr(&file, access));
    log.done("remove again", removexattr(&file, access));
    shown(log, &file);
    let broken = acl(&[(OWNER, 7, NOBODY), (USER, 6, 1234), (OTHERS, 4, NOBODY)]);
    log.done("broken", setxattr(&file, access, &broken, any));
    inheritance(root, log, &[minimal, extended], &shown)
}

fn inheritance(
    root: &Path,
    log: &mut Log,
    defaults: &[Vec<u8>],
    shown: &dyn Fn(&mut Log, &Path),
) -> Result<()> {
    let any = XattrFlags::empty();
    for (number, acl) in defaults.iter().enumerate() {
        let dir = root.join(format!("dir{number}"));
        mkdir(&dir, Mode::from_raw_mode(0o2755))?;
        let outcome = setxattr(&dir, "system.posix_acl_default", acl, any);
        log.done("default", outcome);
        shown(log, &dir);
        for mode in [0o666, 0o777, 0o600, 0o7777, 0] {
            let flags = OFlags::CREATE | OFlags::WRONLY;
            let path = dir.join(format!("file{mode:o}"));
            log.done("create", open(&path, flags, Mode::from_raw_mode(mode)));
            shown(log, &path);
            let path = dir.join(format!("dir{mode:o}"));
            log.done("mkdir", mkdir(&path, Mode::from_raw_mode(mode)));
            shown(log, &path);
        }
        std::os::unix::fs::symlink("x", dir.join("link"))?;
        log.gave(
            "fifo",
            rustix::fs::mknodat(
                rustix::fs::CWD,
                dir.join("fifo"),
                rustix::fs::FileType::Fifo,
                Mode::from_raw_mode(0o666),
                0,
            ),
        );
        shown(log, &dir.join("fifo"));
    }
    Ok(())
}
