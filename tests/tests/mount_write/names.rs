//! Making, linking, moving and removing names.

use super::log::Log;
use anyhow::Result;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, link, linkat, lstat, mkdir, mknodat, open,
    readlink, rename, renameat_with, rmdir, stat, symlink, unlink,
};
use std::collections::BTreeSet;
use std::path::Path;

fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits)
}

pub(super) fn script(root: &Path, log: &mut Log) -> Result<()> {
    let at = |name: &str| root.join(name);
    let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
    log.done("create", open(at("file"), create, mode(0o644)));
    log.done("create again", open(at("file"), create, mode(0o644)));
    log.done(
        "create below a file",
        open(at("file/x"), create, mode(0o644)),
    );
    log.done(
        "create below nothing",
        open(at("no/x"), create, mode(0o644)),
    );
    log.done("open nothing", open(at("no"), OFlags::RDONLY, mode(0)));
    log.done("mkdir", mkdir(at("dir"), mode(0o755)));
    log.done("mkdir again", mkdir(at("dir"), mode(0o755)));
    log.done("mkdir over a file", mkdir(at("file"), mode(0o755)));
    log.done("mkdir below a file", mkdir(at("file/x"), mode(0o755)));
    log.done("mkdir with odd bits", mkdir(at("odd"), mode(0o7777)));
    for len in [1, 254, 255, 256, 4096] {
        let name = "n".repeat(len);
        log.done(
            &format!("create {len}"),
            open(at(&name), create, mode(0o600)),
        );
        log.done(&format!("stat {len}"), lstat(at(&name)));
    }
    directories(&at, log);
    links(&at, log);
    special(&at, log)
}

fn directories(at: &dyn Fn(&str) -> std::path::PathBuf, log: &mut Log) {
    let write = OFlags::WRONLY;
    log.done(
        "open a directory for writing",
        open(at("dir"), write, mode(0)),
    );
    let directory = OFlags::RDONLY | OFlags::DIRECTORY;
    log.done(
        "open a file as directory",
        open(at("file"), directory, mode(0)),
    );
    log.done("mkdir deep", mkdir(at("dir/deep"), mode(0o700)));
    log.done("rmdir full", rmdir(at("dir")));
    log.done("rmdir .", rmdir(at("dir/.")));
    log.done("rmdir ..", rmdir(at("dir/deep/..")));
    log.done("rmdir a file", rmdir(at("file")));
    log.done("rmdir nothing", rmdir(at("no")));
    log.done("unlink a directory", unlink(at("dir")));
    log.done("unlink nothing", unlink(at("no")));
    log.gave("links of dir", stat(at("dir")).map(|stat| stat.st_nlink));
    log.done("rmdir deep", rmdir(at("dir/deep")));
    log.gave("links of dir", stat(at("dir")).map(|stat| stat.st_nlink));
    log.done(
        "create in dir",
        open(
            at("dir/inner"),
            OFlags::CREATE | OFlags::WRONLY,
            mode(0o4711),
        ),
    );
    let there = open(at("dir"), directory, mode(0));
    log.done("unlink inner", unlink(at("dir/inner")));
    log.done("rmdir dir", rmdir(at("dir")));
    if let Ok(there) = there {
        let create = OFlags::CREATE | OFlags::WRONLY;
        let outcome = rustix::fs::openat(&there, "x", create, mode(0o600));
        log.done("create in a removed directory", outcome);
        log.done("mkdir there", rustix::fs::mkdirat(&there, "x", mode(0o700)));
        let links = rustix::fs::fstat(&there).map(|stat| stat.st_nlink);
        log.gave("its links", links);
    }
}

fn links(at: &dyn Fn(&str) -> std::path::PathBuf, log: &mut Log) {
    log.done("link", link(at("file"), at("second")));
    log.done("link again", link(at("file"), at("second")));
    log.done("link a directory", link(at("odd"), at("odd2")));
    log.done("link nothing", link(at("no"), at("no2")));
    log.gave("links", stat(at("file")).map(|stat| stat.st_nlink));
    log.done("unlink the first", unlink(at("file")));
    log.gave("links", stat(at("second")).map(|stat| stat.st_nlink));
    log.done("link back", link(at("second"), at("file")));
    for len in [1, 59, 60, 61, 1000, 4094, 4095] {
        let target = "t".repeat(len);
        let name = at(&format!("symlink{len}"));
        log.done(&format!("symlink {len}"), symlink(&target, &name));
        let found = readlink(&name, Vec::new()).map(|found| found.as_bytes().len());
        log.gave(&format!("readlink {len}"), found);
    }
    log.done("symlink over a name", symlink("x", at("file")));
    log.done("symlink to itself", symlink("loop", at("loop")));
    log.done("through it", open(at("loop"), OFlags::RDONLY, mode(0)));
    let nofollow = OFlags::RDONLY | OFlags::NOFOLLOW;
    log.done("not following", open(at("symlink1"), nofollow, mode(0)));
    log.done(
        "readlink a file",
        readlink(at("file"), Vec::new()).map(drop),
    );
    let outcome = linkat(CWD, at("loop"), CWD, at("loop2"), AtFlags::empty());
    log.done("link a symlink", outcome);
}

fn special(at: &dyn Fn(&str) -> std::path::PathBuf, log: &mut Log) -> Result<()> {
    let kinds = [
        ("fifo", FileType::Fifo, 0),
        ("socket", FileType::Socket, 0),
        ("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        (
            "block",
            FileType::BlockDevice,
            rustix::fs::makedev(259, 70_000),
        ),
        ("plain", FileType::RegularFile, 0),
    ];
    for (name, kind, device) in kinds {
        log.done(name, mknodat(CWD, at(name), kind, mode(0o640), device));
        log.done(name, mknodat(CWD, at(name), kind, mode(0o640), device));
        let found = lstat(at(name)).map(|stat| (stat.st_mode, stat.st_rdev));
        log.gave(name, found);
    }
    log.std("the null device reads", std::fs::read(at("null")));
    Ok(())
}

pub(super) fn moves(root: &Path, log: &mut Log) -> Result<()> {
    let at = |name: &str| root.join(name);
    for name in ["a", "b", "c"] {
        std::fs::create_dir(at(name))?;
        std::fs::write(at(&format!("{name}/file")), name)?;
        std::fs::create_dir(at(&format!("{name}/empty")))?;
    }
    let calls = [
        ("to a new name", "a/file", "a/moved"),
        ("to another directory", "a/moved", "b/moved"),
        ("over a file", "b/moved", "b/file"),
        ("over itself", "b/file", "b/file"),
        ("nothing", "no", "b/no"),
        ("to nowhere", "b/file", "no/x"),
        ("file over directory", "b/file", "c"),
        ("directory over file", "c", "b/file"),
        ("below itself", "c", "c/empty/c"),
        ("onto its parent", "c/empty", "c"),
        ("over a full directory", "a", "b"),
        ("over an empty directory", "a/empty", "b/empty"),
        ("directory elsewhere", "c/empty", "a/empty2"),
        ("dot", "c/.", "d"),
        ("dots", "c/..", "d"),
        ("to dot", "c", "a/."),
        ("file with a slash", "b/file/", "b/x"),
        ("directory with a slash", "c", "d/"),
        ("and back", "d/", "c"),
    ];
    for (name, from, to) in calls {
        log.done(name, rename(at(from), at(to)));
        let links = ["a", "b", "c"].map(|name| stat(at(name)).map(|stat| stat.st_nlink));
        log.note("links", links);
    }
    log.done("link", link(at("b/file"), at("b/same")));
    log.done(
        "onto another name of its own",
        rename(at("b/file"), at("b/same")),
    );
    log.gave("still there", stat(at("b/file")).map(|stat| stat.st_nlink));
    with_flags(&at, log);
    let long = "l".repeat(256);
    log.done("to a long name", rename(at("b/same"), at(&long)));
    Ok(())
}

fn with_flags(at: &dyn Fn(&str) -> std::path::PathBuf, log: &mut Log) {
    let (no_replace, exchange, whiteout) = (
        RenameFlags::NOREPLACE,
        RenameFlags::EXCHANGE,
        RenameFlags::WHITEOUT,
    );
    let calls = [
        ("noreplace, there", "b/file", "c/file", no_replace),
        ("noreplace", "b/file", "c/new", no_replace),
        ("exchange files", "c/new", "c/file", exchange),
        ("exchange with nothing", "c/new", "c/no", exchange),
        ("exchange file and directory", "c/new", "a/empty2", exchange),
        ("exchange below itself", "a", "a/empty2", exchange),
        ("exchange directories", "a", "b", exchange),
        ("exchange across", "a", "c/new", exchange),
        ("whiteout", "c/file", "c/shown", whiteout),
        ("whiteout over a file", "b/empty2", "c/shown", whiteout),
        ("both", "c/shown", "c/empty", no_replace | exchange),
        (
            "whiteout, noreplace",
            "c/shown",
            "c/other",
            whiteout | no_replace,
        ),
    ];
    for (name, from, to, flags) in calls {
        let outcome = renameat_with(CWD, at(from), CWD, at(to), flags);
        log.done(name, outcome);
        let kinds = [from, to]
            .map(|name| lstat(at(name)).map(|stat| (stat.st_mode, stat.st_rdev, stat.st_nlink)));
        log.note("kinds", kinds);
    }
}

/// A directory that is split while it is read shows every name that stays, once.
pub(super) fn crowd(root: &Path, log: &mut Log) -> Result<()> {
    let dir = root.join("crowd");
    std::fs::create_dir(&dir)?;
    let name = |kind: &str, number: u32| format!("{kind}-{number}-{}", "x".repeat(60));
    for number in 0..600 {
        std::fs::write(dir.join(name("stays", number)), b"")?;
    }
    let mut seen = BTreeSet::new();
    let mut twice = 0;
    for (at, entry) in std::fs::read_dir(&dir)?.enumerate() {
        let entry = entry?.file_name().to_string_lossy().into_owned();
        twice += u32::from(!seen.insert(entry));
        if at % 4 == 0 && at < 1600 {
            let number = u32::try_from(at)?;
            std::fs::write(dir.join(name("comes", number)), b"")?;
            if number > 400 {
                std::fs::remove_file(dir.join(name("comes", number - 400)))?;
            }
        }
    }
    let staying = seen.iter().filter(|name| name.starts_with("stays")).count();
    log.note("names that stay, and names seen twice", (staying, twice));
    for entry in std::fs::read_dir(&dir)? {
        let path = entry?.path();
        if path.to_string_lossy().contains("comes") {
            std::fs::remove_file(path)?;
        }
    }
    log.note("left", std::fs::read_dir(&dir)?.count());
    Ok(())
}
