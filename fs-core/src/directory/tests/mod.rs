//! Directories changed step by step beside a model, judged by e2fsck, debugfs and the
//! kernel.

mod collisions;
mod damaged;
mod forms;
mod index;
mod kernel;
mod large;
mod reading;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::change::Change;
use crate::directory;
use crate::error::{ErrorKind, Result};
use crate::format::features::IncompatFeatures;
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::format::xattr_encode::{NewXattr, encode_inode_area};
use crate::mapping;
use crate::space::InodeRequest;
use crate::testing::Fixture;
use crate::types::{FileType, InodeNumber};

/// Files that names lead to; each can have 65,000.
const TARGETS: usize = 4;
/// Credits for a whole new directory.
const MKDIR_CREDITS: usize = 64;

/// A directory `/d`, new, and what it should hold.
pub(super) struct Subject {
    pub(super) fixture: Fixture,
    pub(super) number: InodeNumber,
    targets: Vec<InodeNumber>,
    pub(super) model: BTreeMap<Vec<u8>, InodeNumber>,
}

impl Subject {
    /// A volume made with these options, and a directory in it.
    pub(super) fn new(options: &[&str], size: &str) -> Option<Self> {
        let fixture = Fixture::filled(options, size, fill)?;
        Some(Self::of(fixture))
    }

    /// The same with another hash for its directories.
    pub(super) fn with_hash(options: &[&str], size: &str, hash: &str) -> Option<Self> {
        if !skipping::have_programs(&["mke2fs", "e2fsck", "tune2fs"]) {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let (tree, image) = (
            directory.path().join("tree"),
            directory.path().join("image"),
        );
        std::fs::create_dir(&tree).unwrap();
        fill(&tree);
        let mut make = Command::new("mke2fs");
        make.args(["-q", "-F"]).args(options).arg("-d");
        let made = make.args([&tree, &image]).arg(size).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let extended = format!("hash_alg={hash}");
        let tuned = Command::new("tune2fs")
            .args(["-E", &extended])
            .arg(&image)
            .output();
        assert!(tuned.as_ref().unwrap().status.success(), "{tuned:?}");
        Some(Self::of(Fixture::of(std::fs::read(&image).unwrap())))
    }

    fn of(fixture: Fixture) -> Self {
        let store = &fixture.writer.store;
        let root = store.inode(InodeNumber::ROOT).unwrap();
        let targets = (0..TARGETS)
            .map(|number| {
                let name = format!("target{number}");
                let found = directory::lookup(store, &root, name.as_bytes());
                found.unwrap().unwrap()
            })
            .collect();
        let number = make_directory(&fixture, InodeNumber::ROOT, b"d");
        Self {
            fixture,
            number,
            targets,
            model: BTreeMap::new(),
        }
    }

    pub(super) fn inode(&self) -> Arc<Inode> {
        self.fixture.writer.store.inode(self.number).unwrap()
    }

    /// One change of the directory.
    #[track_caller]
    pub(super) fn change<T>(&self, act: impl FnOnce(&mut Change<'_>) -> Result<T>) -> Result<T> {
        let writer = &self.fixture.writer;
        let credits = directory::credits(&writer.store);
        let mut change = writer.begin(credits).unwrap();
        let output = act(&mut change)?;
        assert!(change.handle.credits_left() > 0, "more than {credits}");
        change.finish();
        Ok(output)
    }

    #[track_caller]
    pub(super) fn add(&mut self, name: &[u8]) -> Result<()> {
        let target = self.targets[self.model.len() % TARGETS];
        let number = self.number;
        self.change(|change| directory::add(change, number, name, target, FileType::Regular))?;
        assert!(self.model.insert(name.to_vec(), target).is_none());
        Ok(())
    }

    #[track_caller]
    pub(super) fn remove(&mut self, name: &[u8]) -> Result<()> {
        let number = self.number;
        let found = self.change(|change| directory::remove(change, number, name))?;
        assert_eq!(self.model.remove(name), Some(found));
        Ok(())
    }

    #[track_caller]
    pub(super) fn replace(&mut self, name: &[u8]) -> Result<()> {
        let number = self.number;
        let target = self.targets[name.len() % TARGETS];
        let old = self
            .change(|change| directory::replace(change, number, name, target, FileType::Regular))?;
        assert_eq!(self.model.insert(name.to_vec(), target), Some(old));
        Ok(())
    }

    pub(super) fn lookup(&self, name: &[u8]) -> Option<InodeNumber> {
        directory::lookup(&self.fixture.writer.store, &self.inode(), name).unwrap()
    }

    /// A page of at most `names_max` names behind `cookie`, "." and ".." included.
    pub(super) fn page(&self, cookie: u64, names_max: usize) -> Vec<(Vec<u8>, InodeNumber, u64)> {
        let mut page = Vec::new();
        directory::list(
            &self.fixture.writer.store,
            &self.inode(),
            cookie,
            &mut |entry| {
                if page.len() == names_max {
                    return ControlFlow::Break(());
                }
                assert!(entry.next_cookie > cookie && entry.next_cookie < 1 << 63);
                page.push((entry.name.to_vec(), entry.inode, entry.next_cookie));
                ControlFlow::Continue(())
            },
        )
        .unwrap();
        page
    }

    /// The directory holds what the model holds, for who lists it, by places or by hashes,
    /// and who looks names up.
    #[track_caller]
    pub(super) fn check(&self) {
        let mut listed = BTreeMap::new();
        let mut cookie = 0;
        let mut places = Vec::new();
        loop {
            let page = self.page(cookie, 100);
            let Some(last) = page.last() else { break };
            cookie = last.2;
            for (name, inode, _) in page {
                if places.len() < 2 {
                    places.push(name);
                } else {
                    assert!(listed.insert(name, inode).is_none());
                }
            }
        }
        assert_eq!(places, [&b"."[..], b".."]);
        assert!(listed == self.model, "listing differs from the model");
        let store = &self.fixture.writer.store;
        let directory = self.inode();
        let mut seen = BTreeMap::new();
        let walked = directory::list_in_place(store, &directory, 0, &mut |entry| {
            seen.insert(entry.name.to_vec(), entry.inode);
            ControlFlow::Continue(())
        });
        assert!(walked.unwrap().is_continue());
        assert_eq!(seen.remove(&b"."[..]), Some(self.number));
        assert_eq!(seen.remove(&b".."[..]), Some(InodeNumber::ROOT));
        assert!(seen == self.model, "records differ from the model");
        for (name, inode) in &self.model {
            assert_eq!(self.lookup(name), Some(*inode), "{}", name.escape_ascii());
        }
        let is_empty = directory::is_empty(store, &directory).unwrap();
        assert_eq!(is_empty, self.model.is_empty());
    }

    /// Gives the files as many links as they have names, and has e2fsck judge.
    #[track_caller]
    pub(super) fn close(self) -> Vec<u8> {
        for target in &self.targets {
            let names = self.model.values().filter(|inode| *inode == target);
            let links = u16::try_from(names.count() + 1).unwrap();
            let mut change = self.fixture.writer.begin(4).unwrap();
            change
                .edit_inode(*target, |edit| edit.set_links(links))
                .unwrap();
            change.finish();
        }
        self.fixture.close()
    }
}

fn fill(tree: &Path) {
    for number in 0..TARGETS {
        std::fs::write(tree.join(format!("target{number}")), "").unwrap();
    }
}

/// Makes a directory with nothing but its own names, inline where the volume has that.
pub(super) fn make_directory(fixture: &Fixture, parent: InodeNumber, name: &[u8]) -> InodeNumber {
    make_directory_with(fixture, parent, name, &[])
}

/// The same; attributes take the room of inline content.
pub(super) fn make_directory_with(
    fixture: &Fixture,
    parent: InodeNumber,
    name: &[u8],
    xattrs: &[NewXattr<'_>],
) -> InodeNumber {
    let store = &fixture.writer.store;
    let mut change = fixture.writer.begin(MKDIR_CREDITS).unwrap();
    let request = InodeRequest {
        parent,
        file_type: FileType::Directory,
    };
    let number = change.allocate_inode(request).unwrap();
    let superblock = &store.superblock;
    let mut flags = InodeFlags::empty();
    if superblock.has_incompat(IncompatFeatures::INLINE_DATA) {
        flags |= InodeFlags::INLINE_DATA;
    } else if superblock.has_incompat(IncompatFeatures::EXTENTS) {
        flags |= InodeFlags::EXTENTS;
    }
    let now = change.now;
    change
        .edit_inode(number, |edit| {
            edit.bytes_mut().fill(0);
            edit.ensure_extra();
            if !xattrs.is_empty() {
                let area = edit.xattr_area_mut();
                area.copy_from_slice(&encode_inode_area(xattrs, area.len())?);
            }
            edit.set_mode(0o40755)?;
            edit.set_links(2)?;
            edit.set_flags(flags)?;
            edit.set_modified(now)?;
            edit.set_changed(now)?;
            edit.set_accessed(now)?;
            *edit.block_area_mut()? = mapping::empty_map(superblock, flags);
            Ok(())
        })
        .unwrap();
    directory::initialise(&mut change, number, parent).unwrap();
    directory::add(&mut change, parent, name, number, FileType::Directory).unwrap();
    let links = u16::try_from(store.inode(parent).unwrap().links()).unwrap();
    change
        .edit_inode(parent, |edit| edit.set_links(links + 1))
        .unwrap();
    change.finish();
    number
}

/// Numbers that look random and repeat from run to run.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    /// A name of some length; `number` makes it unique.
    pub(super) fn name(&mut self, number: u64) -> Vec<u8> {
        let len = match self.below(20) {
            0 => 200 + self.below(40),
            1..5 => 40,
            _ => self.below(20),
        };
        let mut name = format!("{number}_").into_bytes();
        name.extend((0..len).map(|_| b'a' + self.below(26) as u8));
        name
    }
}

/// What debugfs says of an image.
pub(super) fn debugfs(image: &[u8], request: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    std::fs::write(&path, image).unwrap();
    let mut asked = Command::new("debugfs");
    let output = asked.args(["-R", request]).arg(&path).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Fails unless the error is of this kind.
#[track_caller]
pub(super) fn assert_kind<T: std::fmt::Debug>(result: Result<T>, kind: &ErrorKind) {
    assert_eq!(result.unwrap_err().kind(), kind);
}
