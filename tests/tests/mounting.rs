//! How mounting behaves: silence, refusals, users, locks, signals, partitions.

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use system_tests::guards::{
    ChildGuard, FuseMount, Server, is_mounted, mount_options, mount_type, wait_until,
};
use system_tests::manifest::Manifest;
use system_tests::scratch::Scratch;
use system_tests::skip::{self, Need};
use system_tests::{patch, program, sys, tool, trees};

const NOBODY: u32 = 65_534;

/// A small image with the ordinary tree.
fn image(scratch: &Scratch) -> Result<PathBuf> {
    let source = scratch.make_dir("source")?;
    trees::base(&source, 0x40, true)?;
    let text = source.to_string_lossy().into_owned();
    scratch.mke2fs("image", 32 << 20, &["-b", "4096", "-d", &text])
}

fn mount(image: &Path, dir: &Path, options: &str) -> Result<FuseMount> {
    FuseMount::with(Server::Extmap, image, dir, options)
}

/// `extmap mount` with `options` is refused in one sentence, which is returned.
fn refused(image: &Path, dir: &Path, options: &str) -> Result<String> {
    std::fs::create_dir_all(dir)?;
    let mut args: Vec<&OsStr> = vec!["mount".as_ref()];
    if !options.is_empty() {
        args.extend([OsStr::new("-o"), options.as_ref()]);
    }
    args.extend([image.as_os_str(), dir.as_os_str()]);
    let ended = program::extmap(args)?;
    let guard = FuseMount::adopt(image, dir);
    let said = ended.refusal()?.to_owned();
    ensure!(!is_mounted(dir), "refused, but mounted");
    drop(guard);
    Ok(said)
}

macro_rules! needs {
    ($needs:expr) => {
        if !skip::allowed(skip::MOUNTS) || !skip::allowed($needs) {
            return Ok(());
        }
    };
}

#[test]
fn silent_read_only_and_answering() -> Result<()> {
    needs!(&[]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    for options in ["", "ro", "ro,nosuid,nodev,noatime"] {
        let mount = mount(&image, &scratch.path("dir"), options)?;
        let names = std::fs::read_dir(mount.path())?.count();
        ensure!(names > 5, "{names} names right after the mount");
        let listed = mount_options(mount.path()).context("mount table")?;
        ensure!(listed.split(',').any(|option| option == "ro"), "{listed}");
        ensure!(
            mount_type(mount.path()).as_deref() == Some("fuse.extmap"),
            "type"
        );
        mount.unmount()?;
    }
    Ok(())
}

#[test]
fn whatever_writes_gets_erofs() -> Result<()> {
    needs!(&[]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    let mount = mount(&image, &scratch.path("dir"), "")?;
    let root = mount.path();
    let file = root.join("sizes/0004096");
    let new = root.join("new");
    let mode = std::fs::Permissions::from_mode(0o600);
    let errno = |error: Errno| std::io::Error::from_raw_os_error(error.raw_os_error());
    let any = |error: anyhow::Error| match error.downcast_ref::<Errno>() {
        Some(&error) => errno(error),
        None => std::io::Error::other(error),
    };
    let outcomes: Vec<(&str, std::io::Result<()>)> = vec![
        ("create", File::create(&new).map(drop)),
        ("mkdir", std::fs::create_dir(&new)),
        ("unlink", std::fs::remove_file(&file)),
        ("rmdir", std::fs::remove_dir(root.join("names/d"))),
        ("rename", std::fs::rename(&file, &new)),
        ("link", std::fs::hard_link(&file, &new)),
        ("symlink", symlink("target", &new)),
        ("mknod", trees::fifo(&new).map_err(any)),
        ("chmod", std::fs::set_permissions(&file, mode)),
        ("chown", chown(&file, Some(1), Some(1))),
        (
            "open for writing",
            OpenOptions::new().write(true).open(&file).map(drop),
        ),
        (
            "open for appending",
            OpenOptions::new().append(true).open(&file).map(drop),
        ),
        (
            "setxattr",
            trees::xattr(&file, "user.new", b"1").map_err(any),
        ),
        ("utimes", trees::at_time(&file, (1, 1), (1, 1)).map_err(any)),
        (
            "setflags",
            sys::set_flags(File::open(&file)?, 0x40).map_err(errno),
        ),
    ];
    for (name, outcome) in outcomes {
        let code = outcome.err().and_then(|error| error.raw_os_error());
        ensure!(code == Some(Errno::ROFS.raw_os_error()), "{name}: {code:?}");
    }
    mount.unmount()
}

#[test]
fn unknown_options_are_refused_by_name() -> Result<()> {
    needs!(&[]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    for option in ["frobnicate", "frobnicate=7", "ro,frobnicate", "ofset=7"] {
        let said = refused(&image, &scratch.path("dir"), option)?;
        let name = option
            .trim_start_matches("ro,")
            .split('=')
            .next()
            .unwrap_or(option);
        ensure!(said.contains(name), "{option}: {said}");
    }
    for option in [
        "offset=x",
        "offset=-1",
        "partition=0",
        "sb=0",
        "uid=x",
        "umask=9",
        "threads=0",
        "cache=x",
    ] {
        refused(&image, &scratch.path("dir"), option).with_context(|| option.to_owned())?;
    }
    Ok(())
}

#[test]
fn bad_mount_points_are_refused() -> Result<()> {
    needs!(&[]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    let file = scratch.file("file", b"")?;
    for place in [file, scratch.path("missing")] {
        let ended = program::extmap([OsStr::new("mount"), image.as_ref(), place.as_ref()])?;
        ended.refusal()?;
    }
    let ended = program::extmap([OsStr::new("umount"), scratch.path("source").as_ref()])?;
    ended.refusal().context("umount of what is not mounted")?;
    Ok(())
}

#[test]
fn umount_waits_for_the_server() -> Result<()> {
    needs!(&[]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    for _ in 0..10 {
        let mount = mount(&image, &scratch.path("dir"), "")?;
        Manifest::of(&mount.path().join("names"))?;
        ensure!(mount.pid().is_some(), "the server was not found");
        let file = File::open(&image)?;
        let held = flock(&file, FlockOperation::NonBlockingLockExclusive);
        ensure!(held.is_err(), "a mounted image is not locked");
        // Checks that the process is gone, at once.
        mount.unmount()?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).context("still locked")?;
        flock(&file, FlockOperation::Unlock)?;
    }
    Ok(())
}

#[test]
fn two_mounts_of_one_image() -> Result<()> {
    needs!(&[]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    let one = mount(&image, &scratch.path("one"), "")?;
    let two = mount(&image, &scratch.path("two"), "")?;
    let first = Manifest::of(one.path())?;
    first.assert_same(&Manifest::of(two.path())?, "one", "two")?;
    one.unmount()?;
    first.assert_same(&Manifest::of(two.path())?, "one", "two, alone")?;
    two.unmount()
}

#[test]
fn an_image_in_exclusive_use_is_refused() -> Result<()> {
    needs!(&[]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    let file = File::open(&image)?;
    flock(&file, FlockOperation::LockExclusive)?;
    let said = refused(&image, &scratch.path("dir"), "")?;
    let clear = ["lock", "use", "busy"]
        .iter()
        .any(|word| said.contains(word));
    ensure!(clear, "{said}");
    drop(file);
    mount(&image, &scratch.path("dir"), "")?.unmount()
}

#[test]
fn owners_and_modes_by_option() -> Result<()> {
    needs!(&[]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    let mount = mount(&image, &scratch.path("dir"), "uid=1234,gid=5678,umask=027")?;
    let tree = Manifest::of(mount.path())?;
    for (path, facts) in &tree.files {
        let is = |name: &str, value: &str| facts.get(name).is_some_and(|fact| fact == value);
        ensure!(
            is("uid", "1234") && is("gid", "5678"),
            "{path:?}: {facts:?}"
        );
        if !is("type", "Symlink") {
            let mode = facts.get("mode").context("mode")?;
            let mode = u32::from_str_radix(mode, 8)?;
            ensure!(mode & 0o027 == 0, "{path:?}: {mode:o}");
        }
    }
    let open = std::fs::metadata(mount.path().join("modes/0777"))?;
    ensure!(open.mode() & 0o777 == 0o750, "{:o}", open.mode());
    mount.unmount()
}

/// Runs a command as nobody.
fn as_nobody(command: &[&OsStr]) -> Result<program::Ended> {
    let mut args: Vec<&OsStr> = ["--reuid=65534", "--regid=65534", "--clear-groups"]
        .map(OsStr::new)
        .to_vec();
    args.extend(command);
    program::run("setpriv".as_ref(), args, program::TIMEOUT)
}

/// The program where everybody can run it.
fn public_program(scratch: &Scratch) -> Result<PathBuf> {
    let dir = scratch.make_dir("bin")?;
    let copy = dir.join("extmap");
    std::fs::copy(program::extmap_path()?, &copy)?;
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}

/// Runs a script in a mount namespace of its own, where it may change what is
/// found at system paths without anybody noticing.
fn in_namespace(script: &str) -> Result<String> {
    let args = ["-m", "sh", "-euc", script];
    let ended = program::run("unshare".as_ref(), args, program::TIMEOUT)?;
    ensure!(ended.success(), "{script}\n{ended}");
    Ok(ended.text())
}

#[test]
fn a_plain_user_mounts_and_unmounts() -> Result<()> {
    needs!(&[
        Need::Tool("fusermount3"),
        Need::Tool("setpriv"),
        Need::Tool("unshare")
    ]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    let program = public_program(&scratch)?;
    let dir = scratch.make_dir("dir")?;
    chown(&dir, Some(NOBODY), Some(NOBODY))?;
    std::fs::set_permissions(&image, std::fs::Permissions::from_mode(0o644))?;
    // udev makes /dev/fuse usable for everybody; a bare machine may not have.
    let node = scratch.path("fuse");
    trees::device(&node, rustix::fs::FileType::CharacterDevice, 10, 229)?;
    std::fs::set_permissions(&node, std::fs::Permissions::from_mode(0o666))?;
    let (program, image) = (program.display(), image.display());
    let (node, place) = (node.display(), dir.display());
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let shown = in_namespace(&format!(
        "mount --bind {node} /dev/fuse
         {nobody} {program} mount {image} {place}
         grep ' {place} ' /proc/self/mounts
         {nobody} sha256sum {place}/sizes/0000161
         {nobody} {program} umount {place}
         ! grep ' {place} ' /proc/self/mounts"
    ))?;
    let source = scratch.path("source/sizes/0000161");
    let summed = tool::run("sha256sum", &[source.as_os_str()])?;
    let sum = summed.split_whitespace().next().unwrap_or_default();
    ensure!(!sum.is_empty() && shown.contains(sum), "{shown}");
    for option in ["fuse.extmap", "nosuid", "nodev", "user_id=65534"] {
        ensure!(shown.contains(option), "{option}: {shown}");
    }
    Ok(())
}

/// An ordinary user makes an image, works in it, and unmounts by either way. It is theirs
/// alone: they may give files to others.
#[test]
fn a_plain_user_writes() -> Result<()> {
    needs!(&[
        Need::Tool("fusermount3"),
        Need::Tool("setpriv"),
        Need::Tool("unshare"),
        Need::Tool("e2fsck")
    ]);
    let scratch = Scratch::new()?;
    let program = public_program(&scratch)?;
    let home = scratch.make_dir("home")?;
    let dir = scratch.make_dir("home/dir")?;
    for path in [&home, &dir] {
        chown(path, Some(NOBODY), Some(NOBODY))?;
    }
    let node = scratch.path("fuse");
    trees::device(&node, rustix::fs::FileType::CharacterDevice, 10, 229)?;
    std::fs::set_permissions(&node, std::fs::Permissions::from_mode(0o666))?;
    let image = home.join("image");
    let (program, image, node, place) = (
        program.display(),
        image.display(),
        node.display(),
        dir.display(),
    );
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let shown = in_namespace(&format!(
        "PATH=$PATH:/usr/sbin:/sbin
         mount --bind {node} /dev/fuse
         {nobody} {program} mount --create 64M {image} {place}
         {nobody} sh -euc 'cd {place}; mkdir a; umask 027; echo content > a/b; ln a/b a/c
             ln -s b a/d; mkfifo a/e; chmod 4750 a/b; touch -d @1 a/c; sync a/b
             ! mknod a/f c 1 3; chown 0:5 a/b; head -c 90000000 /dev/zero > a/g || :; rm a/g
             stat -c %u:%g:%a:%h:%Y a/b'
         {nobody} {program} status {place} | grep writing
         {nobody} {program} umount {place}
         e2fsck -fn {image}
         {nobody} {program} mount {image} {place}
         {nobody} sh -euc 'cat {place}/a/d; echo more > {place}/a/h'
         {nobody} fusermount3 -u {place}
         # The server ends by itself; nobody else can open the image before that.
         until {nobody} {program} ls {image} /a; do sleep 0.1; done
         e2fsck -fn {image}"
    ))?;
    for line in ["0:5:750:2:1", "for writing, type fuse", "content", "\nh\n"] {
        ensure!(shown.contains(line), "{line:?} is missing: {shown}");
    }
    Ok(())
}

#[test]
fn others_see_it_only_if_allowed() -> Result<()> {
    needs!(&[Need::Tool("setpriv")]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    let dir = scratch.path("dir");
    let list = || as_nobody(&["ls".as_ref(), dir.as_ref()]);
    let closed = mount(&image, &dir, "")?;
    ensure!(!list()?.success(), "nobody sees root's private mount");
    closed.unmount()?;
    let open = mount(&image, &dir, "allow_other,default_permissions")?;
    let listed = list()?;
    ensure!(
        listed.success() && listed.text().contains("sizes"),
        "{listed}"
    );
    let secret = as_nobody(&["cat".as_ref(), dir.join("modes/0400").as_ref()])?;
    ensure!(
        !secret.success(),
        "nobody reads a file of mode 0400 of root"
    );
    let public = as_nobody(&["cat".as_ref(), dir.join("modes/0644").as_ref()])?;
    ensure!(public.success(), "{public}");
    open.unmount()
}

/// mount(8) clears PATH: the program has to lie where sh looks by itself.
#[test]
fn mount_8_and_fstab() -> Result<()> {
    needs!(&[Need::Tool("mount.fuse3"), Need::Tool("unshare")]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    let program = public_program(&scratch)?;
    let bin = program.parent().context("bin")?;
    let dir = scratch.make_dir("dir")?;
    let (image, place) = (image.display(), dir.display());
    let table = format!("{image} {place} fuse.extmap ro,noauto,nodev,allow_other 0 0\n");
    let table = scratch.file("fstab", table.as_bytes())?;
    for arguments in [
        format!("-t fuse.extmap {image} {place}"),
        format!("-t fuse.extmap -o ro,nosuid,nodev {image} {place}"),
        format!("-T {} {place}", table.display()),
    ] {
        let shown = in_namespace(&format!(
            "mount --bind {} /usr/local/bin
             mount {arguments}
             grep ' {place} ' /proc/self/mounts
             ls {place}
             umount {place}",
            bin.display()
        ))?;
        // For writing as root it is on a block device.
        let types = [" fuse.extmap ", " fuseblk.extmap "];
        ensure!(
            types.iter().any(|fs_type| shown.contains(fs_type)),
            "{shown}"
        );
        ensure!(shown.contains("sizes"), "{shown}");
    }
    Ok(())
}

fn terminate(pid: u32) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("pid")?;
    Ok(rustix::process::kill_process(
        pid,
        rustix::process::Signal::TERM,
    )?)
}

#[test]
fn sigterm_unmounts() -> Result<()> {
    needs!(&[]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    let mount = mount(&image, &scratch.path("dir"), "")?;
    let pid = mount.pid().context("the server was not found")?;
    terminate(pid)?;
    let gone = wait_until(Duration::from_secs(10), || {
        !is_mounted(mount.path()) && !system_tests::guards::pid_alive(pid)
    });
    ensure!(gone, "mounted {}", is_mounted(mount.path()));
    Ok(())
}

/// A signal made the server unmount whatever was on top at its directory: a
/// tmpfs mounted over it was lost with its files.
#[test]
fn sigterm_leaves_other_mounts_alone() -> Result<()> {
    needs!(&[Need::Root]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    let mount = mount(&image, &scratch.path("dir"), "")?;
    let pid = mount.pid().context("the server was not found")?;
    tool::run(
        "mount",
        &[
            OsStr::new("-t"),
            "tmpfs".as_ref(),
            "none".as_ref(),
            mount.path().as_ref(),
        ],
    )?;
    let precious = mount.path().join("precious");
    std::fs::write(&precious, "data")?;
    terminate(pid)?;
    std::thread::sleep(Duration::from_millis(300));
    let kept = std::fs::read(&precious);
    tool::run("umount", &[mount.path()])?;
    ensure!(kept? == b"data", "the file on the other mount is gone");
    ensure!(is_mounted(mount.path()), "what was beneath is gone, too");
    mount.unmount()
}

/// Nobody may execute a file without execute permission, so access(2) must not
/// say that they may.
#[test]
fn only_executables_are_executable() -> Result<()> {
    needs!(&[]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    let mount = mount(&image, &scratch.path("dir"), "")?;
    let may_execute =
        |name: &str| rustix::fs::access(mount.path().join(name), rustix::fs::Access::EXEC_OK);
    ensure!(may_execute("modes/0644") == Err(Errno::ACCESS), "0644");
    ensure!(may_execute("modes/0777").is_ok(), "0777");
    ensure!(may_execute("modes").is_ok(), "a directory");
    mount.unmount()
}

/// After a server was killed the directory says so, and what to do.
#[test]
fn a_dead_mount_is_named() -> Result<()> {
    needs!(&[Need::Root]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    let mount = mount(&image, &scratch.path("dir"), "")?;
    let pid = mount.pid().context("the server was not found")?;
    let raw = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(raw.context("pid")?, rustix::process::Signal::KILL)?;
    ensure!(
        wait_until(
            Duration::from_secs(10),
            || !system_tests::guards::pid_alive(pid)
        ),
        "still alive"
    );
    let args = [OsStr::new("mount"), image.as_ref(), mount.path().as_ref()];
    let again = || program::extmap(args.iter().map(|arg| arg as &dyn AsRef<OsStr>));
    let mut said = String::new();
    // Its first thread is gone; the last one takes the lock of the image with it.
    let is_named = wait_until(Duration::from_secs(10), || {
        said = again().map_or_else(|error| error.to_string(), |ran| ran.to_string());
        said.contains("a server died here")
    });
    ensure!(is_named, "{said}");
    Ok(())
}

#[test]
fn in_the_foreground() -> Result<()> {
    needs!(&[]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    let dir = scratch.make_dir("dir")?;
    let child = Command::new(program::extmap_path()?)
        .args([
            OsStr::new("mount"),
            "--foreground".as_ref(),
            image.as_ref(),
            dir.as_ref(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut child = ChildGuard(child);
    ensure!(
        wait_until(program::TIMEOUT, || is_mounted(&dir)),
        "not mounted"
    );
    let guard = FuseMount::adopt(&image, &dir);
    ensure!(dir.join("sizes").is_dir(), "no tree");
    ensure!(child.0.try_wait()?.is_none(), "went to the background");
    terminate(child.0.id())?;
    ensure!(
        wait_until(program::TIMEOUT, || matches!(
            child.0.try_wait(),
            Ok(Some(_))
        )),
        "lives on"
    );
    ensure!(!is_mounted(&dir), "still mounted");
    drop(guard);
    Ok(())
}

/// A disk with an image in its second partition (and, MBR, in a logical one).
fn disk(scratch: &Scratch, script: &str, image: &Path, at_sector: u64) -> Result<PathBuf> {
    let disk = scratch.sparse("disk", 96 << 20)?;
    let script = scratch.file("script", script.as_bytes())?;
    let command = format!("sfdisk -q {} < {}", disk.display(), script.display());
    tool::run("sh", &["-c", &command])?;
    patch::write(&disk, at_sector * 512, &std::fs::read(image)?)?;
    Ok(disk)
}

fn on_disk(script: &str, sector: u64, number: u32) -> Result<()> {
    needs!(&[Need::Tool("sfdisk")]);
    let scratch = Scratch::new()?;
    let image = image(&scratch)?;
    let plain = mount(&image, &scratch.path("plain"), "")?;
    let wanted = Manifest::of(plain.path())?;
    plain.unmount()?;
    let disk = disk(&scratch, script, &image, sector)?;
    for options in [
        format!("partition={number}"),
        format!("offset={}", sector * 512),
    ] {
        let mount = mount(&disk, &scratch.path("dir"), &options)?;
        let seen = Manifest::of(mount.path())?;
        mount.unmount()?;
        wanted.assert_same(&seen, "the image", &options)?;
    }
    for (option, value) in [
        ("--partition", number.to_string()),
        ("--offset", (sector * 512).to_string()),
    ] {
        let listed = program::extmap([
            OsStr::new("ls"),
            option.as_ref(),
            value.as_ref(),
            disk.as_ref(),
            "/".as_ref(),
        ])?;
        ensure!(
            listed.success() && listed.text().contains("sizes"),
            "{listed}"
        );
    }
    refused(&disk, &scratch.path("dir"), "partition=9").context("a partition that is not there")?;
    refused(&disk, &scratch.path("dir"), "").context("a whole disk is no ext4")?;
    refused(&disk, &scratch.path("dir"), "partition=1").context("a partition without ext4")?;
    Ok(())
}

#[test]
fn gpt_disk() -> Result<()> {
    on_disk(
        "label: gpt\nstart=2048, size=4096\nstart=8192, size=65536\n",
        8192,
        2,
    )
}

#[test]
fn mbr_disk() -> Result<()> {
    on_disk(
        "label: dos\nstart=2048, size=4096\nstart=8192, size=65536, type=83\n",
        8192,
        2,
    )
}

#[test]
fn mbr_logical_partition() -> Result<()> {
    let script = "label: dos\nstart=2048, size=4096\nstart=8192, size=131072, type=5\n\
                  start=10240, size=2048\nstart=16384, size=65536, type=83\n";
    on_disk(script, 16_384, 6)
}
