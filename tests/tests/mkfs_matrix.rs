//! The matrix of `extmap mkfs`: every option set makes a file system that e2fsck
//! and the kernel take for their own and in which dumpe2fs sees what it sees in
//! mke2fs's, empty and filled.

use anyhow::Result;
use system_tests::mkfs::JUDGES;
use system_tests::mkfs::options::{OPTION_SETS, OptionSet};
use system_tests::skip;

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
