//! Changing volumes where something is not as it should be: damaged on purpose, or looked
//! at while somebody else changes it.

#![allow(clippy::expect_used, clippy::unwrap_used)] // Tests only.

use std::ops::ControlFlow;
use std::process::Command;
use std::sync::{Arc, Mutex};

use fs_core::{
    Allocation, ErrorKind, ExtentState, FileBlock, GroupNumber, InodeNumber, NewInode, OpenOptions,
    RenameMode, Volume, WritableVolume, WriteContext, WriteOptions,
};
use images::{BlockDevice, Memory, Result};

const ROOT: InodeNumber = InodeNumber::ROOT;

/// An image mke2fs makes with these options and, after it, debugfs with these commands.
fn image(
    options: &[&str],
    size: &str,
    fill: impl FnOnce(&std::path::Path),
    debugfs: &[&str],
) -> Option<Vec<u8>> {
    if !skipping::have_programs(&["mke2fs", "e2fsck", "debugfs"]) {
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let (path, tree) = (
        directory.path().join("image"),
        directory.path().join("tree"),
    );
    std::fs::create_dir(&tree).unwrap();
    fill(&tree);
    let made = Command::new("mke2fs")
        .args(["-q", "-F"])
        .args(options)
        .arg("-d")
        .arg(&tree)
        .arg(&path)
        .arg(size)
        .output()
        .unwrap();
    assert!(made.status.success(), "mke2fs {options:?}: {made:?}");
    for command in debugfs {
        let done = Command::new("debugfs")
            .args(["-w", "-R", command])
            .arg(&path)
            .output()
            .unwrap();
        assert!(done.status.success(), "debugfs {command}: {done:?}");
    }
    Some(std::fs::read(&path).unwrap())
}

/// What e2fsck says of an image, and makes of it.
struct Checked {
    is_clean: bool,
    said: String,
    image: Vec<u8>,
}

fn e2fsck(how: &str, image: &[u8]) -> Checked {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    std::fs::write(&path, image).unwrap();
    let done = Command::new("e2fsck").arg(how).arg(&path).output().unwrap();
    Checked {
        is_clean: done.status.success(),
        said: String::from_utf8_lossy(&done.stdout).into_owned(),
        image: std::fs::read(&path).unwrap(),
    }
}

fn options() -> WriteOptions {
    WriteOptions {
        commit_interval_ms: 0,
        ..WriteOptions::default()
    }
}

fn open(device: &Arc<Memory>) -> WritableVolume {
    let device: Arc<dyn BlockDevice> = device.clone();
    WritableVolume::open(device, &options()).unwrap()
}

fn read_only(image: Vec<u8>) -> Volume {
    Volume::open(Arc::new(Memory::read_only(image)), &OpenOptions::default()).unwrap()
}

type Hook = Box<dyn FnOnce() + Send>;

/// A device that calls back, once, before it reads at an offset, and forgets
/// writes once it was told to.
struct Hooked {
    inner: Arc<Memory>,
    on_read: Mutex<Option<(u64, Hook)>>,
    writes_left: Mutex<Option<u64>>,
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooked")
    }
}

impl Hooked {
    fn new(image: Vec<u8>) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::new(Memory::new(image)),
            on_read: Mutex::new(None),
            writes_left: Mutex::new(None),
        })
    }
}

impl BlockDevice for Hooked {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }
    fn is_read_only(&self) -> bool {
        false
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let hook = {
            let mut on_read = self.on_read.lock().unwrap();
            match &*on_read {
                Some((at, _)) if *at == offset => on_read.take(),
                _ => None,
            }
        };
        if let Some((_, hook)) = hook {
            hook();
        }
        self.inner.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        if let Some(left) = &mut *self.writes_left.lock().unwrap() {
            if *left == 0 {
                return Ok(());
            }
            *left -= 1;
        }
        self.inner.write_at(buf, offset)
    }
    fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        self.inner.write_zeroes(offset, len)
    }
    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.inner.discard(offset, len)
    }
    fn flush(&self) -> Result<()> {
        self.inner.flush()
    }
}

#[test]
fn closing_keeps_what_was_changed_though_an_unnamed_inode_cannot_be_ended() {
    let fill = |tree: &std::path::Path| {
        let sparse = std::fs::File::create(tree.join("sparse")).unwrap();
        for number in 0..60 {
            std::os::unix::fs::FileExt::write_all_at(&sparse, &[1; 1024], number * 4096).unwrap();
        }
    };
    let Some(mut image) = image(&["-t", "ext4", "-b", "1024"], "16M", fill, &[]) else {
        return;
    };
    let mut damaged = 0;
    for block in image.chunks_exact_mut(1024) {
        if block.starts_with(&[0x0A, 0xF3]) && block[4..6] == [84, 0] {
            block[20] ^= 0xFF;
            damaged += 1;
        }
    }
    assert!(damaged > 0, "no extent node found");
    let memory = Arc::new(Memory::new(image));
    let volume = open(&memory);
    let sparse = volume.resolve(b"/sparse", false).unwrap().number();
    volume.retain(sparse).unwrap();
    volume
        .create(ROOT, b"kept", &NewInode::file(0o644))
        .unwrap();
    volume.unlink(ROOT, b"sparse").unwrap();
    assert!(volume.close().unwrap_err().is_corruption());
    let volume = read_only(memory.snapshot());
    assert!(!volume.recovery_report().journal_was_dirty);
    volume.resolve(b"/kept", false).unwrap();
    assert!(volume.resolve(b"/sparse", false).is_err());
}

#[test]
fn no_name_leads_to_an_inode_of_the_file_system_itself() {
    let options_of = ["-t", "ext4", "-b", "1024", "-O", "orphan_file"];
    let names = ["ln <8> /journal", "ln <7> /resize", "ln <12> /orphans"];
    let Some(image) = image(&options_of, "16M", |_| {}, &names) else {
        return;
    };
    let memory = Arc::new(Memory::new(image));
    let volume = open(&memory);
    let orphans = InodeNumber(volume.superblock().orphan_file_inode);
    assert_eq!(orphans, InodeNumber(12));
    for number in [InodeNumber(7), InodeNumber(8), orphans] {
        let refused = volume.truncate(number, 0).unwrap_err();
        assert!(
            matches!(refused.kind(), ErrorKind::NotPermitted(_)),
            "{refused}"
        );
        let refused = volume.link(number, ROOT, b"new").unwrap_err();
        assert!(
            matches!(refused.kind(), ErrorKind::NotPermitted(_)),
            "{refused}"
        );
    }
    volume
        .create(ROOT, b"file", &NewInode::file(0o644))
        .unwrap();
    for name in [&b"journal"[..], b"resize", b"orphans"] {
        let refused = volume.unlink(ROOT, name).unwrap_err();
        assert!(refused.is_corruption(), "{refused}");
        let replaced = volume.rename(ROOT, b"file", ROOT, name, RenameMode::Replace);
        assert!(replaced.unwrap_err().is_corruption());
        let moved = volume.rename(ROOT, name, ROOT, b"moved", RenameMode::Replace);
        assert!(moved.unwrap_err().is_corruption());
    }
    volume.close().unwrap();
}

/// The journal's blocks, first and behind the last.
fn journal_runs(volume: &Volume) -> Vec<(u64, u64)> {
    let journal = volume.inode(InodeNumber::JOURNAL).unwrap();
    let blocks = journal.size_bytes() / u64::from(volume.superblock().block_bytes);
    let (mut runs, mut at) = (Vec::new(), 0);
    while at < blocks {
        let run = volume.map(&journal, FileBlock(at)).unwrap();
        let start = match run.state {
            ExtentState::Written(start) => Some(start),
            _ => None,
        }
        .unwrap();
        runs.push((start.0, start.0 + run.len_blocks.min(blocks - at)));
        at = run.end().0;
    }
    runs
}

#[test]
fn blocks_of_the_journal_are_never_given_to_files() {
    let plain = [
        "-t",
        "ext4",
        "-b",
        "1024",
        "-O",
        "^metadata_csum,^uninit_bg,^resize_inode",
    ];
    let Some(mut image) = image(&plain, "8M", |_| {}, &[]) else {
        return;
    };
    let volume = read_only(image.clone());
    let runs = journal_runs(&volume);
    let group = volume.group(GroupNumber(0)).unwrap();
    let descriptor_bytes = usize::from(volume.superblock().descriptor_bytes);
    assert_eq!(volume.group_count(), 1, "{descriptor_bytes}");
    // The bitmap calls the journal free, and all counts agree.
    let mut freed = 0u32;
    for &(start, end) in &runs {
        for block in start..end {
            let bit = (block - 1) as usize;
            let at = group.block_bitmap.0 as usize * 1024 + bit / 8;
            image[at] &= !(1 << (bit % 8));
            freed += 1;
        }
    }
    for at in [2 * 1024 + 12, 1024 + 12] {
        let old = u16::from_le_bytes([image[at], image[at + 1]]);
        let new = old + u16::try_from(freed).unwrap();
        image[at..at + 2].copy_from_slice(&new.to_le_bytes());
    }
    let memory = Arc::new(Memory::new(image));
    let volume = open(&memory);
    let file = volume
        .create(ROOT, b"file", &NewInode::file(0o644))
        .unwrap()
        .number();
    let reserve = WriteContext {
        may_use_reserve: true,
        ..WriteContext::default()
    };
    let mut offset = 0;
    while let Ok(written) = volume.write_as(file, &[7; 65536], offset, reserve) {
        offset += written as u64;
    }
    let mut at = 0;
    while at < offset / 1024 {
        let run = volume.map(file, FileBlock(at)).unwrap();
        if let ExtentState::Written(start) = run.state {
            for &(first, end) in &runs {
                let overlaps = start.0 < end && first < start.0 + run.len_blocks;
                assert!(!overlaps, "{run:?} lies in the journal, {first} to {end}");
            }
        }
        at = run.end().0;
    }
    volume.close().unwrap();
}

#[test]
fn content_is_not_written_over_the_format_though_a_map_says_so() {
    let plain = [
        "-t",
        "ext3",
        "-b",
        "1024",
        "-O",
        "^metadata_csum,^uninit_bg",
    ];
    let fill = |tree: &std::path::Path| std::fs::write(tree.join("file"), [1; 3000]).unwrap();
    let Some(healthy) = image(&plain, "16M", fill, &[]) else {
        return;
    };
    let volume = read_only(healthy);
    let group = volume.group(GroupNumber(0)).unwrap();
    let log = journal_runs(&volume)[0].0;
    let own = [group.inode_table.0 + 1, group.block_bitmap.0, 1, log];
    for block in own {
        let point = format!("sif /file block[1] {block}");
        let image = image(&plain, "16M", fill, &[&point]).unwrap();
        let memory = Arc::new(Memory::new(image));
        let volume = open(&memory);
        let file = volume.resolve(b"/file", false).unwrap();
        assert_eq!(file.size_bytes(), 3000);
        let before = memory.snapshot();
        let refused = volume.write(file.number(), &[9; 1024], 1024).unwrap_err();
        assert!(refused.is_corruption(), "{refused}");
        assert!(volume.truncate(file.number(), 1500).is_err());
        let place = block as usize * 1024..(block as usize + 1) * 1024;
        if block != 1 && block != log {
            assert_eq!(
                memory.snapshot()[place.clone()],
                before[place],
                "block {block}"
            );
        }
        volume.close().unwrap();
    }
}

#[test]
fn a_bitmap_read_while_it_is_changed_is_not_taken_for_damaged() {
    let plain = [
        "-t",
        "ext4",
        "-b",
        "1024",
        "-O",
        "^metadata_csum,^uninit_bg",
    ];
    let Some(image) = image(&plain, "32M", |_| {}, &[]) else {
        return;
    };
    let group = GroupNumber(2);
    let bitmap = read_only(image.clone()).group(group).unwrap().block_bitmap;
    let device = Hooked::new(image);
    let as_device: Arc<dyn BlockDevice> = device.clone();
    let volume = Arc::new(WritableVolume::open(as_device, &options()).unwrap());
    let file = volume
        .create(ROOT, b"file", &NewInode::file(0o644))
        .unwrap()
        .number();
    let writing = Arc::clone(&volume);
    let write = move || {
        let worker = std::thread::spawn(move || {
            for number in 0..22 {
                writing
                    .write(file, &vec![7; 1 << 20], number << 20)
                    .unwrap();
            }
            writing.sync().unwrap();
        });
        worker.join().unwrap();
    };
    *device.on_read.lock().unwrap() = Some((bitmap.0 * 1024, Box::new(write)));
    volume.free_block_runs(group).unwrap();
    assert!(
        device.on_read.lock().unwrap().is_none(),
        "the bitmap was not read"
    );
    Arc::try_unwrap(volume).unwrap().close().unwrap();
    let raw = device.inner.snapshot();
    let state = u16::from_le_bytes([raw[1024 + 58], raw[1024 + 59]]);
    assert_eq!(state & 2, 0, "errors are noted");
}

/// A volume without a free block, and in it a file of many full leaves of extents, whose
/// first extent is a long one, and another file; its image and the numbers of the two.
fn full_volume() -> Option<(Vec<u8>, InodeNumber, InodeNumber)> {
    let small = [
        "-t",
        "ext4",
        "-b",
        "1024",
        "-m",
        "0",
        "-J",
        "size=1",
        "-O",
        "^resize_inode",
    ];
    let memory = Arc::new(Memory::new(image(&small, "24M", |_| {}, &[])?));
    let volume = open(&memory);
    let new = |name: &[u8]| {
        let made = volume.create(ROOT, name, &NewInode::file(0o644)).unwrap();
        made.number()
    };
    let file = new(b"file");
    volume.write(file, &[1; 16 << 10], 0).unwrap();
    for number in 0..9000 {
        volume
            .write(file, &[2; 1024], (17 + 2 * number) << 10)
            .unwrap();
    }
    let other = new(b"other");
    volume.write(other, &[3; 8 << 10], 0).unwrap();
    let rest = new(b"rest");
    let mut offset = 0;
    while let Ok(written) = volume.write(rest, &[4; 1 << 16], offset) {
        offset += written as u64;
    }
    assert_eq!(volume.statfs().blocks_free, 0);
    volume.close().unwrap();
    Some((memory.snapshot(), file, other))
}

#[test]
fn an_insertion_for_which_there_is_no_space_leaves_the_file_as_it_was() {
    let Some((image, file, other)) = full_volume() else {
        return;
    };
    let memory = Arc::new(Memory::new(image));
    let volume = open(&memory);
    let content = |volume: &WritableVolume| {
        let size = volume.inode(file).unwrap().size_bytes();
        let mut content = vec![0; size as usize];
        volume.read(file, &mut content, 0).unwrap();
        content
    };
    let before = content(&volume);
    // The first extent has to be split, in a leaf that is full, and more leaves follow than
    // one change can move.
    let insert = || {
        let how = Allocation::InsertRange;
        volume.allocate(file, how, 8 << 10, 8 << 10, WriteContext::default())
    };
    assert_eq!(*insert().unwrap_err().kind(), ErrorKind::NoSpace);
    assert!(content(&volume) == before, "the file has changed");
    volume.truncate(other, 0).unwrap();
    insert().unwrap();
    let mut expected = before;
    expected.splice(8 << 10..8 << 10, [0; 8 << 10]);
    assert!(content(&volume) == expected);
    volume.close().unwrap();
    let checked = e2fsck("-fn", &memory.snapshot());
    assert!(checked.is_clean, "{}", checked.said);
}

#[test]
fn synced_names_survive_a_split_that_a_crash_interrupts_without_a_journal() {
    let plain = ["-t", "ext4", "-b", "1024", "-O", "^has_journal"];
    let Some(image) = image(&plain, "16M", |_| {}, &[]) else {
        return;
    };
    let memory = Arc::new(Memory::new(image));
    let volume = open(&memory);
    let name = |number: u32| format!("{number:0>120}").into_bytes();
    for number in 0..40 {
        volume
            .create(ROOT, &name(number), &NewInode::file(0o644))
            .unwrap();
    }
    volume.close().unwrap();
    let image = memory.snapshot();
    let mut bad = Vec::new();
    for cut in 0..40 {
        let device = Hooked::new(image.clone());
        let as_device: Arc<dyn BlockDevice> = device.clone();
        let volume = WritableVolume::open(as_device, &options()).unwrap();
        for number in 40..48 {
            volume
                .create(ROOT, &name(number), &NewInode::file(0o644))
                .unwrap();
        }
        *device.writes_left.lock().unwrap() = Some(cut);
        volume.sync().unwrap();
        let checked = e2fsck("-fy", &device.inner.snapshot());
        let found = read_only(checked.image);
        let lost: Vec<u32> = (0..40)
            .filter(|&number| {
                let path = [b"/".to_vec(), name(number)].concat();
                found.resolve(&path, false).is_err()
            })
            .collect();
        if !lost.is_empty() {
            bad.push((cut, lost, checked.said));
        }
        drop(volume);
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn a_move_into_a_removed_directory_whose_parent_is_gone_as_well() {
    let Some(image) = image(&["-t", "ext4", "-b", "1024"], "16M", |_| {}, &[]) else {
        return;
    };
    let memory = Arc::new(Memory::new(image));
    let volume = open(&memory);
    let make = |parent: InodeNumber, name: &[u8]| {
        let made = volume.create(parent, name, &NewInode::directory(0o755));
        made.unwrap().number()
    };
    let top = make(ROOT, b"top");
    let gone = make(top, b"gone");
    let deep = make(gone, b"deep");
    make(ROOT, b"moved");
    volume.retain(deep).unwrap();
    volume.rmdir(gone, b"deep").unwrap();
    volume.rmdir(top, b"gone").unwrap();
    let into = |parent| {
        let moved = volume.rename(ROOT, b"moved", parent, b"new", RenameMode::Replace);
        moved.unwrap_err().kind().clone()
    };
    // It is still held, so that it was there when it was looked up.
    assert_eq!(into(deep), ErrorKind::NotFound);
    assert_eq!(into(gone), ErrorKind::Stale);
    let lost = volume.unlink(gone, b"any").unwrap_err();
    assert_eq!(*lost.kind(), ErrorKind::NotFound);
    let listed = volume.read_dir(gone, 0, &mut |_| ControlFlow::Continue(()));
    assert_eq!(*listed.unwrap_err().kind(), ErrorKind::Stale);
    // The parent's number is a file's now.
    volume.sync().unwrap();
    let file = volume.create(top, b"file", &NewInode::file(0o644));
    assert_eq!(file.unwrap().number(), gone);
    assert_eq!(into(deep), ErrorKind::NotFound);
    volume.release(deep).unwrap();
    volume.close().unwrap();
    let checked = e2fsck("-fn", &memory.snapshot());
    assert!(checked.is_clean, "{}", checked.said);
}

#[test]
fn a_directory_whose_parent_is_not_in_use() {
    let plain = ["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"];
    let fill = |tree: &std::path::Path| {
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::create_dir(tree.join("moved")).unwrap();
    };
    let Some(mut image) = image(&plain, "16M", fill, &[]) else {
        return;
    };
    let volume = read_only(image.clone());
    let b = volume.resolve(b"/a/b", false).unwrap();
    let state = volume.map(&b, FileBlock(0)).unwrap().state;
    let ExtentState::Written(place) = state else {
        panic!("{state:?}");
    };
    // The record of "..".
    let at = place.0 as usize * 1024 + 12;
    assert_eq!(image[at + 6..at + 10], [2, 2, b'.', b'.']);
    image[at..at + 4].copy_from_slice(&500u32.to_le_bytes());
    let memory = Arc::new(Memory::new(image));
    let volume = open(&memory);
    let moved = volume.rename(ROOT, b"moved", b.number(), b"new", RenameMode::Replace);
    let error = moved.unwrap_err();
    assert!(error.is_corruption(), "{error}");
    volume.close().unwrap();
}

#[test]
fn a_directory_with_blocks_beyond_its_size() {
    let plain = ["-t", "ext4", "-b", "1024", "-O", "^dir_index"];
    let fill = |tree: &std::path::Path| {
        std::fs::create_dir(tree.join("dir")).unwrap();
        for number in 0..20 {
            std::fs::write(tree.join(format!("dir/{number:0>100}")), "").unwrap();
        }
    };
    for options in [
        &plain[..],
        &["-t", "ext3", "-b", "1024", "-O", "^dir_index"],
    ] {
        let Some(image) = image(options, "16M", fill, &["sif /dir size 1024"]) else {
            return;
        };
        let memory = Arc::new(Memory::new(image));
        let volume = open(&memory);
        let directory = volume.resolve(b"/dir", false).unwrap().number();
        let refused = (0..20).find_map(|number| {
            let name = format!("new {number:0>100}");
            let new = NewInode::file(0o644);
            volume.create(directory, name.as_bytes(), &new).err()
        });
        let error = refused.unwrap();
        assert!(error.is_corruption(), "{error}");
        volume.close().unwrap();
    }
}

/// Two files exchange blocks in several steps, and the map of the second comes to need more
/// nodes than there are free blocks, or just not.
#[test]
fn an_exchange_for_which_there_is_no_space_leaves_both_files_as_they_were() {
    let small = [
        "-t",
        "ext4",
        "-b",
        "1024",
        "-J",
        "size=1",
        "-O",
        "^resize_inode",
    ];
    const EXTENTS: u64 = 1500;
    let Some(image) = image(&small, "12M", |_| {}, &[]) else {
        return;
    };
    let memory = Arc::new(Memory::new(image));
    let volume = open(&memory);
    let new = |name: &[u8]| {
        let made = volume.create(ROOT, name, &NewInode::file(0o644)).unwrap();
        made.number()
    };
    let (a, b, rest) = (new(b"a"), new(b"b"), new(b"rest"));
    for number in 0..EXTENTS {
        let fill = [number as u8 | 1; 1024];
        volume.write(a, &fill, number << 11).unwrap();
    }
    volume
        .write(b, &vec![2; 2048 * EXTENTS as usize], 0)
        .unwrap();
    let mut filled = 0;
    while let Ok(written) = volume.write(rest, &[4; 1024], filled) {
        filled += written as u64;
    }
    volume.close().unwrap();
    let full = memory.snapshot();

    let (mut refused, mut done) = (0, 0);
    for free in 0..24 {
        let memory = Arc::new(Memory::new(full.clone()));
        let volume = open(&memory);
        volume.truncate(rest, filled - (free << 10)).unwrap();
        volume.sync().unwrap();
        let content = |file: InodeNumber| {
            let size = volume.inode(file).unwrap().size_bytes();
            let mut content = vec![0; size as usize];
            volume.read(file, &mut content, 0).unwrap();
            content
        };
        let before = (content(a), content(b));
        match volume.swap_extents(a, 0, b, 0, EXTENTS << 11) {
            Ok(()) => {
                done += 1;
                let len = before.0.len();
                assert!(content(a) == before.1[..len] && content(b)[..len] == before.0);
            }
            Err(error) => {
                refused += 1;
                assert_eq!(*error.kind(), ErrorKind::NoSpace);
                assert!(content(a) == before.0, "{free} blocks free: a has changed");
                assert!(content(b) == before.1, "{free} blocks free: b has changed");
            }
        }
        volume.close().unwrap();
        let checked = e2fsck("-fn", &memory.snapshot());
        assert!(checked.is_clean, "{}", checked.said);
    }
    assert!(refused > 3 && done > 0, "{refused} refused, {done} done");
}

/// Finishing waits for who is at work; later changes and syncs fail, reading goes on.
#[test]
fn a_finished_volume_is_clean_whoever_is_at_work() {
    let Some(image) = image(&["-t", "ext4", "-b", "1024"], "16M", |_| {}, &[]) else {
        return;
    };
    let memory = Arc::new(Memory::new(image));
    let volume = open(&memory);
    let closed = |error: &fs_core::Error| *error.kind() == ErrorKind::Closed;
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let volume = &volume;
            scope.spawn(move || {
                for number in 0.. {
                    let name = format!("file-{thread}-{number}");
                    let new = NewInode::file(0o644);
                    let made = volume.create(ROOT, name.as_bytes(), &new);
                    let synced = made.and_then(|file| volume.fdatasync(file.number()));
                    match synced.and_then(|()| volume.unlink(ROOT, name.as_bytes())) {
                        Ok(()) => {}
                        Err(error) if closed(&error) => return,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        volume.finish().unwrap();
    });
    let image = memory.snapshot();
    let checked = e2fsck("-fn", &image);
    assert!(checked.is_clean, "{}", checked.said);
    assert!(volume.sync().is_err_and(|error| closed(&error)));
    assert!(volume.inode(ROOT).is_ok());
    volume.finish().unwrap();
    drop(volume);
    assert!(memory.snapshot() == image, "written to after the end");
}

/// A directory that is held lives on without a name; its parent, removed after it, does not.
#[test]
fn what_is_above_a_removed_directory_is_not_held_when_it_is_gone() {
    let Some(image) = image(&["-t", "ext4"], "8M", |_| {}, &[]) else {
        return;
    };
    let device = Arc::new(Memory::new(image));
    let volume = open(&device);
    let above = volume
        .create(ROOT, b"above", &NewInode::directory(0o755))
        .unwrap();
    let below = volume
        .create(above.number(), b"below", &NewInode::directory(0o755))
        .unwrap();
    volume.retain(below.number()).unwrap();
    volume.rmdir(above.number(), b"below").unwrap();
    volume.rmdir(ROOT, b"above").unwrap();
    // The number may mean another inode by now.
    let found = volume.retain_child(below.number(), b"..");
    assert!(found.is_err(), "{found:?}");
    volume.release(above.number()).unwrap();
    volume.release(below.number()).unwrap();
    volume.close().unwrap();
    let checked = e2fsck("-fn", &device.snapshot());
    assert!(checked.is_clean, "{}", checked.said);
}
