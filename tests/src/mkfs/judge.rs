//! The judges of an image: e2fsck, the kernel at work on it, debugfs where the
//! kernel cannot mount it.

use crate::guards::KernelMount;
use crate::manifest::Manifest;
use crate::tool;
use crate::trees::xattr;
use crate::{debugfs, manifest};
use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

/// Options of a mount that is to change nothing but what a test does.
pub const QUIET_MOUNT: &str = "noatime,noinit_itable,nodiscard";

/// `e2fsck -fn` finds nothing.
pub fn fsck(image: &Path) -> Result<()> {
    let output = tool::output("e2fsck", &["-fn".as_ref(), image.as_os_str()])?;
    ensure!(
        output.status.code() == Some(0),
        "e2fsck -fn: {}",
        tool::failure(&output)
    );
    Ok(())
}

/// Whether a primary superblock's magic number is in the image (`offset` bytes
/// from its start).
pub fn has_magic(image: &Path, offset: u64) -> Result<bool> {
    let mut magic = [0; 2];
    let file = match File::open(image) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| image.display().to_string()),
    };
    match file.read_exact_at(&mut magic, offset + 1024 + 0x38) {
        Ok(()) => Ok(magic == [0x53, 0xef]),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Gives a file that mke2fs made, which may end with the last block it wrote, the
/// length of its file system.
pub fn fill_out(image: &Path) -> Result<()> {
    let text = match tool::run("dumpe2fs", &["-h".as_ref(), image.as_os_str()]) {
        Ok(text) => text,
        // Behind an offset.
        Err(_) => return Ok(()),
    };
    let len = debugfs::number_after(&text, "Block size:")?
        * debugfs::number_after(&text, "Block count:")?;
    let file = File::options().write(true).open(image)?;
    if file.metadata()?.len() < len {
        file.set_len(len)?;
    }
    Ok(())
}

/// Whether the kernel here mounts blocks of this length.
pub fn kernel_takes(block_len: u64) -> bool {
    block_len <= rustix::param::page_size() as u64
        || Path::new("/sys/fs/ext4/features/blocksize_gt_pagesize").exists()
}

/// The block size dumpe2fs reads from the superblock.
pub fn block_len(image: &Path) -> Result<u64> {
    let text = tool::run("dumpe2fs", &["-h".as_ref(), image.as_os_str()])?;
    debugfs::number_after(&text, "Block size:")
}

/// Mounts read-write, shows the root to `look`, works on it, unmounts; e2fsck is
/// content before and after. debugfs does the work where the kernel cannot
/// (`look` is then not called; whether it was is the answer).
pub fn live_with(image: &Path, dir: &Path, look: impl FnOnce(&Path) -> Result<()>) -> Result<bool> {
    fsck(image).context("as made")?;
    let mounts = kernel_takes(block_len(image)?);
    if mounts {
        let mount = KernelMount::new(image, dir, QUIET_MOUNT)?;
        look(mount.path())?;
        work(mount.path()).context("the kernel's work")?;
        mount.unmount()?;
    } else {
        work_by_debugfs(image)?;
    }
    fsck(image).context("after the work")?;
    Ok(mounts)
}

/// Creates, links, renames, grows, shrinks and deletes, as much as there is room
/// for.
pub fn work(root: &Path) -> Result<()> {
    let stat = rustix::fs::statvfs(root)?;
    let free_bytes = stat.f_bavail * stat.f_frsize;
    let few = stat.f_favail < 80 || free_bytes < 256 << 10;
    let dir = root.join("worked here");
    if stat.f_favail < 4 || stat.f_bavail < 8 {
        // The last inode may be taken, and a full directory needs a block more.
        return match fs::write(root.join("one more"), b"") {
            Err(error) if error.kind() != std::io::ErrorKind::StorageFull => Err(error.into()),
            _ => Ok(()),
        };
    }
    fs::create_dir(&dir)?;
    let mut large = File::create(dir.join("large"))?;
    let len = usize::try_from((free_bytes / 8).min(1 << 20))?;
    large.write_all(&vec![0x5a; len])?;
    large.sync_all()?;
    fs::hard_link(dir.join("large"), dir.join("linked"))?;
    fs::rename(dir.join("large"), root.join("moved"))?;
    large.set_len(len as u64 / 2 + 13)?;
    if few {
        return Ok(());
    }
    symlink("t".repeat(300), dir.join("symlink"))?;
    for number in 0..60 {
        let path = dir.join(format!("a name of some length, number {number}"));
        fs::write(&path, format!("content {number}"))?;
        if number % 3 == 0 {
            fs::remove_file(path)?;
        }
    }
    large.write_all_at(b"far", 40 << 20)?;
    let named = dir.join("attributed");
    fs::write(&named, b"attributed")?;
    xattr(&named, "user.short", b"value")?;
    xattr(&named, "user.long", &[b'v'; 500])?;
    Ok(())
}

fn work_by_debugfs(image: &Path) -> Result<()> {
    let mut source = tempfile::NamedTempFile::new()?;
    source.write_all(&[0x5a; 100_000])?;
    let write = format!("write {} worked/file", source.path().display());
    debugfs::write(
        image,
        &[
            "mkdir worked",
            &write,
            "mkdir worked/deeper",
            "symlink worked/link target",
            "ln worked/file worked/second",
            "sif worked/file links_count 2",
            "rm worked/link",
            "rmdir worked/deeper",
        ],
    )
}

/// The manifest of what the kernel shows of an image, mounted read-only.
pub fn kernel_manifest(image: &Path, dir: &Path, depth: manifest::Depth) -> Result<Manifest> {
    let mount = KernelMount::read_only(image, dir)?;
    let manifest = Manifest::with_depth(mount.path(), depth)?;
    mount.unmount()?;
    Ok(manifest)
}

/// debugfs takes out of an image, whose blocks the kernel cannot mount, what the
/// source holds: names, content, targets; of directories and files the owners.
pub fn debugfs_shows(image: &Path, expected: &Manifest, dumped: &Path) -> Result<()> {
    fs::create_dir(dumped)?;
    let request = format!("rdump / {}", dumped.display());
    let output = tool::output(
        "debugfs",
        &["-R".as_ref(), request.as_ref(), image.as_os_str()],
    )?;
    ensure!(output.status.success(), "rdump: {}", tool::failure(&output));
    let mut seen = Manifest::of(dumped)?.without_path("./lost+found");
    seen = seen.without_path("./worked");
    let mut wanted = expected.clone();
    for tree in [&mut seen, &mut wanted] {
        for facts in tree.files.values_mut() {
            // chown(2) after chmod(2) loses these, and links get no owner.
            if facts.get("type").is_some_and(|kind| kind == "Symlink") {
                facts.retain(|fact, _| !["uid", "gid"].contains(&fact.as_str()));
            }
            if let Some(mode) = facts.get_mut("mode") {
                *mode = format!("{:0>3}", mode.as_str());
                mode.drain(..mode.len() - 3);
            }
        }
        *tree = std::mem::take(tree)
            .keep(&["type", "mode", "uid", "gid", "hash", "size", "target"])
            .without_in_directories(&["size"])
            .without_path("./times")
            .without_at(".", &["*"]);
        // No devices, fifos and sockets are taken out.
        tree.files.retain(|_, facts| {
            let kind = facts.get("type").map_or("Directory", String::as_str);
            ["RegularFile", "Directory", "Symlink"].contains(&kind)
        });
    }
    wanted.assert_same(&seen, "the source", "debugfs")
}
