//! Logs written by Linux: the image of a mounted volume, copied after fsync, is
//! what a power cut leaves. Linux and e2fsck recover it too, and every block
//! must come out the same.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use super::image::{Dirty, Mount, Scratch, tools_and_mounts};
use crate::format::journal::{JBD2_MAGIC_BYTES, JournalCompat, JournalIncompat};
use crate::journal::log::Log;
use crate::journal::ring::LogBlock;
use crate::journal::{
    FastCommitName, FastCommitOp, JournalSuperblock, ReplayedBlock, Tid, read_superblock, scan,
};

/// Keeps Linux from committing when nobody asked.
const COMMIT: &str = "commit=300";

/// A volume's image while it is mounted, after `work`; as if nothing that is in
/// the log had been written home since the volume was made.
fn dirty(mke2fs_args: &[&str], options: &str, work: impl FnOnce(&Mount)) -> Dirty {
    let scratch = Scratch::new(mke2fs_args);
    let (fresh, log_blocks) = (scratch.bytes(), scratch.log_blocks());
    let mount = scratch.mount(&format!("{COMMIT},{options}"));
    work(&mount);
    let mut dirty = Dirty::new(scratch.bytes(), log_blocks);
    drop(mount);
    let superblock_at = 1024 / dirty.block_bytes as u64;
    for target in dirty.recover().unwrap().blocks.keys() {
        if target.0 != superblock_at {
            let range = dirty.range(target.0);
            dirty.bytes[range.clone()].copy_from_slice(&fresh[range]);
        }
    }
    dirty
}

/// Fails unless Linux and e2fsck make the same of it; the recovered bytes.
fn compare(dirty: &Dirty) -> Vec<u8> {
    let replay = dirty.recover().unwrap();
    assert!(replay.transactions > 0, "the log is empty");
    let ours = dirty.recovered(&replay);
    assert!(ours != dirty.bytes, "recovery changed nothing");
    let e2fsck = Scratch::holding(&dirty.bytes);
    e2fsck.e2fsck_journal_only();
    dirty.assert_equal("e2fsck", &ours, &e2fsck.bytes());
    let linux = Scratch::holding(&dirty.bytes).recovered_by_linux();
    dirty.assert_equal("Linux", &ours, &linux.expect("Linux refuses the log"));
    ours
}

fn superblock(dirty: &Dirty) -> JournalSuperblock {
    dirty.with_location(read_superblock).unwrap()
}

/// True if the complete transactions go beyond the ring's last block.
fn wraps(dirty: &Dirty) -> bool {
    dirty.with_location(|location| {
        let superblock = read_superblock(location).unwrap();
        let log = Log::new(location, &superblock).unwrap();
        let start = LogBlock(superblock.start_block);
        let found = scan::scan(&log, start, Tid(superblock.sequence)).unwrap();
        found.descriptors.last().is_some_and(|last| last.at < start)
    })
}

/// Everything that leaves traces in a log: names come and go, a directory grows
/// and its blocks are freed again (revoke records), a file is so full of holes
/// that its extents need blocks of their own.
fn work(mount: &Mount) {
    let path = |name: &str| mount.path().join(name);
    for round in 0..3 {
        fs::create_dir(path("d")).unwrap();
        for i in 0..120 {
            let name = format!("d/a-name-that-takes-some-room-in-its-directory-{i}");
            fs::write(path(&name), name.repeat(3)).unwrap();
        }
        mount.sync_all();
        fs::rename(
            path("d/a-name-that-takes-some-room-in-its-directory-7"),
            path("seven"),
        )
        .unwrap();
        std::os::unix::fs::symlink("d/".repeat(40), path("link")).unwrap();
        let holes = File::create(path("holes")).unwrap();
        for i in 0..100 {
            holes.write_all_at(b"x", i * 16384).unwrap();
        }
        holes.sync_all().unwrap();
        fs::remove_dir_all(path("d")).unwrap();
        holes.set_len(5).unwrap();
        holes.sync_all().unwrap();
        fs::remove_file(path("link")).unwrap();
        // Freed blocks of directories become file data: a replay of what was
        // in them would be seen.
        mount.write("data", &[round; 300_000]);
        mount.sync_all();
    }
    mount.write("last", b"last");
}

#[test]
fn every_layout_linux_writes() {
    if tools_and_mounts().is_none() {
        return;
    }
    let v3 = JournalIncompat::CSUM_V3;
    let wide = JournalIncompat::BLOCKS_64BIT;
    let is_async = JournalIncompat::ASYNC_COMMIT;
    let none = JournalIncompat::empty();
    let cases: [(&str, &str, &str, JournalIncompat, bool); 8] = [
        ("1024", "64bit,metadata_csum", "rw", v3 | wide, false),
        ("1024", "^64bit,metadata_csum", "rw", v3, false),
        ("4096", "64bit,metadata_csum", "rw", v3 | wide, false),
        ("1024", "64bit,^metadata_csum", "rw", wide, false),
        ("1024", "^64bit,^metadata_csum", "rw", none, false),
        (
            "4096",
            "^64bit,^metadata_csum",
            "journal_checksum",
            none,
            true,
        ),
        (
            "1024",
            "^64bit,^metadata_csum",
            "journal_async_commit,data=writeback",
            is_async,
            true,
        ),
        (
            "1024",
            "64bit,metadata_csum",
            "journal_async_commit,data=writeback",
            v3 | wide | is_async,
            false,
        ),
    ];
    for (block_bytes, features, options, incompat, is_v1) in cases {
        let args = ["-b", block_bytes, "-J", "size=8", "-O", features];
        let dirty = dirty(&args, options, work);
        let superblock = superblock(&dirty);
        let without_revoke = superblock.incompat & !JournalIncompat::REVOKE;
        assert_eq!(without_revoke, incompat, "{features} {options}");
        assert_eq!(superblock.compat.contains(JournalCompat::CHECKSUM), is_v1);
        compare(&dirty);
        let revoked = dirty.recover().unwrap().revoked_blocks;
        assert!(revoked > 0, "{features} {options}: no revoke record");
    }
}

#[test]
fn a_log_that_wraps() {
    if tools_and_mounts().is_none() {
        return;
    }
    for features in ["64bit,metadata_csum", "^64bit,^metadata_csum"] {
        let scratch = Scratch::new(&["-b", "1024", "-J", "size=1", "-O", features]);
        let log_blocks = scratch.log_blocks();
        let mount = scratch.mount(COMMIT);
        let wrapped = (0..60_u32).find_map(|round| {
            for i in 0..40 {
                mount.write(&format!("file-{i}"), &[round as u8; 3000]);
            }
            let dirty = Dirty::new(scratch.bytes(), log_blocks.clone());
            wraps(&dirty).then_some(dirty)
        });
        drop(mount);
        compare(&wrapped.expect("the log never wrapped"));
    }
}

#[test]
fn file_data_in_the_log_that_looks_like_the_log() {
    if tools_and_mounts().is_none() {
        return;
    }
    for (block_bytes, features) in [
        ("1024", "64bit,metadata_csum"),
        ("4096", "64bit,metadata_csum"),
        ("1024", "^64bit,^metadata_csum"),
    ] {
        // A descriptor, a commit block, and a block that is only the magic.
        let mut data = vec![0x77; 40_000];
        for (i, block) in data.chunks_mut(1024).enumerate() {
            block[..4].copy_from_slice(&JBD2_MAGIC_BYTES);
            block[4..12].copy_from_slice(&[0, 0, 0, (i % 6) as u8, 0, 0, 0, 3]);
        }
        let args = ["-b", block_bytes, "-J", "size=8", "-O", features];
        let dirty = dirty(&args, "data=journal", |mount| {
            mount.write("plain", &[1; 20_000]);
            mount.write("magic", &data);
            mount.write("plain", &[2; 20_000]);
        });
        compare(&dirty);
        let replay = dirty.recover().unwrap();
        let escaped = replay.blocks.values().filter_map(|content| match content {
            ReplayedBlock::Bytes(bytes) => Some(bytes),
            ReplayedBlock::InLog(_) => None,
        });
        let mut count = 0;
        for bytes in escaped {
            assert_eq!(bytes[..4], JBD2_MAGIC_BYTES);
            count += 1;
        }
        assert!(
            count >= 40_000 / dirty.block_bytes,
            "{count} escaped blocks"
        );
    }
}

#[test]
fn a_power_cut_amid_a_transaction() {
    if tools_and_mounts().is_none() {
        return;
    }
    let args = ["-b", "1024", "-J", "size=4", "-O", "64bit,metadata_csum"];
    let whole = dirty(&args, "rw", work);
    let transactions = whole.recover().unwrap().transactions;
    assert!(transactions > 3);
    let (_, last) = whole.recover().unwrap().tids.unwrap();
    let commit_at = whole.log_blocks.iter().copied().find(|&at| {
        let header = &whole.bytes[whole.range(at)][..12];
        header[..8] == [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 2] && header[8..] == last.0.to_be_bytes()
    });
    let commit = whole.range(commit_at.expect("no commit block"));

    // Not written at all.
    let mut cut = whole.clone();
    cut.bytes[commit.clone()].fill(0);
    assert_eq!(cut.recover().unwrap().transactions, transactions - 1);
    compare(&cut);

    // Its first sector only. e2fsck 1.47.0 does not know that case.
    let mut torn = whole.clone();
    torn.bytes[commit][512..].fill(0xA5);
    let replay = torn.recover().unwrap();
    assert_eq!(replay.transactions, transactions);
    let linux = Scratch::holding(&torn.bytes).recovered_by_linux();
    torn.assert_equal("Linux", &torn.recovered(&replay), &linux.unwrap());
}

/// A block with a bad checksum in any place: we refuse exactly the logs Linux
/// refuses.
#[test]
fn damage_is_what_linux_says_it_is() {
    if tools_and_mounts().is_none() {
        return;
    }
    for (features, options) in [
        ("64bit,metadata_csum", "rw"),
        ("64bit,metadata_csum", "journal_async_commit,data=writeback"),
        ("^64bit,^metadata_csum", "journal_checksum"),
        (
            "^64bit,^metadata_csum",
            "journal_async_commit,data=writeback",
        ),
    ] {
        let args = ["-b", "1024", "-J", "size=4", "-O", features];
        let good = dirty(&args, options, |mount| {
            mount.write("a", &[1; 2000]);
            mount.write("b", &[2; 2000]);
        });
        let start = superblock(&good).start_block as usize;
        let used = good.log_blocks[start..]
            .iter()
            .take_while(|&&at| good.bytes[good.range(at)].iter().any(|&b| b != 0))
            .count();
        let mut refused = 0;
        for at in start..start + used {
            for byte in [3, 40, 300] {
                let mut bad = good.clone();
                let place = bad.range(bad.log_blocks[at]).start + byte;
                bad.bytes[place] ^= 0x40;
                let linux = Scratch::holding(&bad.bytes).recovered_by_linux();
                let what = format!("{features} {options}: log block {at} byte {byte}");
                match (bad.recover(), linux) {
                    (Ok(replay), Some(linux)) => {
                        bad.assert_equal(&what, &bad.recovered(&replay), &linux);
                    }
                    (Err(_), None) => refused += 1,
                    (ours, linux) => panic!("{what}: {:?}, Linux {}", ours.err(), linux.is_some()),
                }
            }
        }
        println!("{features} {options}: {refused} of {} refused", used * 3);
        assert!(refused > 0);
    }
}

/// debugfs's words for an operation.
fn words(operation: &FastCommitOp) -> String {
    let name = |tag: &str, entry: &FastCommitName| {
        let name = String::from_utf8_lossy(&entry.name);
        format!(
            "tag {tag}, parent {}, ino {}, name \"{name}\"",
            entry.parent, entry.inode
        )
    };
    match operation {
        FastCommitOp::AddRange { inode, extent } => {
            let [b0, b1, b2, b3, l0, l1, h0, h1, p0, p1, p2, p3] = *extent;
            let block = u32::from_le_bytes([b0, b1, b2, b3]);
            let len = u16::from_le_bytes([l0, l1]);
            let len = if len > 32768 { len - 32768 } else { len };
            let physical = u64::from_le_bytes([p0, p1, p2, p3, h0, h1, 0, 0]);
            format!("tag ADD_RANGE, inode {inode}, lblk {block}, pblk {physical}, len {len}")
        }
        FastCommitOp::DelRange {
            inode,
            first_block,
            len_blocks,
        } => {
            let (first, len) = (first_block.cast_signed(), len_blocks.cast_signed());
            format!("tag DEL_RANGE, inode {inode}, lblk {first}, len {len}")
        }
        FastCommitOp::Create(entry) => name("CREAT_DENTRY", entry),
        FastCommitOp::Link(entry) => name("ADD_ENTRY", entry),
        FastCommitOp::Unlink(entry) => name("DEL_ENTRY", entry),
        FastCommitOp::Inode { inode, raw } => {
            assert!(raw.len() >= 128);
            format!("tag INODE, inode {inode}")
        }
    }
}

fn fast_commit_work(mount: &Mount) {
    let path = |name: &str| mount.path().join(name);
    mount.write("first", b"a full commit");
    mount.sync_all();
    for i in 0..30 {
        mount.write(&format!("file-{i}"), &vec![i; 3000 * (1 + usize::from(i))]);
    }
    fs::rename(path("file-3"), path("renamed")).unwrap();
    fs::hard_link(path("file-4"), path("linked")).unwrap();
    fs::remove_file(path("file-5")).unwrap();
    mount.fsync("renamed");
    let file = File::options().write(true).open(path("file-6")).unwrap();
    file.set_len(100).unwrap();
    file.write_all_at(b"far", 900_000).unwrap();
    file.sync_all().unwrap();
    fs::create_dir(path("dir")).unwrap();
    mount.write("dir/inside", b"x");
    mount.fsync("linked");
}

#[test]
fn fast_commits_by_linux() {
    if tools_and_mounts().is_none() {
        return;
    }
    for (block_bytes, features) in [
        ("1024", "fast_commit,64bit,metadata_csum"),
        ("4096", "fast_commit,64bit,metadata_csum"),
        ("1024", "fast_commit,^64bit,^metadata_csum"),
    ] {
        let args = [
            "-b",
            block_bytes,
            "-J",
            "size=8,fast_commit_size=512",
            "-O",
            features,
        ];
        let mut dirty = dirty(&args, "rw", fast_commit_work);
        let superblock = superblock(&dirty);
        assert!(superblock.incompat.contains(JournalIncompat::FAST_COMMIT));
        let replay = dirty.recover().unwrap();
        assert!(replay.fast_commit_count > 5, "{}", replay.fast_commit_count);
        let theirs = Scratch::holding(&dirty.bytes).debugfs("logdump\n");
        let theirs: Vec<&str> = theirs
            .lines()
            .filter(|line| line.starts_with("tag "))
            .filter(|line| {
                !["tag HEAD", "tag TAIL", "tag PAD"]
                    .iter()
                    .any(|t| line.starts_with(t))
            })
            .collect();
        let ours: Vec<String> = replay.fast_commits.iter().map(words).collect();
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(theirs) {
            // debugfs 1.47.0 prints what follows a name up to the next zero.
            let agrees = theirs.strip_prefix(ours.trim_end_matches('"'));
            assert!(agrees.is_some(), "{ours} - {theirs}");
        }

        // Without them, the rest is as for any log.
        for at in superblock.fast_commit_area() {
            let range = dirty.range(dirty.log_blocks[at as usize]);
            dirty.bytes[range].fill(0);
        }
        assert!(dirty.recover().unwrap().fast_commits.is_empty());
        compare(&dirty);
    }
}

/// Later full commits make fast commits void, which stay where they are. Linux
/// alone is asked: e2fsck 1.47.0 gives up on such a log (invalid argument).
#[test]
fn fast_commits_before_a_full_one_do_not_count() {
    if tools_and_mounts().is_none() {
        return;
    }
    let args = ["-b", "1024", "-J", "size=8", "-O", "fast_commit"];
    let dirty = dirty(&args, "rw", |mount| {
        fast_commit_work(mount);
        mount.sync_all();
    });
    let area = superblock(&dirty).fast_commit_area();
    let first = dirty.range(dirty.log_blocks[area.start as usize]);
    assert_eq!(dirty.bytes[first][..2], [9, 0], "no fast commit was there");
    let replay = dirty.recover().unwrap();
    assert!(replay.fast_commits.is_empty() && replay.transactions > 0);
    let linux = Scratch::holding(&dirty.bytes).recovered_by_linux();
    dirty.assert_equal("Linux", &dirty.recovered(&replay), &linux.unwrap());
}

#[test]
fn a_torn_fast_commit_does_not_count() {
    if tools_and_mounts().is_none() {
        return;
    }
    let args = ["-b", "1024", "-J", "size=8", "-O", "fast_commit"];
    let mut dirty = dirty(&args, "rw", fast_commit_work);
    let all = dirty.recover().unwrap();
    let area = superblock(&dirty).fast_commit_area();
    let used: Vec<u32> = area
        .take_while(|&at| dirty.bytes[dirty.range(dirty.log_blocks[at as usize])][0] != 0)
        .collect();
    let mut counts = Vec::new();
    for &at in used.iter().rev() {
        let range = dirty.range(dirty.log_blocks[at as usize]);
        dirty.bytes[range].fill(0);
        let replay = dirty.recover().unwrap();
        assert!(all.fast_commits.starts_with(&replay.fast_commits));
        counts.push(replay.fast_commit_count);
    }
    assert!(
        counts.is_sorted_by(|a, b| a >= b) && counts.last() == Some(&0),
        "{counts:?}"
    );
}

#[test]
fn the_superblock_is_what_dumpe2fs_prints() {
    if tools_and_mounts().is_none() {
        return;
    }
    let args = [
        "-b",
        "1024",
        "-J",
        "size=8,fast_commit_size=512",
        "-O",
        "fast_commit",
    ];
    let scratch = Scratch::new(&args);
    let log_blocks = scratch.log_blocks();
    let mount = scratch.mount(COMMIT);
    work(&mount);
    let dirty = Dirty::new(scratch.bytes(), log_blocks);
    drop(mount);
    let said = Scratch::holding(&dirty.bytes).dumpe2fs();
    let field = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {said}"))
            .trim()
            .to_owned()
    };
    let superblock = superblock(&dirty);
    assert_eq!(
        field("Total journal blocks:"),
        superblock.len_blocks.to_string()
    );
    assert_eq!(
        field("Fast commit length:"),
        superblock.fast_commit_blocks.to_string()
    );
    assert_eq!(
        field("Journal sequence:"),
        format!("{:#010x}", superblock.sequence)
    );
    assert_eq!(field("Journal start:"), superblock.start_block.to_string());
    assert_eq!(
        field("Journal checksum:"),
        format!("{:#010x}", superblock.checksum.unwrap())
    );
    assert_eq!(field("Journal checksum type:"), "crc32c");
    assert_eq!(superblock.checksum_type, Some(4));
    assert_eq!((superblock.errno, superblock.version), (0, 2));
}
