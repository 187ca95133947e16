//! Input that is no ext4, no ext4 we read, or a trap: one sentence, a failure as
//! exit code, no panic, no hang, bounded memory.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use system_tests::guards::KernelMount;
use system_tests::hostile::{BLOCK, Fixture, only_shown, refused, survived};
use system_tests::rng::Rng;
use system_tests::scratch::Scratch;
use system_tests::skip::{self, Need};
use system_tests::{debugfs, patch, program};

const TOOLS: &[Need] = &[Need::Fuse, Need::Tool("mke2fs"), Need::Tool("debugfs")];

fn refused_bytes(bytes: &[u8], len_bytes: u64) -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.file("image", bytes)?;
    if len_bytes > bytes.len() as u64 {
        std::fs::OpenOptions::new()
            .write(true)
            .open(&image)?
            .set_len(len_bytes)?;
    }
    refused(&image, &scratch.path("dir"), &[])?;
    Ok(())
}

/// A file that begins with `head` and has `magic` at `at`.
fn foreign(head: &[u8], at: usize, magic: &[u8]) -> Result<()> {
    let mut bytes = Rng::new(9).bytes(1 << 20);
    bytes[..head.len()].copy_from_slice(head);
    bytes[at..at + magic.len()].copy_from_slice(magic);
    refused_bytes(&bytes, 0)
}

mod not_ext4 {
    use super::*;

    #[test]
    fn empty_file() -> Result<()> {
        refused_bytes(b"", 0)
    }

    #[test]
    fn zeros() -> Result<()> {
        refused_bytes(b"", 16 << 20)
    }

    #[test]
    fn random() -> Result<()> {
        refused_bytes(&Rng::new(1).bytes(3 << 20), 0)
    }

    #[test]
    fn text() -> Result<()> {
        refused_bytes("This is no file system.\n".repeat(500).as_bytes(), 0)
    }

    #[test]
    fn shorter_than_a_superblock() -> Result<()> {
        refused_bytes(&Rng::new(1).bytes(1500), 0)
    }

    #[test]
    fn vfat() -> Result<()> {
        foreign(b"\xeb\x3c\x90mkfs.fat", 510, b"\x55\xaa")
    }

    #[test]
    fn squashfs() -> Result<()> {
        foreign(b"hsqs", 28, b"\x04\0\0\0")
    }

    #[test]
    fn xfs() -> Result<()> {
        foreign(b"XFSB", 4, b"\0\0\x10\0")
    }

    #[test]
    fn btrfs() -> Result<()> {
        foreign(b"", 65_600, b"_BHRfS_M")
    }

    #[test]
    fn only_the_magic() -> Result<()> {
        foreign(b"", 1024 + 0x38, b"\x53\xef")
    }

    #[test]
    fn missing_file_and_directory() -> Result<()> {
        if !skip::allowed(TOOLS) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let missing = scratch.path("missing");
        for said in refused(&missing, &scratch.path("dir"), &[])? {
            ensure!(said.contains("missing"), "the file is not named: {said}");
        }
        refused(&scratch.make_dir("a directory")?, &scratch.path("dir"), &[])?;
        Ok(())
    }
}

mod truncated {
    use super::*;

    fn cut_to(len_bytes: u64) -> Result<()> {
        if !skip::allowed(TOOLS) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.mke2fs("image", 32 << 20, &["-b", "4096"])?;
        std::fs::OpenOptions::new()
            .write(true)
            .open(&image)?
            .set_len(len_bytes)?;
        refused(&image, &scratch.path("dir"), &[])?;
        Ok(())
    }

    #[test]
    fn in_half() -> Result<()> {
        cut_to(16 << 20)
    }

    #[test]
    fn by_one_block() -> Result<()> {
        cut_to((32 << 20) - 4096)
    }

    #[test]
    fn behind_the_superblock() -> Result<()> {
        cut_to(2048)
    }

    #[test]
    fn within_the_superblock() -> Result<()> {
        cut_to(1024 + 300)
    }
}

mod features {
    use super::*;

    const COMPAT: usize = 0x5c;
    const INCOMPAT: usize = 0x60;
    const RO_COMPAT: usize = 0x64;

    fn with_bits(field: usize, bits: u32) -> Result<(Scratch, std::path::PathBuf)> {
        let scratch = Scratch::new()?;
        let image = scratch.mke2fs("image", 8 << 20, &["-b", "1024"])?;
        patch::set_bits(&image, field, bits)?;
        Ok((scratch, image))
    }

    fn refused_by_name(bits: u32, name: &str) -> Result<()> {
        if !skip::allowed(TOOLS) {
            return Ok(());
        }
        let (scratch, image) = with_bits(INCOMPAT, bits)?;
        for said in refused(&image, &scratch.path("dir"), &[])? {
            ensure!(said.contains(name), "{name:?} is not named: {said}");
        }
        Ok(())
    }

    #[test]
    fn compression() -> Result<()> {
        refused_by_name(1, "compression")
    }

    #[test]
    fn unknown_incompat_bit() -> Result<()> {
        refused_by_name(1 << 27, "unknown incompat bit 27")
    }

    #[test]
    fn several_unknown_bits() -> Result<()> {
        refused_by_name((1 << 27) | (1 << 30), "30")
    }

    #[test]
    fn journal_device() -> Result<()> {
        if !skip::allowed(TOOLS) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.mke2fs("image", 8 << 20, &["-O", "journal_dev"])?;
        for said in refused(&image, &scratch.path("dir"), &[])? {
            ensure!(said.contains("journal"), "{said}");
        }
        Ok(())
    }

    #[test]
    fn unknown_compatible_bits_are_read() -> Result<()> {
        if !skip::allowed(skip::MOUNTS) {
            return Ok(());
        }
        for field in [COMPAT, RO_COMPAT] {
            let (scratch, image) = with_bits(field, 1 << 27)?;
            let server = system_tests::guards::Server::Extmap;
            let mount =
                system_tests::guards::FuseMount::with(server, &image, &scratch.path("fuse"), "")?;
            ensure!(mount.path().join("lost+found").is_dir(), "no lost+found");
            mount.unmount()?;
        }
        Ok(())
    }
}

mod superblock {
    use super::*;

    /// Name, offset, values; all 32-bit unless the bytes are fewer.
    const FIELDS: &[(&str, usize, &[&[u8]])] = &[
        (
            "s_inodes_count",
            0x00,
            &[&[0; 4], &[0xff; 4], &[1, 0, 0, 0]],
        ),
        (
            "s_blocks_count_lo",
            0x04,
            &[&[0; 4], &[0xff; 4], &[1, 0, 0, 0]],
        ),
        (
            "s_first_data_block",
            0x14,
            &[&[0; 4], &[0xff; 4], &[99, 0, 0, 0]],
        ),
        (
            "s_log_block_size",
            0x18,
            &[&[7, 0, 0, 0], &[31, 0, 0, 0], &[0xff; 4], &[0, 0, 0, 0x80]],
        ),
        (
            "s_log_cluster_size",
            0x1c,
            &[&[9, 0, 0, 0], &[40, 0, 0, 0], &[0xff; 4]],
        ),
        (
            "s_blocks_per_group",
            0x20,
            &[&[0; 4], &[0xff; 4], &[0, 0, 16, 0], &[7, 0, 0, 0]],
        ),
        (
            "s_clusters_per_group",
            0x24,
            &[&[0; 4], &[0xff; 4], &[7, 0, 0, 0]],
        ),
        (
            "s_inodes_per_group",
            0x28,
            &[&[0; 4], &[0xff; 4], &[1, 0, 0, 0], &[0, 0, 16, 0]],
        ),
        ("s_rev_level", 0x4c, &[&[9, 0, 0, 0]]),
        ("s_first_ino", 0x54, &[&[0; 4], &[0xff; 4]]),
        (
            "s_inode_size",
            0x58,
            &[&[0; 2], &[100, 0], &[0xff; 2], &[0, 0x20], &[127, 0]],
        ),
        ("s_journal_inum", 0xe0, &[&[0xff; 4], &[2, 0, 0, 0]]),
        (
            "s_last_orphan",
            0xe8,
            &[&[0xff; 4], &[2, 0, 0, 0], &[12, 0, 0, 0]],
        ),
        ("s_def_hash_version", 0xfc, &[&[0xff]]),
        (
            "s_desc_size",
            0xfe,
            &[&[16, 0], &[63, 0], &[0xff; 2], &[0, 16]],
        ),
        ("s_first_meta_bg", 0x104, &[&[0xff; 4]]),
        ("s_blocks_count_hi", 0x150, &[&[0xff; 4], &[1, 0, 0, 0]]),
        ("s_log_groups_per_flex", 0x174, &[&[0xff], &[31]]),
        ("s_checksum_type", 0x175, &[&[9]]),
        ("s_backup_bgs", 0x24c, &[&[0xff; 8]]),
        ("s_encoding", 0x27c, &[&[0xff; 2]]),
        ("s_orphan_file_inum", 0x280, &[&[0xff; 4], &[2, 0, 0, 0]]),
    ];

    /// What the kernel refuses must be refused here; whatever it takes must at
    /// least do no harm.
    fn check_field(mke2fs: &[&str]) -> Result<()> {
        if !skip::allowed(skip::MOUNTS) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let mut args = vec!["-b", "1024"];
        args.extend(mke2fs);
        let healthy = scratch.mke2fs("healthy", 24 << 20, &args)?;
        let mut refusals = 0;
        for (name, offset, values) in FIELDS {
            for value in *values {
                let image = scratch.copy(&healthy, "image")?;
                patch::superblock(&image, *offset, value)?;
                let kernel = KernelMount::read_only(&image, &scratch.path("judge"));
                let judged = kernel.and_then(KernelMount::unmount);
                let about = || format!("{name} = {value:x?}");
                if judged.is_err() {
                    refusals += 1;
                    only_shown(&image, &scratch.path("dir")).with_context(about)?;
                } else {
                    harmless(&image, &scratch).with_context(about)?;
                }
            }
        }
        ensure!(refusals > 20, "the kernel refused only {refusals}");
        Ok(())
    }

    fn harmless(image: &Path, scratch: &Scratch) -> Result<()> {
        let text = image.to_string_lossy().into_owned();
        for args in [&["info", text.as_str()][..], &["ls", "-l", &text, "/"]] {
            survived(&program::extmap_limited(args)?)?;
        }
        let dir = scratch.path("fuse").to_string_lossy().into_owned();
        std::fs::create_dir_all(&dir)?;
        let ended = program::extmap_limited(["mount", &text, &dir])?;
        let guard = system_tests::guards::FuseMount::adopt(image, Path::new(&dir));
        survived(&ended)?;
        if ended.success() {
            guard.unmount()?;
        }
        Ok(())
    }

    #[test]
    fn fields_out_of_range_with_checksums() -> Result<()> {
        check_field(&[])
    }

    #[test]
    fn fields_out_of_range_without_checksums() -> Result<()> {
        check_field(&["-O", "^metadata_csum,^64bit"])
    }

    #[test]
    fn fields_out_of_range_with_meta_bg_and_bigalloc() -> Result<()> {
        check_field(&["-O", "meta_bg,^resize_inode,bigalloc", "-C", "4096"])
    }

    /// The patcher itself: writing back what is there changes nothing, so its
    /// checksum is the format's.
    #[test]
    fn the_patcher_computes_the_checksum() -> Result<()> {
        if !skip::allowed(TOOLS) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.mke2fs("image", 8 << 20, &["-b", "1024"])?;
        let before = patch::read(&image, patch::SUPERBLOCK, patch::SUPERBLOCK_LEN)?;
        patch::superblock(&image, 0x10, &before[0x10..0x14])?;
        let after = patch::read(&image, patch::SUPERBLOCK, patch::SUPERBLOCK_LEN)?;
        ensure!(before == after, "the checksum differs from mke2fs's");
        patch::superblock(&image, 0x10, &[7, 7, 0, 0])?;
        let changed = patch::read(&image, patch::SUPERBLOCK, patch::SUPERBLOCK_LEN)?;
        ensure!(
            changed[0x3fc..] != before[0x3fc..],
            "the checksum did not change"
        );
        Ok(())
    }

    #[test]
    fn bad_checksum() -> Result<()> {
        if !skip::allowed(TOOLS) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.mke2fs("image", 4 << 20, &["-b", "1024"])?;
        patch::flip(&image, patch::SUPERBLOCK + 0x3fc)?;
        refused(&image, &scratch.path("dir"), &[])?;
        Ok(())
    }
}

/// Traps in structures of an image without checksums, so that nothing but the
/// structure's own sense can tell.
mod traps {
    use super::*;

    const EXTENTS: u64 = 0x28;

    /// Writes `bytes` where `find` says; the victim's readers get EUCLEAN.
    fn trap(find: impl Fn(&Fixture) -> Result<u64>, bytes: &[u8], victim: &str) -> Result<()> {
        if !skip::allowed(skip::MOUNTS) {
            return Ok(());
        }
        let fixture = Fixture::new(&["-O", "^metadata_csum"])?;
        let copy = fixture.copy()?;
        patch::write(&copy, find(&fixture)?, bytes)?;
        let seen = fixture.look(&copy)?;
        fixture.only_hurts(&seen, &format!(".{victim}"), "EUCLEAN")?;
        fixture.commands_survive(&copy, victim)
    }

    macro_rules! traps {
        ($($name:ident: $find:expr, $bytes:expr, $victim:literal;)*) => {
            $(#[test] fn $name() -> Result<()> { trap($find, $bytes, $victim) })*
        };
    }

    /// The first leaf of `/deep`'s extent tree.
    fn deep_block(f: &Fixture) -> Result<u64> {
        let mut header = patch::read(&f.image, f.inode_of("/deep")? + EXTENTS, 60)?;
        let mut at = 0;
        while patch::half(&header, 6) > 0 {
            at = u64::from(patch::word(&header, 12 + 4)) * BLOCK;
            header = patch::read(&f.image, at, 1024)?;
        }
        ensure!(at > 0, "/deep has no tree");
        Ok(at)
    }

    fn attribute_block(f: &Fixture) -> Result<u64> {
        let stat = debugfs::read(&f.image, "stat /attributes")?;
        Ok(debugfs::number_after(&stat, "File ACL:")? * BLOCK)
    }

    traps! {
        extent_magic: |f| Ok(f.inode_of("/flat")? + EXTENTS), &[0, 0], "/flat";
        extent_entries_beyond_max: |f| Ok(f.inode_of("/flat")? + EXTENTS + 2), &[200, 0], "/flat";
        extent_depth_6: |f| Ok(f.inode_of("/deep")? + EXTENTS + 6), &[6, 0], "/deep";
        extent_depth_65535: |f| Ok(f.inode_of("/deep")? + EXTENTS + 6), &[0xff, 0xff], "/deep";
        extent_outside_the_device: |f| Ok(f.inode_of("/flat")? + EXTENTS + 12 + 8),
            &[0xff, 0xff, 0xff, 0x7f], "/flat";
        extent_start_high_bits: |f| Ok(f.inode_of("/flat")? + EXTENTS + 12 + 6), &[0xff, 0xff], "/flat";
        extent_over_the_superblock: |f| Ok(f.inode_of("/flat")? + EXTENTS + 12 + 8),
            &[0, 0, 0, 0], "/flat";
        extent_of_no_length: |f| Ok(f.inode_of("/flat")? + EXTENTS + 12 + 4), &[0, 0], "/flat";
        extent_overlap: |f| Ok(deep_block(f)? + 12 + 4), &[200, 0], "/deep";
        extents_out_of_order: |f| Ok(deep_block(f)? + 12), &[0, 2, 0, 0], "/deep";
        extent_index_outside_the_device: |f| Ok(f.inode_of("/deep")? + EXTENTS + 12 + 4),
            &[0xff, 0xff, 0xff, 0x7f], "/deep";
        extent_leaf_of_wrong_depth: |f| Ok(deep_block(f)? + 6), &[1, 0], "/deep";
        record_of_no_length: |f| Ok(f.block_of("/dir", 0)? + 24 + 4), &[0, 0], "/dir";
        record_of_odd_length: |f| Ok(f.block_of("/dir", 0)? + 24 + 4), &[13, 0], "/dir";
        record_beyond_the_block: |f| Ok(f.block_of("/dir", 0)? + 24 + 4), &[0xfc, 0x7f], "/dir";
        record_shorter_than_its_name: |f| Ok(f.block_of("/dir", 0)? + 24 + 6), &[250], "/dir";
        entry_of_no_such_inode: |f| Ok(f.block_of("/dir", 0)? + 24), &[0xff; 4], "/dir";
        name_with_a_slash: |f| Ok(f.block_of("/dir", 0)? + 24 + 9), b"/", "/dir";
        name_with_a_nul: |f| Ok(f.block_of("/dir", 0)? + 24 + 9), b"\0", "/dir";
        attribute_magic: attribute_block, &[0; 4], "/attributes";
        attribute_value_beyond_the_block: |f| Ok(attribute_block(f)? + 32 + 2), &[0xf0, 0xff], "/attributes";
        attribute_value_size_huge: |f| Ok(attribute_block(f)? + 32 + 8), &[0xff; 4], "/attributes";
        attribute_name_beyond_the_block: |f| Ok(attribute_block(f)? + 32), &[255], "/attributes";
        attribute_block_outside: |f| Ok(f.inode_of("/attributes")? + 0x68),
            &[0xff, 0xff, 0xff, 0x7f], "/attributes";
        attribute_in_inode_beyond: |f| Ok(f.inode_of("/in-inode")? + 0x80 + 32 + 4 + 2),
            &[0xf0, 0x7f], "/in-inode";
        slow_symlink_longer_than_a_block: |f| Ok(f.inode_of("/slow")? + 4), &[0, 0, 1, 0], "/slow";
        fast_symlink_longer_than_its_place: |f| Ok(f.inode_of("/fast")? + 4), &[200, 0, 0, 0], "/fast";
        extra_isize_huge: |f| Ok(f.inode_of("/in-inode")? + 0x80), &[0xff, 0x7f], "/in-inode";
        unknown_type: |f| Ok(f.inode_of("/flat")? + 1), &[0x31], "/flat";
    }

    /// A hash tree whose entry leads back to its root, and other nonsense in
    /// it: the directory's names may be had by reading all its blocks, or
    /// refused; neither hangs, and nothing else is hurt.
    #[test]
    fn hash_tree() -> Result<()> {
        if !skip::allowed(skip::MOUNTS) {
            return Ok(());
        }
        let fixture = Fixture::new(&["-O", "^metadata_csum"])?;
        let root = fixture.block_of("/hashed", 0)?;
        for (offset, bytes) in [
            (0x24u64, &[0u8, 0, 0, 0][..]),
            (0x1c, &[99]),
            (0x1e, &[9]),
            (0x20, &[0xff, 0xff, 0xff, 0xff]),
            (0x22, &[0, 0]),
            (0x2c, &[0xff, 0xff, 0xff, 0x0f]),
        ] {
            let seen = fixture.patched(root + offset, bytes)?;
            let outside =
                |tree: &system_tests::manifest::Manifest| tree.clone().without_path("./hashed");
            outside(&fixture.tree)
                .assert_same(&outside(&seen), "the healthy image", "the damaged one")
                .with_context(|| format!("{offset:#x}"))?;
        }
        Ok(())
    }

    /// Sizes far beyond what is mapped: holes, as the kernel sees it; reading
    /// ends in time.
    #[test]
    fn directory_of_a_huge_size() -> Result<()> {
        if !skip::allowed(skip::MOUNTS) {
            return Ok(());
        }
        let fixture = Fixture::new(&["-O", "^metadata_csum"])?;
        let seen = fixture.patched(fixture.inode_of("/dir")? + 4, &[0, 0xfc, 0xff, 0x7f])?;
        let outside = |tree: &system_tests::manifest::Manifest| tree.clone().without_path("./dir");
        outside(&fixture.tree).assert_same(&outside(&seen), "the healthy image", "the damaged one")
    }

    /// A directory entry that leads to a directory above.
    #[test]
    fn directory_loop() -> Result<()> {
        if !skip::allowed(skip::MOUNTS) {
            return Ok(());
        }
        let fixture = Fixture::new(&["-O", "^metadata_csum"])?;
        let copy = fixture.copy()?;
        patch::write(&copy, fixture.block_of("/dir", 0)? + 24, &[2, 0, 0, 0])?;
        patch::write(&copy, fixture.block_of("/dir", 0)? + 24 + 7, &[2])?;
        let text = copy.to_string_lossy().into_owned();
        let target = fixture
            .scratch
            .path("copied")
            .to_string_lossy()
            .into_owned();
        let from = format!("{text}:/");
        let copied = program::extmap_limited(["cp", "-r", &from, &target])?;
        survived(&copied)?;
        let bystander = fixture.scratch.path("copied/bystander");
        ensure!(
            !copied.success() || bystander.exists(),
            "nothing copied: {copied}"
        );
        survived(&program::extmap_limited(["ls", "-l", &text, "/dir"])?)?;
        let root = program::extmap_limited(["ls", &text, "/"])?;
        ensure!(root.text().contains("bystander"), "{root}");
        Ok(())
    }

    /// Group descriptors that point outside: the kernel refuses the mount.
    #[test]
    fn group_descriptors() -> Result<()> {
        if !skip::allowed(skip::MOUNTS) {
            return Ok(());
        }
        let fixture = Fixture::new(&["-O", "^metadata_csum"])?;
        for offset in [0u64, 4, 8] {
            let copy = fixture.copy()?;
            patch::write(&copy, 2 * BLOCK + offset, &[0xff, 0xff, 0xff, 0x7f])?;
            let dir = fixture.scratch.path("refused");
            only_shown(&copy, &dir).with_context(|| format!("{offset}"))?;
        }
        Ok(())
    }

    /// A journal that needs recovery and makes no sense.
    #[test]
    fn journals() -> Result<()> {
        if !skip::allowed(skip::MOUNTS) {
            return Ok(());
        }
        let fixture = Fixture::new(&["-O", "^metadata_csum"])?;
        let journal = debugfs::bmap(&fixture.image, "<8>", 0)? * BLOCK;
        for (offset, bytes) in [
            (0u64, &[0u8; 4][..]),
            (4, &[0, 0, 0, 9]),
            (0x0c, &[0, 0, 0, 0]),
            (0x0c, &[0xff; 4]),
            (0x10, &[0xff; 4]),
            (0x14, &[0xff; 4]),
            (0x14, &[0, 0, 0, 0]),
            (0x1c, &[0xff; 4]),
            (0x28, &[0xff; 4]),
        ] {
            let copy = fixture.copy()?;
            patch::set_bits(&copy, 0x60, 4)?;
            patch::write(&copy, journal + 0x1c, &[0, 0, 0, 1])?;
            patch::write(&copy, journal + offset, bytes)?;
            let dir = fixture.scratch.path("refused");
            only_shown(&copy, &dir).with_context(|| format!("{offset:#x} {bytes:x?}"))?;
        }
        Ok(())
    }

    /// Random bytes all over the metadata: whatever happens, no panic, no hang.
    #[test]
    fn random_damage() -> Result<()> {
        if !skip::allowed(skip::MOUNTS) {
            return Ok(());
        }
        let fixture = Fixture::new(&["-O", "^metadata_csum"])?;
        let mut rng = Rng::new(0xdead);
        let places = [
            fixture.inode_of("/deep")?,
            fixture.inode_of("/dir")?,
            fixture.inode_of("/attributes")?,
            fixture.inode_of("/slow")?,
            deep_block(&fixture)?,
            fixture.block_of("/dir", 0)?,
            fixture.block_of("/hashed", 0)?,
            fixture.block_of("/hashed", 2)?,
            attribute_block(&fixture)?,
        ];
        for _ in 0..40 {
            let copy = fixture.copy()?;
            for place in places {
                let at = place + rng.below(256);
                patch::write(&copy, at, &[rng.next_u64().to_le_bytes()[0]])?;
            }
            fixture.look(&copy)?;
        }
        fixture.commands_survive(&fixture.copy()?, "/")
    }
}
