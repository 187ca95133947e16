//! The matrix of `extmap mkfs`: every option set makes a file system that e2fsck
//! and the kernel take for their own and in which dumpe2fs sees what it sees in
//! mke2fs's, empty and filled.

use anyhow::{Result, ensure};
use system_tests::guards::{FuseMount, KernelMount, is_mounted};
use system_tests::mkfs::dump::Dump;
use system_tests::mkfs::options::{OPTION_SETS, OptionSet};
use system_tests::mkfs::source::Source;
use system_tests::mkfs::{JUDGES, Maker, Mkfs, judge};
use system_tests::scratch::Scratch;
use system_tests::skip::{self, Need};
use system_tests::{debugfs, program};

macro_rules! matrix {
    ($($name:ident)*) => {
        mod empty {
            use super::*;
            $(
                #[test]
                fn $name() -> Result<()> {
                    if !skip::allowed(JUDGES) {
                        return Ok(());
                    }
                    OptionSet::named(stringify!($name))?.check_empty()
                }
            )*
        }

        mod filled {
            use super::*;
            $(
                #[test]
                fn $name() -> Result<()> {
                    if !skip::allowed(JUDGES) {
                        return Ok(());
                    }
                    OptionSet::named(stringify!($name))?.check_filled()
                }
            )*
        }

        #[test]
        fn every_option_set_is_tested() {
            let tested = [$(stringify!($name)),*];
            for set in OPTION_SETS {
                assert!(tested.contains(&set.name), "{} is not tested", set.name);
            }
            assert!(tested.len() >= 60);
        }
    };
}

matrix! {
    defaults block_1k block_2k block_4k block_8k block_16k block_32k block_64k block_64k_ext2
    block_at_least inode_128 inode_512 inode_1024 inode_4096 ext2 ext2_4k ext2_journal ext3
    ext4 revision_0 revision_1 features_none usage_small usage_floppy usage_big usage_huge
    usage_news usage_largefile no_journal no_ext_attr no_resize_inode no_dir_index no_filetype
    no_extents no_extents_4k no_64bit no_flex_bg no_sparse_super no_large_file no_huge_file
    no_dir_nlink no_extra_isize no_metadata_csum uninit_bg neither_64bit_nor_csum orphan_file
    orphan_file_4k meta_bg meta_bg_32bit csum_seed large_dir inline_data inline_data_4k_512
    inline_data_no_csum ea_inode ea_inode_inline_data sparse_super2 sparse_super2_one_backup
    sparse_super2_no_backup mmp fast_commit explicit_defaults many_features stride resize_limit
    packed_meta_blocks packed_meta_blocks_large not_lazy lazy root_owner root_perms nodiscard
    discard prezeroed offset journal_4 journal_20 journal_location journal_fast_commit
    group_1024 group_2048_no_flex flex_4 flex_1 flex_64 inodes_200 inodes_30000 ratio_1024
    ratio_65536 no_reserve large_reserve names hurd linux direct_io size_64k size_100k
    size_400k size_1m size_2m size_3m_4k size_sectors size_odd size_group_and_one
    size_group_and_60 size_511m size_512m size_short_last_group size_1g_ext2 size_10g
    size_100g size_100g_ext3 size_100g_meta_bg size_20g_1k
}

fn ours_only() -> bool {
    let ours = Maker::under_test() == Maker::Extmap;
    if !ours {
        skip::record("mke2fs 1.47.0 has nothing like it");
    }
    ours
}

/// Broken blocks belong to inode 1, as mke2fs has it.
#[test]
fn bad_blocks() -> Result<()> {
    if !skip::allowed(JUDGES) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let list = scratch.file("list", b"900\n5000\n5001\n5002\n20000\n31999\n")?;
    let made = |maker: Maker, name: &str| -> Result<std::path::PathBuf> {
        let image = scratch.sparse(name, 32 << 20)?;
        let call = Mkfs::by(maker)
            .fixed()
            .args(["-q", "-F", "-b", "1024", "-l"]);
        call.arg(&list).arg(&image).make()?;
        Ok(image)
    };
    let image = made(Maker::under_test(), "image")?;
    let peer = made(Maker::Mke2fs, "peer")?;
    Dump::of(&image)?.assert_same(&Dump::of(&peer)?)?;
    let stat = debugfs::read(&image, "stat <1>")?;
    ensure!(stat.contains("5000") && stat.contains("31999"), "{stat}");
    judge::live_with(&image, &scratch.path("mounted"), |_| Ok(())).map(drop)
}

/// A profile decides what mke2fs's own configuration of the same text decides.
#[test]
fn profile() -> Result<()> {
    if !skip::allowed(JUDGES) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let profile = scratch.file(
        "profile",
        b"# a comment\n[defaults]\n\tbase_features = sparse_super,filetype,resize_inode,ext_attr\n\
          \tblocksize = 2048\n\tinode_size = 512\n\tinode_ratio = 8192\n\treserved_ratio = 3.0\n\
          [fs_types]\n\text4 = {\n\t\tfeatures = has_journal,extent,flex_bg,metadata_csum\n\
          \t\tinode_ratio = 32768\n\t}\n\tsmall = {\n\t\tinode_ratio = 4096\n\t}\n\
          \tspecial = {\n\t\tblocksize = 4096\n\t\tfeatures = large_dir\n\t}\n",
    )?;
    for (usage, size) in [(None, "1G"), (None, "64M"), (Some("special"), "64M")] {
        let (image, peer) = (scratch.path("image"), scratch.path("peer"));
        let usage: Vec<&str> = usage.into_iter().flat_map(|usage| ["-T", usage]).collect();
        let call = Mkfs::under_test().fixed().args(["-q", "-F", "--profile"]);
        call.arg(&profile)
            .args(&usage)
            .arg(&image)
            .arg(size)
            .make()?;
        scratch.sparse("peer", image.metadata()?.len())?;
        let call = Mkfs::by(Maker::Mke2fs).fixed().args(["-q", "-F"]);
        let call = call.env("MKE2FS_CONFIG", &profile).args(&usage);
        call.arg(&peer).arg(size).make()?;
        Dump::of(&image)?.assert_same(&Dump::of(&peer)?)?;
        judge::fsck(&image)?;
    }
    Ok(())
}

/// What mke2fs cannot set: e2fsck knows the feature, the kernel mounts it read-only.
#[test]
fn shared_blocks() -> Result<()> {
    if !skip::allowed(JUDGES) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let from = scratch.make_dir("source")?;
    Source::Plain.make(&from)?;
    let image = scratch.path("image");
    let call = Mkfs::under_test()
        .fixed()
        .args(["-q", "-O", "shared_blocks"]);
    call.filled_from(&from).arg(&image).arg("16M").make()?;
    judge::fsck(&image)?;
    ensure!(Dump::of(&image)?.has_feature("shared_blocks"));
    let mount = KernelMount::read_only(&image, &scratch.path("mounted"))?;
    ensure!(std::fs::read(mount.path().join("small"))? == std::fs::read(from.join("small"))?);
    mount.unmount()
}

/// `extmap mount --create SIZE` makes what it mounts, once.
#[test]
fn made_by_mounting() -> Result<()> {
    if !skip::allowed(JUDGES) || !skip::allowed(&[Need::Fuse]) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let (image, dir) = (scratch.path("image"), scratch.make_dir("mounted")?);
    for round in 0..2 {
        let words: [&std::ffi::OsStr; 5] = [
            "mount".as_ref(),
            "--create".as_ref(),
            "16M".as_ref(),
            image.as_os_str(),
            dir.as_os_str(),
        ];
        let ended = program::extmap(words)?;
        if round == 0 {
            ensure!(ended.success() && is_mounted(&dir), "{ended}");
            FuseMount::adopt(&image, &dir).unmount()?;
            judge::live_with(&image, &scratch.path("kernel"), |_| Ok(()))?;
        } else {
            // What is there is not made anew: mounted as it is, or refused.
            if ended.success() {
                ensure!(dir.join("moved").exists(), "made anew: {ended}");
                FuseMount::adopt(&image, &dir).unmount()?;
            }
            judge::fsck(&image)?;
        }
    }
    Ok(())
}
