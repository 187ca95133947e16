//! The recipes.

use super::hand;
use super::{Judge, Recipe};
use crate::manifest::Depth;
use crate::trees::Special;

const MIB: u64 = 1 << 20;

/// 64 MiB with 4 KiB blocks, both trees, the kernel as judge.
const USUAL: Recipe = Recipe {
    name: "usual",
    len_bytes: 64 * MIB,
    mke2fs: &["-b", "4096"],
    populate: true,
    prepare: None,
    special: Some(Special::of(4096)),
    fill: None,
    finish: None,
    judge: Judge::Kernel,
    depth: Depth::Full,
};

const SMALL: Special = Special {
    far_bytes: 8 << 30,
    fragments: 1000,
    ..Special::of(1024)
};

/// Mapped by indirect blocks, 1 KiB: files end below 16 GiB.
const INDIRECT_1K: Special = Special {
    extents: false,
    far_bytes: 15 << 30,
    ..SMALL
};

const INDIRECT_4K: Special = Special {
    extents: false,
    far_bytes: 1 << 40,
    ..Special::of(4096)
};

macro_rules! recipes {
    ($($name:literal: { $($field:ident: $value:expr),* $(,)? })*) => {
        &[$(Recipe { name: $name, $($field: $value,)* ..USUAL }),*]
    };
}

/// Every image of the matrix.
pub const RECIPES: &[Recipe] = recipes! {
    // Block and inode sizes.
    "block_1k": { mke2fs: &["-b", "1024"], special: Some(SMALL) }
    "block_2k": { mke2fs: &["-b", "2048"], special: Some(Special::of(2048)) }
    "block_4k": { mke2fs: &["-b", "4096"] }
    "block_64k": {
        mke2fs: &["-b", "65536"], len_bytes: 512 * MIB, special: None, judge: Judge::Source,
    }
    "block_16k": {
        mke2fs: &["-b", "16384"], len_bytes: 256 * MIB, special: None, judge: Judge::Source,
    }
    "block_64k_inline": {
        mke2fs: &["-b", "65536", "-O", "inline_data", "-I", "512"],
        len_bytes: 512 * MIB, special: None, judge: Judge::Source,
    }
    "block_64k_indirect": {
        mke2fs: &["-b", "65536", "-O", "^extents,^64bit,^metadata_csum"],
        len_bytes: 512 * MIB, special: None, judge: Judge::Source,
    }
    "inode_128": { mke2fs: &["-b", "4096", "-I", "128"] }
    "inode_512": { mke2fs: &["-b", "4096", "-I", "512"] }
    "inode_1024": { mke2fs: &["-b", "1024", "-I", "1024"], special: Some(SMALL) }

    // Generations.
    "ext2": {
        mke2fs: &["-t", "ext2", "-b", "1024"], special: Some(INDIRECT_1K),
    }
    "ext3": {
        mke2fs: &["-t", "ext3", "-b", "4096"], special: Some(INDIRECT_4K),
    }
    "ext2_revision_0": {
        mke2fs: &["-t", "ext2", "-r", "0", "-b", "1024", "-O", "none"], populate: false,
        special: None, fill: Some(hand::linear),
    }
    "no_journal": { mke2fs: &["-b", "4096", "-O", "^has_journal"] }
    "no_extents_1k": {
        mke2fs: &["-b", "1024", "-O", "^extents,^64bit"], special: Some(INDIRECT_1K),
        fill: Some(hand::indirect), len_bytes: 128 * MIB,
    }

    // Checksums and group descriptors.
    "no_metadata_csum": { mke2fs: &["-b", "4096", "-O", "^metadata_csum"] }
    "uninit_bg": { mke2fs: &["-b", "4096", "-O", "^metadata_csum,uninit_bg"] }
    "no_64bit": { mke2fs: &["-b", "4096", "-O", "^64bit"] }
    "neither_64bit_nor_csum": {
        mke2fs: &["-b", "1024", "-O", "^64bit,^metadata_csum"], special: Some(SMALL),
    }
    "csum_seed": {
        mke2fs: &["-b", "4096", "-O", "metadata_csum_seed"], prepare: Some(hand::label),
    }
    "no_flex_bg": { mke2fs: &["-b", "1024", "-O", "^flex_bg"], special: Some(SMALL) }
    "meta_bg": { mke2fs: &["-b", "1024", "-O", "meta_bg,^resize_inode"], special: Some(SMALL) }
    "meta_bg_32bit": {
        mke2fs: &["-b", "1024", "-O", "meta_bg,^resize_inode,^64bit,^metadata_csum,^flex_bg"],
        special: Some(SMALL),
    }
    "sparse_super2": { mke2fs: &["-b", "1024", "-O", "sparse_super2"], special: Some(SMALL) }
    "no_sparse_super": {
        mke2fs: &["-b", "1024", "-O", "^sparse_super,^resize_inode"], special: Some(SMALL),
    }
    "small_groups": { mke2fs: &["-b", "1024", "-g", "1024"], special: Some(SMALL) }
    "bigalloc": {
        mke2fs: &["-b", "4096", "-O", "bigalloc", "-C", "65536"], len_bytes: 512 * MIB,
    }
    "bigalloc_1k": {
        mke2fs: &["-b", "1024", "-O", "bigalloc", "-C", "16384"], len_bytes: 256 * MIB,
        special: Some(SMALL),
    }

    // Data in inodes, attributes in inodes.
    "inline_data": { mke2fs: &["-b", "4096", "-O", "inline_data"] }
    "inline_data_512": { mke2fs: &["-b", "4096", "-O", "inline_data", "-I", "512"] }
    "inline_data_1k_no_csum": {
        mke2fs: &["-b", "1024", "-O", "inline_data,^metadata_csum"], special: Some(SMALL),
    }
    "ea_inode": {
        mke2fs: &["-b", "4096", "-O", "ea_inode"],
        special: Some(Special { ea_inode: true, ..Special::of(4096) }),
    }
    "ea_inode_1k_inline": {
        mke2fs: &["-b", "1024", "-O", "ea_inode,inline_data"],
        special: Some(Special { ea_inode: true, ..SMALL }),
    }
    "no_ext_attr_in_inode": { mke2fs: &["-b", "4096", "-O", "^extra_isize"] }

    // Directories.
    "large_dir": {
        mke2fs: &["-b", "1024", "-O", "large_dir", "-N", "210000"], len_bytes: 448 * MIB,
        populate: false, special: None, fill: Some(hand::crowd), depth: Depth::Sampled,
    }
    "many_subdirectories": {
        mke2fs: &["-b", "1024", "-N", "70000"], len_bytes: 192 * MIB,
        populate: false, special: None, fill: Some(hand::many_links), depth: Depth::Sampled,
    }
    "no_filetype": { mke2fs: &["-b", "4096", "-O", "^filetype"] }
    "no_dir_index": {
        mke2fs: &["-b", "1024", "-O", "^dir_index"], special: Some(SMALL),
        fill: Some(hand::linear),
    }
    "hash_legacy": {
        mke2fs: &["-b", "1024"], prepare: Some(hand::hash_legacy), special: Some(SMALL),
    }
    "hash_legacy_unsigned": {
        mke2fs: &["-b", "1024"], prepare: Some(hand::legacy_unsigned), special: Some(SMALL),
    }
    "hash_tea": {
        mke2fs: &["-b", "1024"], prepare: Some(hand::hash_tea), special: Some(SMALL),
    }
    "hash_tea_unsigned": {
        mke2fs: &["-b", "1024"], prepare: Some(hand::tea_unsigned), special: Some(SMALL),
    }
    "hash_half_md4_unsigned": {
        mke2fs: &["-b", "1024"], prepare: Some(hand::unsigned), special: Some(SMALL),
    }
    "casefold": {
        mke2fs: &["-b", "4096", "-O", "casefold", "-E", "encoding=utf8"],
        special: None, judge: Judge::Source,
    }

    // Extents.
    "many_extents": {
        mke2fs: &["-b", "1024"], len_bytes: 192 * MIB, special: None,
        fill: Some(hand::many_extents),
    }
    "many_extents_no_csum": {
        mke2fs: &["-b", "1024", "-O", "^metadata_csum"], len_bytes: 192 * MIB, special: None,
        populate: false, fill: Some(hand::many_extents),
    }

    // Accounts and protections.
    // The kernel here writes to neither without its quota code, so the
    // identifiers are set by debugfs.
    "quota_project": {
        mke2fs: &["-b", "4096", "-O", "quota,project", "-E", "quotatype=usrquota:grpquota:prjquota"],
        special: None, finish: Some(hand::project_ids),
    }
    "orphan_file": {
        mke2fs: &["-b", "4096", "-O", "orphan_file"], finish: Some(hand::mounted_once),
    }
    "no_orphan_file": { mke2fs: &["-b", "4096", "-O", "^orphan_file"] }
    "mmp": { mke2fs: &["-b", "4096", "-O", "mmp"], special: None }
    "no_huge_file": { mke2fs: &["-b", "4096", "-O", "^huge_file"] }
    "no_large_file": {
        mke2fs: &["-b", "4096", "-O", "^large_file,^dir_nlink"], special: None,
    }
    "stable_inodes": { mke2fs: &["-b", "4096", "-O", "stable_inodes"] }
    "verity_flag": { mke2fs: &["-b", "4096"], finish: Some(hand::verity) }
    "encrypt_flag": { mke2fs: &["-b", "4096"], finish: Some(hand::encrypt) }
    "fast_commit_clean": { mke2fs: &["-b", "4096", "-O", "fast_commit"] }
    "external_flags": {
        mke2fs: &["-b", "4096", "-E", "stride=4,stripe_width=16,root_owner=7:8"],
    }
    "reserved_blocks": { mke2fs: &["-b", "4096", "-m", "20", "-L", "an \u{e4}rmel"] }
    "shared_blocks": {
        mke2fs: &["-b", "4096", "-O", "^metadata_csum"], special: None,
        fill: Some(hand::two_alike), finish: Some(hand::share_blocks),
    }
    "tiny": { mke2fs: &["-b", "1024", "-N", "16"], len_bytes: MIB, populate: false, special: None }
};
