//! Kinds of volumes to write to, as mke2fs makes them.

use super::device::Image;
use super::draw::Limits;
use crate::scratch::Scratch;
use anyhow::Result;

/// A kind of volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeKind {
    /// Its name.
    pub name: &'static str,
    /// Options of mke2fs.
    pub mke2fs: &'static [&'static str],
    /// Its size in KiB.
    pub size_kib: u64,
    /// The kernel mounts it.
    pub mounts: bool,
}

const fn kind(name: &'static str, size_kib: u64, mke2fs: &'static [&'static str]) -> VolumeKind {
    VolumeKind {
        name,
        mke2fs,
        size_kib,
        mounts: true,
    }
}

/// All of them.
pub const KINDS: &[VolumeKind] = &[
    kind("ext4 4k", 32 << 10, &["-b", "4096"]),
    kind("ext4 1k", 16 << 10, &["-b", "1024"]),
    kind("ext4 2k", 16 << 10, &["-b", "2048"]),
    VolumeKind {
        mounts: false,
        ..kind("ext4 64k", 144 << 10, &["-b", "65536", "-J", "size=64"])
    },
    kind(
        "no journal",
        16 << 10,
        &["-b", "1024", "-O", "^has_journal"],
    ),
    kind(
        "no journal 4k",
        16 << 10,
        &["-b", "4096", "-O", "^has_journal"],
    ),
    kind("ext3", 16 << 10, &["-t", "ext3", "-b", "1024"]),
    kind("ext3 4k", 32 << 10, &["-t", "ext3", "-b", "4096"]),
    kind("ext2", 16 << 10, &["-t", "ext2", "-b", "1024"]),
    kind("ext2 4k", 16 << 10, &["-t", "ext2", "-b", "4096"]),
    kind(
        "inline_data",
        16 << 10,
        &["-b", "1024", "-O", "inline_data"],
    ),
    kind(
        "inline_data, large inodes",
        32 << 10,
        &["-b", "4096", "-O", "inline_data", "-I", "1024"],
    ),
    kind("ea_inode", 16 << 10, &["-b", "1024", "-O", "ea_inode"]),
    kind(
        "ea_inode, inline_data",
        32 << 10,
        &["-b", "4096", "-O", "ea_inode,inline_data"],
    ),
    kind(
        "no metadata_csum",
        16 << 10,
        &["-b", "1024", "-O", "^metadata_csum"],
    ),
    kind(
        "uninit_bg",
        24 << 10,
        &["-b", "1024", "-O", "^metadata_csum,uninit_bg", "-g", "2048"],
    ),
    kind("no 64bit", 16 << 10, &["-b", "1024", "-O", "^64bit"]),
    kind(
        "no 64bit, no flex_bg",
        24 << 10,
        &["-b", "1024", "-O", "^64bit,^flex_bg", "-g", "4096"],
    ),
    kind(
        "meta_bg",
        24 << 10,
        &["-b", "1024", "-O", "meta_bg,^resize_inode"],
    ),
    kind("large_dir", 16 << 10, &["-b", "1024", "-O", "large_dir"]),
    kind(
        "orphan_file",
        16 << 10,
        &["-b", "1024", "-O", "orphan_file"],
    ),
    kind(
        "fast_commit",
        16 << 10,
        &["-b", "1024", "-O", "fast_commit"],
    ),
    kind(
        "csum_seed",
        16 << 10,
        &["-b", "1024", "-O", "metadata_csum_seed"],
    ),
    kind(
        "no dir_index",
        16 << 10,
        &["-b", "1024", "-O", "^dir_index,^large_dir"],
    ),
    kind("no filetype", 16 << 10, &["-b", "1024", "-O", "^filetype"]),
    kind("inodes of 512", 16 << 10, &["-b", "1024", "-I", "512"]),
    kind("inodes of 128", 16 << 10, &["-b", "1024", "-I", "128"]),
    kind(
        "inodes of 128, ext2",
        16 << 10,
        &["-t", "ext2", "-b", "1024", "-I", "128"],
    ),
    kind(
        "tiny journal",
        8 << 10,
        &["-b", "1024", "-J", "size=1", "-N", "512"],
    ),
    kind(
        "few blocks",
        3072,
        &["-b", "1024", "-J", "size=1", "-m", "0"],
    ),
    kind("few blocks, ext2", 1 << 10, &["-t", "ext2", "-b", "1024"]),
    kind(
        "few blocks, inline_data, ea_inode",
        4096,
        &["-b", "1024", "-J", "size=1", "-O", "inline_data,ea_inode"],
    ),
    kind(
        "few inodes",
        8 << 10,
        &["-b", "1024", "-J", "size=1", "-N", "24"],
    ),
    kind(
        "sparse_super2",
        24 << 10,
        &["-b", "1024", "-O", "sparse_super2", "-g", "4096"],
    ),
];

impl VolumeKind {
    /// The kind of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// An empty volume's image.
    pub fn image(&self) -> Result<Image> {
        let scratch = Scratch::new()?;
        let mut args = vec!["-E", "lazy_itable_init=0,lazy_journal_init=1"];
        args.extend(self.mke2fs);
        let path = scratch.mke2fs("image", self.size_kib << 10, &args)?;
        Ok(Image::new(&std::fs::read(path)?))
    }

    /// How far random operations go.
    pub fn limits(&self) -> Limits {
        let bytes = self.size_kib << 10;
        Limits {
            // debugfs reads holes byte by byte.
            offset_max: if self.mounts { 1 << 44 } else { 1 << 26 },
            len_max: (bytes / 24).min(300_000),
            free_bytes: 0,
            many: (self.size_kib / 16).clamp(20, 400),
        }
    }
}
