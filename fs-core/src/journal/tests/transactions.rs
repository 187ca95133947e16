//! What of a log counts, what voids it, what ends it and what is damage.

use super::builder::{
    BLOCK_BYTES, HOME_BLOCKS, Layout, LogBuilder, SAME_UUID, content_of, entry, escaped, fills,
    home,
};
use super::device::Bytes;
use crate::error::{ErrorKind, Result};
use crate::format::journal::{JBD2_MAGIC_BYTES, JournalIncompat};
use crate::journal::{LogLocation, ReplayedBlock, Tid, recover};
use crate::types::FsBlock;

const ASYNC: JournalIncompat = JournalIncompat::ASYNC_COMMIT;

fn assert_corrupt(log: &LogBuilder, structure: &str) {
    let error = log.error();
    let ErrorKind::Corrupt(corruption) = error.kind() else {
        panic!("not a corruption: {error}");
    };
    assert_eq!(corruption.structure, structure, "{error}");
}

#[test]
fn the_last_copy_of_a_block_counts_in_every_layout() {
    for layout in Layout::all() {
        let mut log = LogBuilder::new(layout, 32, 1, 7);
        log.transaction(7, &[entry(3, 1), entry(4, 2), entry(5, 3)]);
        log.descriptor(8, &[entry(4, 4)]);
        log.transaction(8, &[entry(6, 5), entry(9, 6)]);
        assert_eq!(
            fills(&log),
            [(3, 1), (4, 4), (5, 3), (6, 5), (9, 6)],
            "{layout:?}"
        );
        let replay = log.recover().unwrap();
        assert_eq!(replay.tids, Some((Tid(7), Tid(8))));
        assert_eq!(replay.transactions, 2);
        // Nothing but escaped blocks is copied.
        assert_eq!(
            replay.blocks[&FsBlock(3)],
            ReplayedBlock::InLog(home(2, 32))
        );
    }
}

#[test]
fn the_log_wraps_amid_a_transaction_and_numbers_wrap_too() {
    for layout in Layout::all() {
        for start in 24..32 {
            let mut log = LogBuilder::new(layout, 32, start, u32::MAX);
            log.transaction(u32::MAX, &[entry(1, 1), entry(2, 2), entry(3, 3)]);
            log.transaction(0, &[entry(2, 4)]);
            log.transaction(1, &[entry(5, 5), entry(6, 6)]);
            assert_eq!(fills(&log), [(1, 1), (2, 4), (3, 3), (5, 5), (6, 6)]);
        }
    }
}

#[test]
fn a_full_ring_is_read_once() {
    let mut log = LogBuilder::new(Layout::V3, 13, 5, 1);
    for tid in 1..=4 {
        log.transaction(tid, &[entry(u64::from(tid), tid as u8)]);
    }
    assert_eq!(log.head, 5);
    assert_eq!(fills(&log), [(1, 1), (2, 2), (3, 3), (4, 4)]);
}

/// Linux would go round for ever here.
#[test]
fn a_ring_of_descriptors_without_commit_ends() {
    let mut log = LogBuilder::new(Layout::PLAIN, 33, 1, 1);
    for _ in 0..16 {
        log.descriptor(1, &[entry(1, 1)]);
    }
    assert_eq!(fills(&log), []);
}

#[test]
fn blocks_64_bits_wide_keep_their_high_half() {
    for layout in [Layout::PLAIN, Layout::V2, Layout::V3] {
        let target = 0x1_0000_0005;
        let mut log = LogBuilder::new(layout.with(JournalIncompat::BLOCKS_64BIT), 32, 1, 1);
        log.transaction(1, &[entry(target, 1)]);
        let error = log.error().to_string();
        assert!(error.contains(&target.to_string()), "{error}");
        // Without the feature the high half does not count.
        let mut log = LogBuilder::new(Layout::V3, 32, 1, 1);
        log.transaction(1, &[entry(target, 1)]);
        assert_eq!(fills(&log), [(5, 1)]);
    }
}

#[test]
fn an_escaped_block_gets_its_magic_back() {
    for layout in Layout::all() {
        let mut log = LogBuilder::new(layout, 32, 1, 1);
        log.transaction(1, &[entry(3, 1), escaped(4, 2)]);
        let replay = log.recover().unwrap();
        let ReplayedBlock::Bytes(bytes) = &replay.blocks[&FsBlock(4)] else {
            panic!("not copied");
        };
        assert_eq!(bytes[..4], JBD2_MAGIC_BYTES);
        assert!(bytes.len() == BLOCK_BYTES && bytes[4..].iter().all(|&b| b == 2));
        // A later copy that is not escaped takes its place, and the reverse.
        log.transaction(2, &[escaped(3, 8), entry(4, 9)]);
        let (volume, replay) = (log.volume(), log.recover().unwrap());
        assert_eq!(
            content_of(&volume, &replay.blocks[&FsBlock(3)])[..4],
            JBD2_MAGIC_BYTES
        );
        assert_eq!(
            content_of(&volume, &replay.blocks[&FsBlock(4)])[..4],
            [9; 4]
        );
    }
}

#[test]
fn a_tag_without_same_uuid_is_followed_by_one() {
    for layout in Layout::all() {
        let mut log = LogBuilder::new(layout, 32, 1, 1);
        let mut first = entry(3, 1);
        first.flags &= !SAME_UUID;
        let mut third = entry(5, 3);
        third.flags &= !SAME_UUID;
        log.transaction(1, &[first, entry(4, 2), third, entry(6, 4)]);
        assert_eq!(fills(&log), [(3, 1), (4, 2), (5, 3), (6, 4)], "{layout:?}");
    }
}

#[test]
fn without_a_last_tag_the_tags_fill_the_block() {
    for layout in Layout::all() {
        // More tags than any layout's block can hold, cut to what it holds.
        let mut log = LogBuilder::new(layout, 200, 1, 1);
        let tag_bytes = match (layout.incompat, layout.incompat.bits() & 2 != 0) {
            (f, _) if f.contains(JournalIncompat::CSUM_V3) => 16,
            (f, true) if f.contains(JournalIncompat::CSUM_V2) => 14,
            (f, false) if f.contains(JournalIncompat::CSUM_V2) => 10,
            (_, true) => 12,
            (_, false) => 8,
        };
        let tail = if layout.incompat.bits() & 0x18 != 0 {
            4
        } else {
            0
        };
        let count = (BLOCK_BYTES - 12 - tail) / tag_bytes;
        let entries: Vec<_> = (0..count).map(|i| entry(i as u64 % 50, i as u8)).collect();
        let at = log.descriptor(1, &entries);
        let last_flags = 12 + (count - 1) * tag_bytes + 7;
        log.blocks[at as usize][last_flags] &= !8;
        log.reseal(at);
        if layout.compat.is_empty() {
            log.commit(1);
            assert_eq!(log.recover().unwrap().blocks.len(), 50, "{layout:?}");
        }
    }
}

#[test]
fn a_revoke_voids_its_own_and_earlier_transactions_only() {
    for layout in Layout::all() {
        for first in [5, u32::MAX, u32::MAX - 1] {
            let tid = |n: u32| first.wrapping_add(n);
            let mut log = LogBuilder::new(layout, 32, 20, first);
            log.transaction(
                tid(0),
                &[entry(1, 1), entry(2, 1), entry(3, 1), entry(4, 1)],
            );
            log.revoke(tid(1), &[1, 2, 40]);
            log.transaction(tid(1), &[entry(2, 2), entry(4, 2)]);
            log.transaction(tid(2), &[entry(1, 3)]);
            log.revoke(tid(3), &[4]);
            log.commit(tid(3));
            assert_eq!(fills(&log), [(1, 3), (3, 1)], "{layout:?} {first}");
            assert_eq!(log.recover().unwrap().revoked_blocks, 4);
        }
    }
}

#[test]
fn a_revoke_without_commit_voids_nothing() {
    let mut log = LogBuilder::new(Layout::V3, 32, 1, 5);
    log.transaction(5, &[entry(1, 1)]);
    log.revoke(6, &[1]);
    assert_eq!(fills(&log), [(1, 1)]);
}

#[test]
fn the_size_of_a_revoke_block_is_checked() {
    for layout in [Layout::PLAIN, Layout::V3] {
        let mut log = LogBuilder::new(layout, 32, 1, 5);
        log.transaction(5, &[entry(0, 1), entry(1, 1)]);
        let at = log.revoke(6, &[1]);
        log.commit(6);
        let set_count = |log: &mut LogBuilder, count: u32| {
            log.blocks[at as usize][12..16].copy_from_slice(&count.to_be_bytes());
            log.reseal(at);
        };
        let usable = if layout.incompat.is_empty() {
            1024
        } else {
            1020
        };
        set_count(&mut log, usable + 1);
        assert_corrupt(&log, "revoke block");
        set_count(&mut log, u32::MAX);
        assert_corrupt(&log, "revoke block");
        set_count(&mut log, usable);
        assert_eq!(fills(&log), [], "zeros revoke block 0");
        for empty in [0, 15, 16, 19] {
            set_count(&mut log, empty);
            assert_eq!(fills(&log), [(0, 1), (1, 1)]);
        }
    }
}

#[test]
fn a_transaction_without_commit_does_not_count() {
    for layout in Layout::all() {
        let mut log = LogBuilder::new(layout, 32, 1, 5);
        log.transaction(5, &[entry(1, 1)]);
        log.descriptor(6, &[entry(1, 2)]);
        assert_eq!(fills(&log), [(1, 1)]);
        // Not even if a later one is complete.
        log.transaction(7, &[entry(1, 3)]);
        assert_eq!(fills(&log), [(1, 1)]);
    }
}

#[test]
fn a_gap_in_the_numbers_ends_the_log() {
    for next in [5, 7, 4, 0] {
        let mut log = LogBuilder::new(Layout::V3, 32, 1, 5);
        log.transaction(5, &[entry(1, 1)]);
        log.transaction(next, &[entry(1, 2)]);
        assert_eq!(fills(&log), [(1, 1)]);
    }
}

#[test]
fn an_unknown_block_type_ends_the_log() {
    let mut log = LogBuilder::new(Layout::PLAIN, 32, 1, 5);
    log.transaction(5, &[entry(1, 1)]);
    let at = log.descriptor(6, &[entry(1, 2)]);
    log.commit(6);
    for kind in [0, 3, 4, 6, 255] {
        log.blocks[at as usize][7] = kind;
        assert_eq!(fills(&log), [(1, 1)]);
    }
}

#[test]
fn a_target_beyond_the_device_is_corruption() {
    for layout in Layout::all() {
        let mut log = LogBuilder::new(layout, 32, 1, 5);
        log.transaction(5, &[entry(u64::from(HOME_BLOCKS) + 32, 1)]);
        assert_corrupt(&log, "descriptor block");
        // Unless it is revoked: then nobody looks at it.
        log.revoke(6, &[u64::from(HOME_BLOCKS) + 32]);
        log.commit(6);
        assert_eq!(fills(&log), []);
    }
}

/// A mounted volume was growing when the lights went out.
#[test]
fn a_target_beyond_the_volume_but_on_the_device_counts() {
    let mut log = LogBuilder::new(Layout::V3, 32, 1, 5);
    log.transaction(5, &[entry(60, 1)]);
    let device = Bytes::device(log.volume());
    let replay = recover(&LogLocation {
        device: &device,
        block_bytes: BLOCK_BYTES as u32,
        blocks_count: 50,
        inode_bytes: 256,
        map: &|at| Ok(home(at, 32)),
        len_blocks: 32,
    });
    assert!(replay.unwrap().blocks.contains_key(&FsBlock(60)));
}

#[test]
fn a_bad_descriptor_is_damage_unless_it_is_a_leftover() {
    for layout in [Layout::V2, Layout::V3] {
        let mut log = LogBuilder::new(layout, 32, 1, 5);
        log.transaction(5, &[entry(1, 1)]);
        let at = log.descriptor(6, &[entry(1, 2)]);
        log.blocks[at as usize][900] ^= 1;
        // The commit block is missing: an unfinished write.
        assert_eq!(fills(&log), [(1, 1)]);
        let mut younger = log.clone();
        younger.commit(6);
        assert_corrupt(&younger, "descriptor block");
        let mut older = log.clone();
        older.seconds = 10;
        older.commit(6);
        assert_eq!(fills(&older), [(1, 1)]);

        let mut first = LogBuilder::new(layout, 32, 1, 5);
        let at = first.revoke(5, &[1]);
        first.commit(5);
        first.blocks[at as usize][900] ^= 1;
        assert_corrupt(&first, "revoke block");
    }
}

#[test]
fn a_bad_logged_block_is_damage_unless_it_is_void() {
    for layout in [Layout::V2, Layout::V3] {
        let mut log = LogBuilder::new(layout, 32, 1, 5);
        let at = log.descriptor(5, &[entry(1, 1), entry(2, 1)]);
        log.commit(5);
        log.blocks[at as usize + 2][77] ^= 1;
        assert_corrupt(&log, "logged copy of block 2");
        // A later copy does not help, a revoke does.
        log.transaction(6, &[entry(2, 2)]);
        assert_corrupt(&log, "logged copy of block 2");
        log.revoke(7, &[2]);
        log.commit(7);
        assert_eq!(fills(&log), [(1, 1)]);
    }
}

#[test]
fn a_bad_commit_block_is_damage_unless_commits_are_asynchronous() {
    for layout in [Layout::V1, Layout::V2, Layout::V3] {
        for is_async in [false, true] {
            let layout = if is_async { layout.with(ASYNC) } else { layout };
            let mut log = LogBuilder::new(layout, 32, 1, 5);
            log.transaction(5, &[entry(1, 1)]);
            log.descriptor(6, &[entry(1, 2)]);
            let at = log.commit(6);
            log.blocks[at as usize][17] ^= 1;
            if is_async {
                assert_eq!(fills(&log), [(1, 1)]);
            } else {
                assert_corrupt(&log, "commit block");
            }
            // An older commit block is left from an earlier round.
            log.blocks[at as usize][0x30..0x38].fill(0);
            assert_eq!(fills(&log), [(1, 1)]);
        }
    }
}

#[test]
fn a_torn_commit_block_counts_if_its_header_is_whole() {
    for layout in [Layout::V2, Layout::V3] {
        let mut log = LogBuilder::new(layout, 32, 1, 5);
        log.descriptor(5, &[entry(1, 1)]);
        let at = log.commit(5) as usize;
        log.blocks[at][512..].fill(0x5A);
        assert_eq!(fills(&log), [(1, 1)]);
        log.blocks[at][0x38] ^= 1;
        assert_corrupt(&log, "commit block");
    }
}

#[test]
fn a_bad_v1_transaction_followed_by_another_is_damage() {
    let mut log = LogBuilder::new(Layout::V1.with(ASYNC), 32, 1, 5);
    log.transaction(5, &[entry(1, 1)]);
    let at = log.descriptor(6, &[entry(1, 2)]);
    log.commit(6);
    log.blocks[at as usize + 1][500] ^= 1;
    assert_eq!(fills(&log), [(1, 1)], "interrupted");
    log.descriptor(7, &[entry(1, 3)]);
    assert_eq!(fills(&log), [(1, 1)], "still");
    log.commit(7);
    assert_corrupt(&log, "commit block");
    assert!(log.error().to_string().contains("transaction 6"));
}

#[test]
fn a_v1_commit_block_may_go_without_checksum() {
    let mut log = LogBuilder::new(Layout::V1, 32, 1, 5);
    log.descriptor(5, &[entry(1, 1)]);
    let at = log.commit(5) as usize;
    let checksummed = log.blocks[at].clone();
    log.blocks[at][12..20].fill(0);
    assert_eq!(fills(&log), [(1, 1)]);
    // Half a checksum is none of either kind.
    for (from, to) in [(12, 13), (13, 14), (16, 20)] {
        log.blocks[at] = checksummed.clone();
        log.blocks[at][from..to].fill(0);
        assert_corrupt(&log, "commit block");
    }
}

#[test]
fn v1_covers_all_descriptors_and_blocks_but_not_revokes() {
    let mut log = LogBuilder::new(Layout::V1, 32, 28, 5);
    log.descriptor(5, &[entry(1, 1), entry(2, 2)]);
    log.revoke(5, &[9]);
    log.transaction(5, &[entry(3, 3)]);
    assert_eq!(fills(&log), [(1, 1), (2, 2), (3, 3)]);
    for at in [28, 29, 30, 1, 2] {
        let mut bad = log.clone();
        bad.blocks[at][800] ^= 0x10;
        assert_corrupt(&bad, "commit block");
    }
}

#[test]
fn a_mapping_that_fails_or_leaves_the_device_is_an_error() {
    let mut log = LogBuilder::new(Layout::PLAIN, 32, 1, 5);
    log.transaction(5, &[entry(1, 1)]);
    let device = Bytes::device(log.volume());
    let error_with = |map: &dyn Fn(u32) -> Result<FsBlock>| {
        let location = LogLocation {
            device: &device,
            block_bytes: BLOCK_BYTES as u32,
            blocks_count: 96,
            inode_bytes: 256,
            map,
            len_blocks: 32,
        };
        recover(&location).err().unwrap().to_string()
    };
    for outside in [96, u64::MAX / 1024, u64::MAX] {
        let error = error_with(&|at| {
            Ok(if at == 2 {
                FsBlock(outside)
            } else {
                home(at, 32)
            })
        });
        assert!(error.contains("journal block 2"), "{error}");
    }
    let error = error_with(&|_| Err(ErrorKind::NotFound.into()));
    assert!(error.contains("journal block 0"), "{error}");
}
