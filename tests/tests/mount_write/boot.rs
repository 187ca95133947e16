//! How the system calls the program: mount(8)'s helper, and the unit template for a boot.

use anyhow::{Result, ensure};
use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::Path;
use system_tests::guards::{FuseMount, is_mounted, mount_options};
use system_tests::mkfs::judge::fsck;
use system_tests::program;
use system_tests::scratch::Scratch;
use system_tests::{skip, tool};

/// mount(8) runs the helper with these, whether they are needed or not.
#[test]
fn the_helper_of_mount_takes_what_it_is_given() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 32 << 20, &[])?;
    let dir = scratch.make_dir("dir")?;
    for name in ["mount.extmap", "mount.fuse.extmap"] {
        let helper = scratch.path(name);
        symlink(program::extmap_path()?, &helper)?;
        let call = |options: &str, flags: &[&str]| {
            let mut args: Vec<&OsStr> = vec![image.as_ref(), dir.as_ref()];
            args.extend(flags.iter().map(OsStr::new));
            args.extend([OsStr::new("-o"), options.as_ref()]);
            program::run(helper.as_os_str(), args, program::TIMEOUT)
        };
        let fake = call("rw", &["-f", "-n"])?;
        ensure!(fake.success() && !is_mounted(&dir), "-f: {fake}");
        let unknown = call("rw,unheard=of", &["-n"])?;
        ensure!(unknown.refusal()?.contains("unheard"), "{unknown}");
        ensure!(!is_mounted(&dir), "mounted all the same");
        let options = "rw,noatime,nofail,x-systemd.automount,x-gvfs-show,unheard=of";
        let ended = call(options, &["-n", "-s", "-v"])?;
        ensure!(ended.success(), "{ended}");
        let mount = FuseMount::adopt(&image, &dir);
        let shown = mount_options(&dir).unwrap_or_default();
        let shown: Vec<_> = shown.split(',').collect();
        ensure!(
            shown.contains(&"rw") && shown.contains(&"noatime"),
            "{shown:?}"
        );
        std::fs::write(dir.join(name), b"x")?;
        mount.unmount()?;
        fsck(&image)?;
    }
    Ok(())
}

#[test]
fn the_unit_template_is_one() -> Result<()> {
    if !skip::allowed(&[skip::Need::Tool("systemd-analyze")]) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/extmap@.service");
    let program = program::extmap_path()?.display().to_string();
    let unit = std::fs::read_to_string(template)?.replace("/usr/bin/extmap", &program);
    let path = scratch.file("extmap@srv-data.service", unit.as_bytes())?;
    let judged = tool::output(
        "systemd-analyze",
        &["verify".as_ref(), "--man=no".as_ref(), path.as_os_str()],
    )?;
    let said = String::from_utf8_lossy(&judged.stderr).into_owned();
    ensure!(judged.status.success(), "{}", tool::failure(&judged));
    ensure!(!said.contains("extmap@"), "{said}");
    Ok(())
}
