//! The feature matrix: every image served by the program under test shows what
//! its judge shows.

use anyhow::Result;
use system_tests::matrix::{RECIPES, Recipe};
use system_tests::skip;

macro_rules! matrix {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() -> Result<()> {
                if !skip::allowed(skip::MOUNTS) {
                    return Ok(());
                }
                Recipe::named(stringify!($name))?.check()
            }
        )*

        #[test]
        fn every_recipe_is_tested() {
            let tested = [$(stringify!($name)),*];
            for recipe in RECIPES {
                assert!(tested.contains(&recipe.name), "{} is not tested", recipe.name);
            }
            assert!(tested.len() >= 30);
        }
    };
}

matrix! {
    block_1k block_2k block_4k block_16k block_64k block_64k_inline block_64k_indirect
    inode_128 inode_512 inode_1024
    ext2 ext3 ext2_revision_0 no_journal no_extents_1k
    no_metadata_csum uninit_bg no_64bit neither_64bit_nor_csum csum_seed no_flex_bg meta_bg
    meta_bg_32bit sparse_super2 no_sparse_super small_groups bigalloc bigalloc_1k
    inline_data inline_data_512 inline_data_1k_no_csum ea_inode ea_inode_1k_inline
    no_ext_attr_in_inode
    large_dir many_subdirectories no_filetype no_dir_index
    hash_legacy hash_legacy_unsigned hash_tea hash_tea_unsigned hash_half_md4_unsigned casefold
    many_extents many_extents_no_csum
    quota_project orphan_file no_orphan_file mmp no_huge_file no_large_file stable_inodes
    verity_flag encrypt_flag fast_commit_clean external_flags reserved_blocks shared_blocks tiny
}
