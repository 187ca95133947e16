//! Logs written by debugfs, which can make ones Linux no longer makes.

use super::image::{Dirty, Scratch, tools};
use crate::error::ErrorKind;
use crate::format::journal::JournalIncompat;
use crate::journal::read_superblock;

/// An image of 1 KiB blocks, with room in block 8192 and after.
fn scratch(features: &str) -> Scratch {
    let args = ["-b", "1024", "-J", "size=4", "-O", features];
    let scratch = Scratch::new(&args);
    let pattern: Vec<u8> = (0..40 * 1024_u32).map(|i| (i / 1024 + 1) as u8).collect();
    std::fs::write(scratch.image().with_file_name("pattern"), pattern).unwrap();
    scratch
}

/// Writes transactions with debugfs; `{}` stands for a file of blocks full of
/// 1, 2, 3 and so on.
fn with_transactions(features: &str, commands: &str) -> Dirty {
    let scratch = scratch(features);
    let log_blocks = scratch.log_blocks();
    let pattern = scratch.image().with_file_name("pattern");
    scratch.debugfs(&commands.replace("{}", pattern.to_str().unwrap()));
    Dirty::new(scratch.bytes(), log_blocks)
}

/// Ours and e2fsck's recovery of it.
fn compare(dirty: &Dirty, transactions: u32) -> Vec<u8> {
    let replay = dirty.recover().unwrap();
    assert_eq!(replay.transactions, transactions);
    let ours = dirty.recovered(&replay);
    let theirs = Scratch::holding(&dirty.bytes);
    theirs.e2fsck_journal_only();
    dirty.assert_equal("e2fsck", &ours, &theirs.bytes());
    ours
}

#[test]
fn checksums_of_versions_2_and_3() {
    if tools(&["mke2fs", "e2fsck", "debugfs"]).is_none() {
        return;
    }
    let v2 = JournalIncompat::CSUM_V2;
    let v3 = JournalIncompat::CSUM_V3;
    for (features, open, kind) in [
        ("^metadata_csum,^64bit", "jo", JournalIncompat::empty()),
        ("^metadata_csum,64bit", "jo", JournalIncompat::empty()),
        ("^64bit", "jo -c -v 2", v2),
        ("64bit", "jo -c -v 2", v2),
        ("^64bit", "jo -c -v 3", v3),
        ("64bit", "jo -c -v 3", v3),
    ] {
        let commands = "\njw -b 20001,20003,20002,20001 {}\njw -r 20002\njw -b 20003 {}\njc\n";
        let dirty = with_transactions(features, &format!("{open}{commands}"));
        let superblock = dirty.with_location(read_superblock).unwrap();
        let checksums = superblock.incompat & (v2 | v3);
        assert_eq!(checksums, kind, "{features} {open}");
        let bytes = compare(&dirty, 3);
        let fill = |block| bytes[dirty.range(block)][9];
        assert_eq!([fill(20001), fill(20002), fill(20003)], [4, 0, 1]);
    }
}

#[test]
fn a_transaction_debugfs_left_open() {
    if tools(&["mke2fs", "e2fsck", "debugfs"]).is_none() {
        return;
    }
    let commands = "jo -c\njw -b 20001 {}\njw -b 20002 -c {}\njc\n";
    let dirty = with_transactions("64bit", commands);
    let bytes = compare(&dirty, 1);
    assert_eq!(bytes[dirty.range(20002)][9], 0);
}

/// What e2fsck makes of damage decides what is damage here.
#[test]
fn damage_is_what_e2fsck_says_it_is() {
    if tools(&["mke2fs", "e2fsck", "debugfs"]).is_none() {
        return;
    }
    let commands = "jo -c\njw -b 20001 {}\njw -b 20002,20003 {}\njc\n";
    let good = with_transactions("64bit", commands);
    // Log: 1 descriptor, 2 block, 3 commit, 4 descriptor, 5 and 6 blocks, 7 commit.
    for (log_block, byte, structure) in [
        (4, 600, "descriptor block"),
        (5, 600, "logged copy of block 20002"),
        (7, 0x38, "commit block"),
    ] {
        let mut bad = good.clone();
        bad.bytes[good.range(good.log_blocks[log_block]).start + byte] ^= 1;
        let error = bad.recover().err().unwrap();
        let ErrorKind::Corrupt(corruption) = error.kind() else {
            panic!("{error}");
        };
        assert_eq!(corruption.structure, structure);
        let said = Scratch::holding(&bad.bytes).e2fsck_journal_only();
        let complains = said.contains("checksum error") || said.contains("was corrupt");
        assert!(
            complains,
            "e2fsck accepts damage to log block {log_block}: {said}"
        );
    }
}
