//! Damaged attributes: every change ends, in an error where it must, and panics nowhere.

use super::*;
use crate::cache::{Role, RoleKind};
use crate::format::xattr_encode::set_references;
use crate::types::FsBlock;

/// Sets, removes and gives back; what comes of it does not matter here.
fn try_all(fixture: &Fixture, number: InodeNumber) -> [Result<()>; 3] {
    let writer = &fixture.writer;
    let attempt = |work: &dyn Fn(&mut crate::change::Change<'_>) -> Result<()>| {
        let mut change = writer.begin(credits(&writer.store))?;
        work(&mut change)
    };
    [
        attempt(&|change| set(change, number, b"user.new", &value(1, 80), XattrSet::Any)),
        attempt(&|change| remove(change, number, b"user.a")),
        attempt(&|change| remove_all(change, number)),
    ]
}

/// Changes bytes of a metadata block past the checks.
fn damage(fixture: &Fixture, number: FsBlock, edit: impl FnOnce(&mut [u8])) {
    let writer = &fixture.writer;
    let role = Role::of_volume(RoleKind::Xattrs);
    let mut change = writer.begin(1).unwrap();
    change
        .modify(
            number,
            role,
            |_| Ok(()),
            |bytes| {
                edit(bytes);
                let (references, _) = crate::format::xattr::references_and_hash(bytes);
                set_references(&writer.store.superblock, number, references, bytes)
            },
        )
        .unwrap();
    change.finish();
}

fn with_block(options: &[&str], len: usize) -> Option<(Fixture, FsBlock)> {
    let fixture = fixture(options, 2)?;
    set_one(&fixture, file(0), "user.a", &value(0, len)).unwrap();
    let block = fixture.writer.store.inode(file(0)).unwrap().xattr_block();
    Some((fixture, block.unwrap()))
}

#[test]
fn bits_of_a_block_flipped() {
    let Some((fixture, block)) = with_block(&["-I", "128", "-b", "1024"], 100) else {
        return;
    };
    for byte in (0..72).chain(900..1024) {
        for bit in 0..8 {
            damage(&fixture, block, |bytes| bytes[byte] ^= 1 << bit);
            let _ = try_all(&fixture, file(0));
            damage(&fixture, block, |bytes| bytes[byte] ^= 1 << bit);
        }
    }
    assert!(
        try_all(&fixture, file(0))
            .iter()
            .all(|result| result.is_ok())
    );
    fixture.close();
}

#[test]
fn bits_of_an_inode_flipped() {
    let Some(fixture) = fixture(&["-I", "256"], 1) else {
        return;
    };
    set_one(&fixture, file(0), "user.a", &value(0, 40)).unwrap();
    for byte in 0..96 {
        for bit in 0..8 {
            let flip = || {
                let mut change = fixture.writer.begin(1).unwrap();
                let flipped = change.edit_inode(file(0), |edit| {
                    edit.xattr_area_mut()[byte] ^= 1 << bit;
                    Ok(())
                });
                flipped.unwrap();
                change.finish();
            };
            flip();
            let _ = try_all(&fixture, file(0));
            flip();
        }
    }
    assert!(
        try_all(&fixture, file(0))
            .iter()
            .all(|result| result.is_ok())
    );
    fixture.close();
}

#[test]
fn nobody_owns_a_block() {
    let Some((fixture, block)) = with_block(&["-I", "128", "-b", "1024"], 100) else {
        return;
    };
    damage(&fixture, block, |bytes| bytes[4..8].fill(0));
    for result in try_all(&fixture, file(0)) {
        assert!(result.unwrap_err().is_corruption());
    }
}

#[test]
fn a_block_outside_the_volume_or_of_something_else() {
    let Some(fixture) = fixture(&["-I", "128", "-b", "1024"], 1) else {
        return;
    };
    for block in [0, 1, 5, u64::from(u32::MAX)] {
        let mut change = fixture.writer.begin(1).unwrap();
        let edited = change.edit_inode(file(0), |edit| edit.set_xattr_block(Some(FsBlock(block))));
        edited.unwrap();
        change.finish();
        let [set, removed, all] = try_all(&fixture, file(0));
        if block == 0 {
            // None.
            assert!(set.is_ok() && removed.is_err() && all.is_ok());
            continue;
        }
        for result in [set, removed, all] {
            assert!(result.unwrap_err().is_corruption(), "{block}");
        }
    }
}

/// Entries that name other inodes than EA inodes of theirs.
#[test]
fn values_in_inodes_that_hold_none() {
    let options = ["-I", "128", "-b", "1024", "-O", "ea_inode"];
    let Some((fixture, block)) = with_block(&options, 5000) else {
        return;
    };
    // The inode of the first entry's value.
    let place = 36..40;
    let mut old = [0; 4];
    damage(&fixture, block, |bytes| {
        old.copy_from_slice(&bytes[place.clone()]);
    });
    for number in [1, 2, 8, 11, 12, 13, 5000, u32::MAX] {
        damage(&fixture, block, |bytes| {
            bytes[place.clone()].copy_from_slice(&number.to_le_bytes());
        });
        let [_, removed, all] = try_all(&fixture, file(0));
        for result in [removed, all] {
            let error = result.unwrap_err();
            assert!(error.is_corruption(), "{number}: {error}");
        }
    }
    damage(&fixture, block, |bytes| {
        bytes[place.clone()].copy_from_slice(&old);
    });
    assert!(
        try_all(&fixture, file(0))
            .iter()
            .all(|result| result.is_ok())
    );
    fixture.close();
}
