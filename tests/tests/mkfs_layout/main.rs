//! Empty file systems of the crate `mkfs` against mke2fs: the same numbers, the same
//! places, the same bytes, and the kernel and e2fsck are content.
//!
//! mke2fs makes an image; its superblock, read back, is the request for ours. Then
//! e2fsck, dumpe2fs and a comparison of all bytes judge. What may differ is listed
//! in docs/format.md and, as offsets, in `compare`.

mod compare;
mod oracle;

use anyhow::{Context, Result, ensure};
use oracle::Case;
use system_tests::guards::KernelMount;
use system_tests::skip::{self, Need};
use system_tests::tool;

const TOOLS: &[Need] = &[
    Need::Tool("mke2fs"),
    Need::Tool("e2fsck"),
    Need::Tool("dumpe2fs"),
    Need::Tool("debugfs"),
];

/// Makes both images, compares them, and has the kernel use ours.
fn check(case: &Case) -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let pair = case.make()?;
    tool::run("e2fsck", &["-fn".as_ref(), pair.ours.as_os_str()])?;
    compare::listings(&pair)?;
    compare::bytes(&pair)?;
    if case.is_mountable && skip::allowed(skip::MOUNTS) {
        use_with_the_kernel(&pair)?;
        tool::run("e2fsck", &["-fn".as_ref(), pair.ours.as_os_str()])?;
    }
    Ok(())
}

fn use_with_the_kernel(pair: &oracle::Pair) -> Result<()> {
    let dir = pair.scratch.path("mount");
    let mount = KernelMount::new(&pair.ours, &dir, "rw")?;
    std::fs::create_dir(dir.join("directory"))?;
    let content = vec![7; 10_000];
    std::fs::write(dir.join("directory/file"), &content).context("writing a file")?;
    std::os::unix::fs::symlink("file", dir.join("directory/link"))?;
    ensure!(std::fs::read(dir.join("directory/link"))? == content);
    mount.unmount()
}

macro_rules! cases {
    ($($name:ident: $size:expr, $args:expr $(, $field:ident = $value:expr)*;)*) => {
        $(
            #[test]
            fn $name() -> Result<()> {
                #[allow(unused_mut)]
                let mut case = Case::new($size, $args);
                $(case.$field = $value;)*
                check(&case)
            }
        )*
    };
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

cases! {
    ext4_default: 64 * MIB, "";
    ext4_4k: 512 * MIB, "-b 4096";
    ext4_2k: 128 * MIB, "-b 2048";
    ext4_large: 100 * GIB, "";
    ext4_huge: 1024 * GIB, "";
    ext2: 64 * MIB, "-t ext2";
    ext2_4k: 256 * MIB, "-t ext2 -b 4096";
    ext2_large: 20 * GIB, "-t ext2";
    ext3: 64 * MIB, "-t ext3";
    ext3_4k: 600 * MIB, "-t ext3 -b 4096";
    ext3_large: 20 * GIB, "-t ext3";
    revision_0: 64 * MIB, "-t ext2 -r 0";
    block_16k: 512 * MIB, "-b 16384", is_mountable = false;
    block_64k: 2 * GIB, "-b 65536", is_mountable = false;
    block_64k_small: 40 * MIB, "-b 65536", is_mountable = false;
    no_flex_bg: 300 * MIB, "-O ^flex_bg";
    no_flex_bg_4k: 3 * GIB, "-b 4096 -O ^flex_bg";
    no_resize_inode: 64 * MIB, "-O ^resize_inode";
    meta_bg: 256 * MIB, "-O meta_bg,^resize_inode";
    meta_bg_4k: 20 * GIB, "-b 4096 -O meta_bg,^resize_inode";
    meta_bg_no_flex: GIB, "-b 1024 -O meta_bg,^resize_inode,^flex_bg";
    bits_32: 256 * MIB, "-O ^64bit";
    bits_32_no_csum: 256 * MIB, "-O ^64bit,^metadata_csum";
    uninit_bg: 256 * MIB, "-O ^metadata_csum,uninit_bg";
    uninit_bg_no_flex: 256 * MIB, "-O ^metadata_csum,uninit_bg,^flex_bg";
    no_metadata_csum: 256 * MIB, "-O ^metadata_csum";
    csum_seed: 64 * MIB, "-O metadata_csum_seed";
    sparse_super2: 300 * MIB, "-O sparse_super2,^resize_inode";
    sparse_super2_one: 300 * MIB, "-O sparse_super2,^resize_inode -E num_backup_sb=1";
    sparse_super2_none: 300 * MIB, "-O sparse_super2,^resize_inode -E num_backup_sb=0";
    sparse_super2_resize: 300 * MIB, "-O sparse_super2";
    no_sparse_super: 256 * MIB, "-O ^sparse_super,^resize_inode";
    no_journal: 64 * MIB, "-O ^has_journal";
    journal_32m: 512 * MIB, "-J size=32";
    journal_1g: 8 * GIB, "-J size=1024";
    journal_fast_commit: GIB, "-O fast_commit";
    journal_located: GIB, "-b 4096 -J size=16,location=40000", journal_location = Some(40000);
    journal_ext3_1g: 8 * GIB, "-t ext3 -J size=1024";
    journal_no_flex_small_groups: 128 * MIB, "-b 1024 -g 1024 -O ^flex_bg -J size=8";
    inode_128: 64 * MIB, "-I 128";
    inode_512: 64 * MIB, "-I 512";
    inode_1024: 64 * MIB, "-I 1024";
    inode_of_a_block: 64 * MIB, "-b 4096 -I 4096 -i 65536";
    small_groups: 128 * MIB, "-b 4096 -g 8192";
    group_256: 40 * MIB, "-b 1024 -g 256 -O ^resize_inode -N 2000";
    flex_4: 300 * MIB, "-G 4";
    flex_1: 300 * MIB, "-G 1";
    flex_64: GIB, "-b 1024 -G 64";
    flex_1024: 20 * GIB, "-G 1024";
    few_inodes: 300 * MIB, "-N 100";
    few_inodes_many_groups: 300 * MIB, "-b 1024 -N 16";
    many_inodes: 64 * MIB, "-i 1024";
    packed: 300 * MIB, "-E packed_meta_blocks=1", packed_meta_blocks = true;
    packed_large: 40 * GIB, "-E packed_meta_blocks=1", packed_meta_blocks = true;
    stride: 300 * MIB, "-O ^flex_bg -E stride=16";
    stride_large: 300 * MIB, "-b 1024 -t ext2 -E stride=999,stripe_width=1998";
    stride_flex: 300 * MIB, "-E stride=16";
    orphan_file: 64 * MIB, "-O orphan_file";
    orphan_file_size: 64 * MIB, "-O orphan_file -E orphan_file_size=400k";
    orphan_file_no_extents: 64 * MIB, "-O orphan_file,^extents,^64bit";
    mmp: 64 * MIB, "-O mmp -E mmp_update_interval=7", is_mountable = false;
    inline_data_128: 64 * MIB, "-b 1024 -O ^extra_isize -I 256";
    many_features: 64 * MIB, "-O ea_inode,large_dir,fast_commit,orphan_file,metadata_csum_seed,stable_inodes";
    no_filetype: 64 * MIB, "-t ext2 -O ^filetype,^dir_index";
    large_file_from_resize: 2 * GIB, "-b 4096 -O ^large_file";
    bad_blocks: 64 * MIB, "-b 1024", bad_blocks = (20_000..24_000).step_by(2).collect();
    bad_blocks_in_tables: 64 * MIB, "-b 1024", bad_blocks = vec![300, 301, 700, 2000];
    bad_blocks_ext2: 64 * MIB, "-t ext2 -b 1024", bad_blocks = vec![300, 8500, 16390, 16392];
    bad_blocks_journal: 64 * MIB, "-b 4096", bad_blocks = vec![8200, 9000];
    short_last_group: 131 * MIB, "-b 1024";
    short_last_group_flex: 8 * MIB * 17 + MIB, "-b 1024 -O ^resize_inode";
    tiny: 64 << 10, "-b 1024 -N 16";
    tiny_256k: 256 << 10, "";
    tiny_1m: MIB, "-b 1024";
    tiny_ext2: 200 << 10, "-t ext2";
    groups_of_256_blocks: 3 * GIB, "-b 1024 -g 256 -O ^resize_inode -i 65536";
    indirect_ext4: 200 * MIB, "-O ^extents,^64bit -b 2048";
    meta_bg_sparse_super2: 512 * MIB, "-b 1024 -O sparse_super2,meta_bg,^resize_inode";
    packed_ext4_32: 200 * MIB, "-b 1024 -O ^64bit,^metadata_csum -E packed_meta_blocks=1",
        packed_meta_blocks = true;
    over_garbage: 40 * MIB, "-E nodiscard,lazy_itable_init=1", is_over_garbage = true;
    over_garbage_no_csum: 40 * MIB, "-O ^metadata_csum -E nodiscard", is_over_garbage = true;
    over_garbage_ext3: 40 * MIB, "-t ext3 -E nodiscard", is_over_garbage = true;
    over_garbage_eager: 40 * MIB, "-b 4096 -E nodiscard,lazy_itable_init=0", is_over_garbage = true,
        is_lazy = false;
    over_garbage_64k: 40 * MIB, "-b 65536 -E nodiscard,lazy_itable_init=1", is_over_garbage = true,
        is_mountable = false;
}
