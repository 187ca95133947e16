//! A script of system calls, run on two mounts of equal images, and what came of each call.

use anyhow::{Result, ensure};
use rustix::io::Errno;
use std::fmt::Debug;
use std::path::Path;
use system_tests::guards::{FuseMount, KernelMount, Server};
use system_tests::manifest::Manifest;
use system_tests::mkfs::judge::fsck;
use system_tests::scratch::Scratch;
use system_tests::skip;

/// Options under which others than root may look in.
pub(crate) const OPTIONS: &str = "rw,allow_other,suid,dev";

/// What calls answered.
#[derive(Debug, Default)]
pub(crate) struct Log(Vec<String>);

impl Log {
    /// Notes an answer.
    pub(crate) fn note(&mut self, call: &str, answer: impl Debug) {
        self.0.push(format!("{call}: {answer:?}"));
    }

    /// Notes whether a call succeeded, and its errno if not; lets what it gave go.
    pub(crate) fn done<T>(&mut self, call: &str, result: Result<T, Errno>) {
        self.note(call, result.map(drop));
    }

    /// Notes what a call gave, or its errno.
    pub(crate) fn gave<T: Debug>(&mut self, call: &str, result: Result<T, Errno>) {
        self.note(call, result);
    }

    /// The same for calls of the standard library.
    pub(crate) fn std<T: Debug>(&mut self, call: &str, result: std::io::Result<T>) {
        self.note(call, result.map_err(|error| error.raw_os_error()));
    }
}

type Script = fn(&Path, &mut Log) -> Result<()>;

/// Facts that two implementations need not agree on: where things lie, and when.
const FREE_TO_DIFFER: &[&str] = &[
    "atime",
    "mtime",
    "ctime",
    "btime",
    "blocks",
    "ino",
    "generation",
    "data",
];

/// Runs a script on both mounts; logs and trees must be equal, and both images clean.
pub(crate) fn same_on_both(mke2fs: &[&str], script: Script) -> Result<()> {
    same_with(&["", ",writethrough"], mke2fs, script)
}

/// The same with each of these options.
pub(crate) fn same_with(options: &[&str], mke2fs: &[&str], script: Script) -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("ours", 64 << 20, mke2fs)?;
    let reference = scratch.copy(&image, "kernel's")?;
    let theirs = {
        let mount = KernelMount::new(&reference, &scratch.path("kernel"), "acl,user_xattr")?;
        let outcome = run(mount.path(), script);
        mount.unmount()?;
        outcome?
    };
    fsck(&reference)?;
    for options in options {
        let options = format!("{OPTIONS}{options}");
        let image = scratch.copy(&image, "copy")?;
        let mount = FuseMount::with(Server::Extmap, &image, &scratch.path("ours-dir"), &options)?;
        let outcome = run(mount.path(), script);
        mount.unmount()?;
        let ours = outcome?;
        compare(&ours, &theirs, &options)?;
        fsck(&image)?;
        // What the caches said must be what is on the device.
        let mount = KernelMount::new(&image, &scratch.path("ours-again"), "ro")?;
        let tree = tree(mount.path())?;
        mount.unmount()?;
        tree.assert_same(&theirs.1, "remounted by the kernel", "kernel")?;
    }
    Ok(())
}

fn run(root: &Path, script: Script) -> Result<(Log, Manifest)> {
    let mut log = Log::default();
    script(root, &mut log)?;
    Ok((log, tree(root)?))
}

fn tree(root: &Path) -> Result<Manifest> {
    let tree = Manifest::of(root)?.without(FREE_TO_DIFFER);
    Ok(tree.without_in_directories(&["size"]))
}

fn compare(ours: &(Log, Manifest), theirs: &(Log, Manifest), options: &str) -> Result<()> {
    let pairs = ours.0.0.iter().zip(&theirs.0.0);
    let different: Vec<String> = pairs
        .filter(|(ours, theirs)| ours != theirs)
        .map(|(ours, theirs)| format!("ours {ours}\n  kernel's {theirs}"))
        .collect();
    ensure!(
        different.is_empty() && ours.0.0.len() == theirs.0.0.len(),
        "-o {options}: {} of {} calls differ:\n{}",
        different.len(),
        theirs.0.0.len(),
        different.join("\n")
    );
    ours.1.assert_same(&theirs.1, "extmap", "kernel")
}
