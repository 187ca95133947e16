//! What mke2fs has no option for, done by tune2fs, debugfs or on the mounted
//! file system.

use crate::debugfs;
use crate::guards::KernelMount;
use crate::rng::Rng;
use crate::tool;
use crate::trees;
use anyhow::{Context, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

fn tune2fs(image: &Path, args: &[&str]) -> Result<()> {
    let mut all: Vec<&std::ffi::OsStr> = args.iter().map(std::ffi::OsStr::new).collect();
    all.push(image.as_os_str());
    tool::run("tune2fs", &all).map(drop)
}

pub(super) fn hash_legacy(image: &Path) -> Result<()> {
    tune2fs(image, &["-E", "hash_alg=legacy"])
}

pub(super) fn hash_tea(image: &Path) -> Result<()> {
    tune2fs(image, &["-E", "hash_alg=tea"])
}

/// `s_flags`: names are hashed as signed (1) or unsigned (2) characters.
pub(super) fn unsigned(image: &Path) -> Result<()> {
    debugfs::write(image, &["ssv flags 2"])
}

pub(super) fn legacy_unsigned(image: &Path) -> Result<()> {
    hash_legacy(image)?;
    unsigned(image)
}

pub(super) fn tea_unsigned(image: &Path) -> Result<()> {
    hash_tea(image)?;
    unsigned(image)
}

pub(super) fn verity(image: &Path) -> Result<()> {
    tune2fs(image, &["-O", "verity"])
}

pub(super) fn encrypt(image: &Path) -> Result<()> {
    tune2fs(image, &["-O", "encrypt"])
}

pub(super) fn label(image: &Path) -> Result<()> {
    tune2fs(image, &["-L", "sixteen letters!"])
}

/// Project identifiers of all sizes.
pub(super) fn project_ids(image: &Path) -> Result<()> {
    for (path, project) in [
        ("/sizes/0000001", "1"),
        ("/sizes/0004096", "65536"),
        ("/links/one", "4294967280"),
        ("/nested", "77"),
    ] {
        debugfs::write(image, &[&format!("sif {path} projid {project}")])?;
    }
    Ok(())
}

/// Two files, one set of blocks: what `shared_blocks` allows.
pub(super) fn share_blocks(image: &Path) -> Result<()> {
    let original = debugfs::bmap(image, "/original", 0)?;
    // With one extent in the inode, the sixth 32-bit word of i_block is
    // `ee_start_lo`.
    debugfs::write(
        image,
        &[
            &format!("sif /copy block[5] {original}"),
            "feature shared_blocks",
        ],
    )
}

pub(super) fn two_alike(root: &Path) -> Result<()> {
    let bytes = Rng::new(2).bytes(40_960);
    for name in ["original", "copy"] {
        let file = File::create(root.join(name))?;
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
    }
    Ok(())
}

/// 200,000 entries with 1 KiB blocks and long names: three levels of hash tree,
/// which is what `large_dir` is for.
pub(super) fn crowd(root: &Path) -> Result<()> {
    trees::crowd(&root.join("crowd"), 200_000, 180)
}

/// 40,000 extents: with 1 KiB blocks and 84 entries a block, three levels
/// below the inode.
pub(super) fn many_extents(root: &Path) -> Result<()> {
    let file = File::create(root.join("many"))?;
    let mut rng = Rng::new(3);
    for extent in 0..40_000u64 {
        file.write_all_at(&rng.next_u64().to_le_bytes(), extent * 2 * 1024)?;
    }
    // A second one with gaps of all sizes.
    let file = File::create(root.join("uneven"))?;
    let mut at = 0;
    for _ in 0..12_000 {
        at += 1024 * (2 + rng.below(5000));
        let len = usize::try_from(1 + rng.below(5000))?;
        file.write_all_at(&rng.bytes(len), at)?;
    }
    Ok(())
}

/// One file on each level of indirection, dense and sparse.
pub(super) fn indirect(root: &Path) -> Result<()> {
    let mut rng = Rng::new(4);
    std::fs::write(root.join("dense"), rng.bytes(12 << 20))?;
    // 1 KiB blocks, 256 entries a block: single up to 268 KiB, double up to
    // 64 MiB and a bit, triple beyond.
    let single = (12 + 256) * 1024u64;
    let double = single + 65_536 * 1024;
    let triple = double + (256u64 * 65_536) * 1024;
    let file = File::create(root.join("edges"))?;
    for edge in [12 * 1024, single, double, double + 65_536 * 1024, triple] {
        for at in [edge - 2048, edge - 1024, edge, edge + 1024] {
            if at + 8 < triple {
                file.write_all_at(&at.to_le_bytes(), at)?;
            }
        }
    }
    let sparse = File::create(root.join("sparse"))?;
    for _ in 0..3000 {
        let at = rng.below(triple / 2048) * 2048;
        sparse
            .write_all_at(&at.to_le_bytes(), at)
            .context("sparse")?;
    }
    Ok(())
}

/// The blocks of a directory that is not hashed, with names deleted again.
pub(super) fn linear(root: &Path) -> Result<()> {
    let dir = root.join("linear");
    trees::crowd(&dir, 3000, 60)?;
    for (number, name) in trees::crowd_names(3000, 60).enumerate() {
        if number % 5 < 2 {
            std::fs::remove_file(dir.join(name))?;
        }
    }
    Ok(())
}

/// More subdirectories than a link count holds.
pub(super) fn many_links(root: &Path) -> Result<()> {
    let dir = root.join("subdirectories");
    std::fs::create_dir(&dir)?;
    for number in 0..65_010 {
        std::fs::create_dir(dir.join(number.to_string()))?;
    }
    Ok(())
}

/// Mounted once writable and unmounted, so that the kernel's own additions
/// (quota usage, orphan file, MMP) are on the image.
pub(super) fn mounted_once(image: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    KernelMount::new(image, dir.path(), "rw")?.unmount()
}
