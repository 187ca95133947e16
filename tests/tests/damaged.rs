//! One flipped byte in each kind of checksummed structure: whoever reads it gets
//! EUCLEAN, the rest of the tree stays as it is.

use anyhow::{Context, Result, ensure};
use system_tests::hostile::{BLOCK, Fixture, refused};
use system_tests::patch;
use system_tests::program;
use system_tests::{debugfs, skip};

fn flipped(mke2fs: &[&str], find: impl Fn(&Fixture) -> Result<u64>, victim: &str) -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let fixture = Fixture::new(mke2fs)?;
    let copy = fixture.copy()?;
    patch::flip(&copy, find(&fixture)?)?;
    let seen = fixture.look(&copy)?;
    fixture.only_hurts(&seen, &format!(".{victim}"), "EUCLEAN")?;
    fixture.commands_survive(&copy, victim)
}

#[test]
fn inode() -> Result<()> {
    // A byte of i_ctime_extra: nothing but the checksum can tell.
    flipped(&[], |f| Ok(f.inode_of("/flat")? + 0x84), "/flat")
}

#[test]
fn inode_of_a_directory() -> Result<()> {
    flipped(&[], |f| Ok(f.inode_of("/dir")? + 0x84), "/dir")
}

#[test]
fn inode_attributes() -> Result<()> {
    flipped(&[], |f| Ok(f.inode_of("/in-inode")? + 0xfe), "/in-inode")
}

#[test]
fn extent_block() -> Result<()> {
    flipped(&[], |f| Ok(index_of_deep(f)? + 12 + 8), "/deep")
}

#[test]
fn directory_block() -> Result<()> {
    flipped(&[], |f| Ok(f.block_of("/dir", 0)? + 40), "/dir")
}

#[test]
fn directory_checksum() -> Result<()> {
    flipped(&[], |f| Ok(f.block_of("/dir", 0)? + BLOCK - 2), "/dir")
}

#[test]
fn hash_tree_root() -> Result<()> {
    // The hash of the second entry.
    flipped(&[], |f| Ok(f.block_of("/hashed", 0)? + 0x28), "/hashed")
}

#[test]
fn hashed_leaf() -> Result<()> {
    flipped(&[], |f| Ok(f.block_of("/hashed", 3)? + 20), "/hashed")
}

#[test]
fn attribute_block() -> Result<()> {
    let find = |f: &Fixture| {
        let stat = debugfs::read(&f.image, "stat /attributes")?;
        Ok(debugfs::number_after(&stat, "File ACL:")? * BLOCK + BLOCK - 5)
    };
    flipped(&[], find, "/attributes")
}

/// The first block of the extent tree below `/deep`'s inode.
fn index_of_deep(f: &Fixture) -> Result<u64> {
    let inode = patch::read(&f.image, f.inode_of("/deep")?, 256)?;
    ensure!(patch::half(&inode, 0x28 + 6) > 0, "/deep has no tree");
    Ok(u64::from(patch::word(&inode, 0x28 + 12 + 4)) * BLOCK)
}

#[test]
fn group_descriptor() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let fixture = Fixture::new(&[])?;
    let copy = fixture.copy()?;
    // bg_used_dirs_count of group 0: only the checksum can tell.
    patch::flip(&copy, 2 * BLOCK + 0x10)?;
    // The kernel refuses the whole file system; showing what does not depend on
    // the group would be allowed, a wrong tree is not.
    let dir = fixture.scratch.path("refused");
    if let Err(error) = refused(&copy, &dir, &[]) {
        let seen = fixture.look(&copy).with_context(|| format!("{error:#}"))?;
        ensure!(
            !seen.errors().is_empty(),
            "the damage is not noticed: {error:#}"
        );
    }
    Ok(())
}

/// Bad primary superblock: the sentence names the backups that can be used, and
/// `sb=` uses one. `sb=` counts KiB, as mount(8) does.
fn backup(mke2fs: &[&str], len_bytes: u64, backup_block: u64, block_len: u64) -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = system_tests::scratch::Scratch::new()?;
    let source = scratch.make_dir("source")?;
    system_tests::trees::base(&source, 8, true)?;
    let text = source.to_string_lossy().into_owned();
    let mut args = mke2fs.to_vec();
    args.extend(["-d", &text]);
    let image = scratch.mke2fs("image", len_bytes, &args)?;
    let view = |path: &std::path::Path| system_tests::manifest::Manifest::of(path);
    let kernel = system_tests::guards::KernelMount::read_only(&image, &scratch.path("judge"))?;
    let judged = view(kernel.path())?;
    kernel.unmount()?;
    for damage in [&[0u8; 1024][..], &[0x5a; 1024]] {
        patch::write(&image, patch::SUPERBLOCK, damage)?;
        let kib = backup_block * block_len / 1024;
        for said in refused(&image, &scratch.path("refused"), &[])? {
            ensure!(
                said.contains(&kib.to_string()),
                "{kib} is not named: {said:?}"
            );
        }
        let option = format!("sb={kib}");
        let server = system_tests::guards::Server::Extmap;
        let dir = scratch.path("fuse");
        let mount = system_tests::guards::FuseMount::with(server, &image, &dir, &option)?;
        let seen = view(mount.path())?;
        mount.unmount()?;
        judged.assert_same(&seen, "the kernel", "the mount")?;
        let text = image.to_string_lossy().into_owned();
        let listed = program::extmap(["ls", "--sb", &kib.to_string(), &text, "/"])?;
        ensure!(
            listed.success() && listed.text().contains("sizes"),
            "{listed}"
        );
    }
    Ok(())
}

#[test]
fn superblock_4k() -> Result<()> {
    backup(&["-b", "4096"], 160 << 20, 32_768, 4096)
}

#[test]
fn superblock_1k() -> Result<()> {
    backup(&["-b", "1024"], 24 << 20, 8193, 1024)
}

#[test]
fn superblock_1k_without_checksums() -> Result<()> {
    backup(
        &["-b", "1024", "-O", "^metadata_csum,^64bit"],
        24 << 20,
        8193,
        1024,
    )
}
