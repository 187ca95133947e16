//! An ordinary tree: what a root file system's image is made of.

use super::make::{acl, at_time, device, fifo, xattr};
use crate::rng::Rng;
use anyhow::Result;
use rustix::fs::FileType;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

/// Sizes around every limit of the format: inline data, blocks, the twelve
/// direct blocks, one and two levels of indirection with 1 KiB blocks.
const SIZES_BYTES: &[usize] = &[
    0, 1, 59, 60, 61, 92, 93, 128, 131, 156, 157, 160, 161, 511, 1023, 1024, 1025, 2048, 4095,
    4096, 4097, 12_287, 12_288, 12_289, 49_151, 49_153, 65_536, 65_537, 274_432, 274_433, 700_001,
];

/// Fills `root`. Without root's rights (`privileged` false) owners, devices and
/// attributes beyond `user.` are left out.
pub fn base(root: &Path, seed: u64, privileged: bool) -> Result<()> {
    let mut rng = Rng::new(seed);
    sizes(&root.join("sizes"), &mut rng)?;
    names(&root.join("names"), &mut rng)?;
    nested(&root.join("nested"), &mut rng)?;
    links(root)?;
    modes(&root.join("modes"), &mut rng)?;
    attributes(&root.join("attributes"), privileged)?;
    if privileged {
        owners(&root.join("owners"))?;
        nodes(&root.join("nodes"))?;
    }
    stamp(root, &mut rng)
}

fn sizes(dir: &Path, rng: &mut Rng) -> Result<()> {
    std::fs::create_dir(dir)?;
    for &len in SIZES_BYTES {
        std::fs::write(dir.join(format!("{len:07}")), rng.bytes(len))?;
    }
    Ok(())
}

fn names(dir: &Path, rng: &mut Rng) -> Result<()> {
    std::fs::create_dir(dir)?;
    let odd: [&[u8]; 10] = [
        b"with space",
        b"new\nline",
        b"\xff\xfe\x80 not utf-8",
        "\u{e4}\u{f6}\u{fc} \u{6f22}\u{5b57}".as_bytes(),
        b"...",
        b"-n",
        b"back\\slash",
        b"\x01\x02\x7f",
        b"lost+found",
        &[b'n'; 255],
    ];
    for name in odd {
        std::fs::write(dir.join(OsStr::from_bytes(name)), name)?;
    }
    for len in [1usize, 2, 3, 4, 5, 8, 100, 254] {
        std::fs::create_dir(dir.join("d".repeat(len)))?;
    }
    for number in 0..150u64 {
        let len = usize::try_from(rng.below(60)).unwrap_or(0);
        std::fs::write(dir.join(format!("f{number}-{}", "x".repeat(len))), b"")?;
    }
    Ok(())
}

fn nested(dir: &Path, rng: &mut Rng) -> Result<()> {
    let mut path = dir.to_path_buf();
    for depth in 0..24u64 {
        std::fs::create_dir(&path)?;
        let len = usize::try_from(rng.below(9000)).unwrap_or(0);
        std::fs::write(path.join("file"), rng.bytes(len))?;
        path.push(format!("{depth}"));
    }
    Ok(())
}

fn links(root: &Path) -> Result<()> {
    let dir = root.join("links");
    std::fs::create_dir(&dir)?;
    std::fs::write(dir.join("one"), b"three names")?;
    std::fs::hard_link(dir.join("one"), dir.join("two"))?;
    std::fs::hard_link(dir.join("one"), root.join("three"))?;
    symlink("one", dir.join("fast"))?;
    symlink("../links/nothing", dir.join("dangling"))?;
    symlink("self", dir.join("self"))?;
    for len in [58usize, 59, 60, 61, 200, 1000] {
        symlink("t".repeat(len), dir.join(format!("length {len}")))?;
    }
    symlink(OsStr::from_bytes(b"\xc3\x28"), dir.join("not utf-8"))?;
    Ok(())
}

fn modes(dir: &Path, rng: &mut Rng) -> Result<()> {
    std::fs::create_dir(dir)?;
    for mode in [
        0o000, 0o400, 0o644, 0o777, 0o1777, 0o2755, 0o4755, 0o6711, 0o7777,
    ] {
        let path = dir.join(format!("{mode:04o}"));
        std::fs::write(&path, rng.bytes(10))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
    }
    let sticky = dir.join("sticky");
    std::fs::create_dir(&sticky)?;
    std::fs::set_permissions(&sticky, std::fs::Permissions::from_mode(0o3777))?;
    Ok(())
}

fn attributes(dir: &Path, privileged: bool) -> Result<()> {
    std::fs::create_dir(dir)?;
    let file = |name: &str| -> Result<std::path::PathBuf> {
        let path = dir.join(name);
        std::fs::write(&path, name)?;
        Ok(path)
    };
    xattr(&file("short")?, "user.a", b"b")?;
    xattr(&file("empty value")?, "user.empty", b"")?;
    xattr(&file("binary")?, "user.binary", b"\0\xff\n\0")?;
    let several = file("several")?;
    for number in 0..9 {
        xattr(&several, &format!("user.number {number}"), &[b'v'; 33])?;
    }
    xattr(&file("long")?, "user.long", &[b'L'; 600])?;
    xattr(
        &file("long name")?,
        &format!("user.{}", "n".repeat(200)),
        b"1",
    )?;
    xattr(dir, "user.on a directory", b"yes")?;
    acl(&file("acl")?, "system.posix_acl_access", 33, 44)?;
    let inherited = dir.join("default acl");
    std::fs::create_dir(&inherited)?;
    acl(&inherited, "system.posix_acl_default", 1000, 100_000)?;
    acl(&inherited, "system.posix_acl_access", 70_000, 5)?;
    if privileged {
        // cap_net_raw+ep, revision 2.
        let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        xattr(&file("capable")?, "security.capability", &capability)?;
        xattr(&file("trusted")?, "trusted.overlay.opaque", b"y")?;
    }
    Ok(())
}

fn owners(dir: &Path) -> Result<()> {
    std::fs::create_dir(dir)?;
    for id in [1u32, 1000, 65_534, 65_535, 65_536, 0x1234_5678, 0xffff_fffe] {
        let path = dir.join(format!("{id}"));
        std::fs::write(&path, b"owned")?;
        lchown(&path, Some(id), Some(id ^ 1))?;
    }
    symlink("1", dir.join("link"))?;
    lchown(dir.join("link"), Some(77), Some(88))?;
    Ok(())
}

fn nodes(dir: &Path) -> Result<()> {
    std::fs::create_dir(dir)?;
    fifo(&dir.join("fifo"))?;
    let devices = [
        (1, 3),
        (8, 0),
        (255, 255),
        (256, 0),
        (7, 256),
        (4095, 1_048_575),
    ];
    for (major, minor) in devices {
        device(
            &dir.join(format!("c{major}-{minor}")),
            FileType::CharacterDevice,
            major,
            minor,
        )?;
        device(
            &dir.join(format!("b{major}-{minor}")),
            FileType::BlockDevice,
            major,
            minor,
        )?;
    }
    Ok(())
}

/// Gives everything directly in the second level times of its own.
fn stamp(root: &Path, rng: &mut Rng) -> Result<()> {
    for name in ["sizes", "modes", "links"] {
        let mut paths: Vec<_> = std::fs::read_dir(root.join(name))?
            .collect::<std::io::Result<Vec<_>>>()?
            .iter()
            .map(std::fs::DirEntry::path)
            .collect();
        paths.sort();
        for path in paths {
            let mut point = || -> Result<(i64, i64)> {
                let nanos = i64::try_from(rng.below(1_000_000_000))?;
                Ok((i64::try_from(rng.below(2_000_000_000))?, nanos))
            };
            at_time(&path, point()?, point()?)?;
        }
    }
    Ok(())
}
