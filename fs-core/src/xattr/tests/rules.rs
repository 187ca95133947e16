//! What is refused, and that it changes nothing.

use super::*;
use crate::error::ErrorKind;

const OPTIONS: [&str; 4] = ["-I", "256", "-b", "1024"];

#[test]
fn names_outside_the_namespaces_are_refused() {
    let Some(fixture) = fixture(&OPTIONS, 1) else {
        return;
    };
    let long = format!("user.{}", "n".repeat(251));
    for (name, expected) in [
        ("system.data", ErrorKind::NotSupported("")),
        ("system.richacl", ErrorKind::NotSupported("")),
        ("gnu.x", ErrorKind::NotSupported("")),
        ("other", ErrorKind::NotSupported("")),
        ("", ErrorKind::NotSupported("")),
        ("system.posix_acl_access.", ErrorKind::NotSupported("")),
        ("user.", ErrorKind::InvalidInput("")),
        ("trusted.", ErrorKind::InvalidInput("")),
        ("user.a\0b", ErrorKind::InvalidInput("")),
        (long.as_str(), ErrorKind::NameTooLong),
    ] {
        let error = set_one(&fixture, file(0), name, b"x").unwrap_err();
        assert_eq!(kind(&error), discriminant(&expected), "{name}: {error}");
        let error = remove_one(&fixture, file(0), name).unwrap_err();
        assert_eq!(kind(&error), discriminant(&expected), "{name}: {error}");
    }
    assert!(read_all(&fixture, file(0)).is_empty());
    set_one(&fixture, file(0), &long[..255], b"x").unwrap();
    assert_eq!(read_all(&fixture, file(0)).len(), 1);
    fixture.close();
}

#[test]
fn modes_demand_what_they_say() {
    let Some(fixture) = fixture(&OPTIONS, 1) else {
        return;
    };
    let set_as = |value: &[u8], mode| {
        let mut change = fixture.writer.begin(8)?;
        set(&mut change, file(0), b"user.a", value, mode)?;
        change.finish();
        Ok::<_, crate::error::Error>(())
    };
    let missing = set_as(b"1", XattrSet::Replace).unwrap_err();
    assert_eq!(*missing.kind(), ErrorKind::NoAttribute);
    set_as(b"1", XattrSet::Create).unwrap();
    let there = set_as(b"2", XattrSet::Create).unwrap_err();
    assert_eq!(*there.kind(), ErrorKind::Exists);
    set_as(b"3", XattrSet::Replace).unwrap();
    let store = &fixture.writer.store;
    let inode = store.inode(file(0)).unwrap();
    assert_eq!(get(store, &inode, b"user.a").unwrap(), b"3");
    let none = remove_one(&fixture, file(0), "user.b").unwrap_err();
    assert_eq!(*none.kind(), ErrorKind::NoAttribute);
    fixture.close();
}

#[test]
fn what_is_no_acl_is_refused() {
    let Some(fixture) = fixture(&OPTIONS, 1) else {
        return;
    };
    for value in [&b""[..], &[2, 0, 0, 0], &[1, 0, 0, 0], b"nonsense"] {
        let error = set_one(&fixture, file(0), "system.posix_acl_access", value).unwrap_err();
        let expected = discriminant(&ErrorKind::InvalidInput(""));
        assert_eq!(kind(&error), expected, "{error}");
    }
    fixture.close();
}

#[test]
fn what_does_not_fit_leaves_the_old_value() {
    let Some(fixture) = fixture(&OPTIONS, 1) else {
        return;
    };
    set_one(&fixture, file(0), "user.a", b"old").unwrap();
    let before = read_all(&fixture, file(0));
    for len in [1000, 5000, 65_536, 65_537] {
        let error = set_one(&fixture, file(0), "user.a", &value(0, len)).unwrap_err();
        let expected = discriminant(&ErrorKind::TooLarge(""));
        assert_eq!(kind(&error), expected, "{error}");
        assert_eq!(error.errno(), rustix::io::Errno::NOSPC);
    }
    assert_eq!(read_all(&fixture, file(0)), before);
    fixture.close();
}

/// Attributes of an inode that fit to the byte, in the inode and in the block.
#[test]
fn all_room_is_used() {
    let Some(fixture) = fixture(&OPTIONS, 1) else {
        return;
    };
    // 96 bytes less magic number, end and entry; 1024 less header, end and entry.
    for (name, most, in_block) in [("user.i", 68, false), ("user.b", 968, true)] {
        set_one(&fixture, file(0), name, &value(1, most)).unwrap();
        let inode = fixture.writer.store.inode(file(0)).unwrap();
        assert_eq!(inode.xattr_block().is_some(), in_block);
    }
    let error = set_one(&fixture, file(0), "user.b", &value(1, 969)).unwrap_err();
    assert_eq!(kind(&error), discriminant(&ErrorKind::TooLarge("")));
    assert_eq!(read_all(&fixture, file(0))[&b"user.b"[..]].len(), 968);
    fixture.close();
}

#[test]
fn equal_attributes_share_a_block() {
    let Some(fixture) = fixture(&OPTIONS, 8) else {
        return;
    };
    let blocks = |fixture: &Fixture| {
        let numbers = (0..8).map(|index| {
            let inode = fixture.writer.store.inode(file(index)).unwrap();
            inode.xattr_block()
        });
        numbers.collect::<std::collections::BTreeSet<_>>().len()
    };
    for name in ["user.a", "user.b"] {
        for index in 0..8 {
            set_one(&fixture, file(index), name, &value(3, 300)).unwrap();
        }
        assert_eq!(blocks(&fixture), 1);
    }
    set_one(&fixture, file(3), "user.b", b"of its own").unwrap();
    assert_eq!(blocks(&fixture), 2);
    set_one(&fixture, file(3), "user.b", &value(3, 300)).unwrap();
    assert_eq!(blocks(&fixture), 1);
    // A shared block that was taken back cannot be found.
    let mut change = fixture
        .writer
        .begin(credits(&fixture.writer.store))
        .unwrap();
    set(&mut change, file(0), b"user.b", b"else", XattrSet::Any).unwrap();
    drop(change);
    set_one(&fixture, file(1), "user.b", b"else").unwrap();
    assert_eq!(blocks(&fixture), 2);
    fixture.close();
}

#[test]
fn a_block_has_at_most_1024_owners() {
    let options = ["-I", "128", "-b", "1024", "-N", "2048"];
    let Some(fixture) = fixture(&options, 1030) else {
        return;
    };
    for index in 0..1030 {
        set_one(&fixture, file(index), "user.a", b"the same").unwrap();
    }
    let block = |index| {
        fixture
            .writer
            .store
            .inode(file(index))
            .unwrap()
            .xattr_block()
    };
    assert_eq!(block(0), block(1023));
    assert_ne!(block(0), block(1024));
    assert_eq!(block(1024), block(1029));
    fixture.close();
}

/// The feature is noted in the superblock of a volume that lacks it.
#[test]
fn the_feature_is_noted() {
    let Some(fixture) = fixture(&["-O", "^ext_attr", "-I", "256"], 1) else {
        return;
    };
    set_one(&fixture, file(0), "user.a", b"x").unwrap();
    let raw = fixture.writer.superblock.snapshot();
    assert_eq!(raw.s_feature_compat.get() & 8, 8);
    fixture.close();
}

fn kind(error: &crate::error::Error) -> std::mem::Discriminant<ErrorKind> {
    discriminant(error.kind())
}

fn discriminant(kind: &ErrorKind) -> std::mem::Discriminant<ErrorKind> {
    std::mem::discriminant(kind)
}
