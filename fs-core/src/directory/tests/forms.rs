//! Every form of directory on every kind of volume, at random beside the model.

use super::{Random, Subject, assert_kind, debugfs, make_directory, make_directory_with};
use crate::directory;
use crate::error::ErrorKind;
use crate::format::inode_flags::InodeFlags;
use crate::format::xattr_encode::{NewValue, NewXattr};
use crate::types::{FileType, InodeNumber};

/// Adds, removes and replaces at random; the directory is as large as the model at the end.
fn play(subject: &mut Subject, steps: u64, seed: u64) {
    let mut random = Random::new(seed);
    let mut names: Vec<Vec<u8>> = Vec::new();
    for step in 0..steps {
        // It grows, shrinks, and grows again.
        let adds_of_10 = if step * 3 / steps == 1 { 3 } else { 8 };
        let at = random.below(names.len().max(1) as u64) as usize;
        if names.is_empty() || random.below(10) < adds_of_10 {
            let name = random.name(step);
            subject.add(&name).unwrap();
            names.push(name);
        } else if random.below(4) == 0 {
            subject.replace(&names[at]).unwrap();
        } else {
            subject.remove(&names.swap_remove(at)).unwrap();
        }
        if step % 64 == 0 {
            assert_kind(subject.remove(b"absent"), &ErrorKind::NotFound);
            if let Some(name) = names.first().cloned() {
                let number = subject.number;
                let target = subject.model[&name];
                let again = subject.change(|change| {
                    directory::add(change, number, &name, target, FileType::Regular)
                });
                assert_kind(again, &ErrorKind::Exists);
            }
        }
        if step % 512 == 0 {
            subject.check();
        }
    }
    subject.check();
}

#[test]
fn linear_directories_of_ext2() {
    let Some(mut subject) = Subject::new(&["-t", "ext2", "-b", "1024", "-O", "^dir_index"], "8M")
    else {
        return;
    };
    play(&mut subject, 1200, 1);
    assert!(!subject.inode().flags().contains(InodeFlags::INDEX));
    subject.close();
}

#[test]
fn linear_directories_without_types_and_with_checksums() {
    for features in ["^filetype,^dir_index", "metadata_csum,^dir_index"] {
        let options = ["-t", "ext4", "-b", "1024", "-O", features];
        let Some(mut subject) = Subject::new(&options, "8M") else {
            return;
        };
        play(&mut subject, 600, 2);
        subject.close();
    }
}

#[test]
fn hashed_directories() {
    for options in [
        &["-t", "ext4", "-b", "1024"][..],
        &[
            "-t",
            "ext4",
            "-b",
            "1024",
            "-O",
            "^metadata_csum,^has_journal",
        ],
        &["-t", "ext3", "-b", "1024"],
        &["-t", "ext4", "-b", "4096", "-O", "^filetype"],
    ] {
        let Some(mut subject) = Subject::new(options, "16M") else {
            return;
        };
        play(&mut subject, 4000, 3);
        assert!(subject.inode().flags().contains(InodeFlags::INDEX));
        let image = subject.close();
        let tree = debugfs(&image, "htree /d");
        assert!(tree.contains("Number of entries (count)"), "{tree}");
        assert!(!tree.contains("ad checksum"), "{tree}");
    }
}

#[test]
fn every_hash_can_be_written() {
    for hash in ["legacy", "half_md4", "tea"] {
        let options = ["-t", "ext4", "-b", "1024"];
        let Some(mut subject) = Subject::with_hash(&options, "8M", hash) else {
            return;
        };
        play(&mut subject, 1500, 4);
        subject.close();
    }
}

#[test]
fn blocks_of_64_kib() {
    for features in ["metadata_csum", "^metadata_csum", "^dir_index"] {
        let options = ["-t", "ext4", "-b", "65536", "-O", features];
        let Some(mut subject) = Subject::new(&options, "64M") else {
            return;
        };
        play(&mut subject, 9000, 5);
        subject.close();
    }
}

#[test]
fn inline_directories_grow_out_of_the_inode() {
    for (inode_size, features) in [
        ("256", "inline_data"),
        ("512", "inline_data,^metadata_csum"),
        ("1024", "inline_data,^dir_index"),
    ] {
        let options = ["-t", "ext4", "-b", "1024", "-I", inode_size, "-O", features];
        let Some(mut subject) = Subject::new(&options, "8M") else {
            return;
        };
        assert!(subject.inode().has_inline_data());
        subject.check();
        let mut grown = 0;
        for number in 0..400 {
            let name = format!("name{number}");
            subject.add(name.as_bytes()).unwrap();
            if number % 5 == 3 {
                subject
                    .remove(format!("name{}", number - 2).as_bytes())
                    .unwrap();
            }
            if number < 30 {
                subject.check();
            }
            if subject.inode().has_inline_data() {
                grown = subject.inode().size_bytes();
            }
        }
        assert!(grown > 60, "system.data was used: {grown}");
        assert!(!subject.inode().has_inline_data());
        subject.check();
        subject.close();
    }
}

#[test]
fn inline_directories_that_stay_inline() {
    let options = ["-t", "ext4", "-b", "1024", "-O", "inline_data"];
    let Some(mut subject) = Subject::new(&options, "8M") else {
        return;
    };
    for round in 0..20 {
        for number in 0..4 {
            subject.add(format!("{round}{number}").as_bytes()).unwrap();
        }
        subject.check();
        for number in 0..4 {
            if (round, number) != (19, 3) {
                subject
                    .remove(format!("{round}{number}").as_bytes())
                    .unwrap();
            }
        }
        subject.check();
    }
    assert!(subject.inode().has_inline_data());
    subject.close();
}

#[test]
fn a_directory_that_cannot_be_inline_gets_a_block() {
    let options = ["-t", "ext4", "-b", "1024", "-O", "inline_data"];
    let Some(subject) = Subject::new(&options, "8M") else {
        return;
    };
    let xattr = NewXattr {
        index: 1,
        name: b"x"[..].into(),
        value: NewValue::Here(vec![b'v'; 60].into()),
    };
    let root = InodeNumber::ROOT;
    let number = make_directory_with(&subject.fixture, root, b"full", &[xattr]);
    let store = &subject.fixture.writer.store;
    let inode = store.inode(number).unwrap();
    assert!(!inode.has_inline_data());
    assert_eq!(inode.size_bytes(), 1024);
    assert!(directory::is_empty(store, &inode).unwrap());
    subject.close();
}

/// Moves `/d` into another directory and back: ".." stands in another place in each form.
#[test]
fn the_parent_can_be_replaced_in_every_form() {
    for (features, names) in [
        ("inline_data", 0),
        ("^inline_data", 0),
        ("^inline_data", 200),
        ("^metadata_csum", 200),
        ("^dir_index", 200),
    ] {
        let options = ["-t", "ext4", "-b", "1024", "-O", features];
        let Some(mut subject) = Subject::new(&options, "8M") else {
            return;
        };
        for number in 0..names {
            subject.add(format!("{number:0>20}").as_bytes()).unwrap();
        }
        let other = make_directory(&subject.fixture, InodeNumber::ROOT, b"other");
        let (number, root) = (subject.number, InodeNumber::ROOT);
        for (from, to, links) in [(root, other, 3), (other, root, 2)] {
            subject
                .change(|change| {
                    let kind = FileType::Directory;
                    let old = directory::replace(change, number, b"..", to, kind)?;
                    assert_eq!(old, from);
                    directory::remove(change, from, b"d")?;
                    directory::add(change, to, b"d", number, kind)?;
                    change.edit_inode(other, |edit| edit.set_links(links))?;
                    change.edit_inode(root, |edit| edit.set_links(7 - links))
                })
                .unwrap();
            assert_eq!(subject.lookup(b".."), Some(to));
        }
        subject.check();
        subject.close();
    }
}

#[test]
fn names_that_are_none_are_refused() {
    let Some(mut subject) = Subject::new(&["-t", "ext4"], "8M") else {
        return;
    };
    let bad = ErrorKind::InvalidInput("not a name for a file");
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0"] {
        assert_kind(subject.add(name), &bad);
    }
    assert_kind(subject.add(&[b'a'; 256]), &ErrorKind::NameTooLong);
    assert_kind(subject.remove(b"."), &bad);
    assert_kind(subject.remove(b".."), &ErrorKind::NotEmpty);
    assert_kind(subject.replace(b"."), &bad);
    subject.add(&[b'a'; 255]).unwrap();
    subject.check();
    subject.close();
}

#[test]
fn what_is_not_finished_leaves_no_trace() {
    let options = ["-t", "ext4", "-b", "1024", "-O", "inline_data"];
    let Some(mut subject) = Subject::new(&options, "8M") else {
        return;
    };
    let number = subject.number;
    for at in 0..300 {
        let name = format!("{at:0>30}");
        let before = subject.inode();
        let taken_back: crate::Result<()> = subject.change(|change| {
            let target = InodeNumber::ROOT;
            directory::add(change, number, name.as_bytes(), target, FileType::Regular)?;
            directory::add(change, number, &[b'x'; 250], target, FileType::Regular)?;
            Err(ErrorKind::NoSpace.into())
        });
        assert_kind(taken_back, &ErrorKind::NoSpace);
        assert_eq!(subject.inode().size_bytes(), before.size_bytes());
        assert_eq!(subject.inode().flags(), before.flags());
        assert_eq!(subject.lookup(name.as_bytes()), None);
        subject.add(name.as_bytes()).unwrap();
        if at % 37 == 0 {
            subject.check();
        }
    }
    subject.check();
    subject.close();
}
