//! Extended attributes too large for an inode, a block, or anything.

use super::*;

/// An archive with one attribute of each of these lengths, each in a file of
/// its own, and two files with the same long value.
fn packed(scratch: &Scratch, lens: &[usize]) -> Result<PathBuf> {
    let mut members = Vec::new();
    for &len in lens {
        let value = Rng::new(len as u64).bytes(len);
        for name in ["once", "again"] {
            let file = Member::file(&format!("{len} {name}"), b"attributed");
            members.push(file.with_pax("SCHILY.xattr.user.large", &value));
        }
    }
    scratch.file("archive", &archive::archive(&members))
}

fn check(options: &[&str], lens: &[usize]) -> Result<()> {
    if !allowed() || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let packed = packed(&scratch, lens)?;
    let image = scratch.path("image");
    let call = Mkfs::under_test().args(options).filled_from(&packed);
    call.arg(&image).arg("16M").make()?;
    judge::live_with(&image, &scratch.path("mounted"), |root| {
        for &len in lens {
            for name in ["once", "again"] {
                let path = root.join(format!("{len} {name}"));
                let mut value = vec![0; 70_000];
                let got = rustix::fs::lgetxattr(&path, "user.large", &mut value[..])
                    .with_context(|| format!("{len} bytes"))?;
                let wanted = Rng::new(len as u64).bytes(len);
                ensure!(value[..got] == wanted, "{len} bytes differ");
            }
        }
        Ok(())
    })
    .map(drop)
}

#[test]
fn in_a_block() -> Result<()> {
    check(&["-b", "4096"], &[0, 1, 60, 100, 500, 3900])
}

#[test]
fn in_large_inodes() -> Result<()> {
    check(&["-b", "4096", "-I", "1024"], &[0, 1, 500, 700, 850, 3900])
}

#[test]
fn in_inodes_of_their_own() -> Result<()> {
    let lens = [1, 100, 3900, 4096, 5000, 30_000, 65_000];
    check(&["-b", "4096", "-O", "ea_inode"], &lens)
}

#[test]
fn in_inodes_of_their_own_1k() -> Result<()> {
    let lens = [1, 100, 900, 1024, 2000, 30_000];
    check(&["-b", "1024", "-O", "ea_inode,inline_data"], &lens)
}

#[test]
fn too_large() -> Result<()> {
    if !allowed() || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let packed = packed(&scratch, &[5000])?;
    let image = scratch.path("image");
    let call = Mkfs::under_test().filled_from(&packed);
    refusal::refused(call.arg(&image).arg("16M"), &image, &["5000 ", "ea_inode"]).map(drop)
}
