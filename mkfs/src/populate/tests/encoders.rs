//! Structures made by the kernel, made again from what they say: equal bytes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fs_core::encode::{self, HashTreeRoot, NewXattr, NewXattrValue};
use fs_core::{FileBlock, FsBlock, InodeNumber};

use super::host::{Host, run};
use super::kernel::{Mount, can_mount};

/// An image the kernel has changed, and a block of it that debugfs names.
struct Changed {
    host: Host,
    scratch: tempfile::TempDir,
}

impl Changed {
    fn new(options: &str, change: impl FnOnce(&Path)) -> Option<Self> {
        if !skipping::have_programs(&["mke2fs", "debugfs"]) {
            return None;
        }
        let scratch = tempfile::tempdir().expect("a directory");
        let host = Host::new(scratch.path(), options, "16M");
        if !can_mount(&host) {
            return None;
        }
        let mount = Mount::writable(&host.image);
        change(mount.path());
        drop(mount);
        Some(Self { host, scratch })
    }

    fn debugfs(&self, request: &str) -> String {
        let output = run("debugfs", &["-R", request, self.image()]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn image(&self) -> &str {
        assert!(self.scratch.path().exists());
        self.host.image.to_str().expect("UTF-8")
    }

    fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let image = File::open(&self.host.image).expect("the image");
        image.read_exact_at(&mut bytes, at).expect("bytes");
        bytes
    }

    fn block(&self, number: u64) -> Vec<u8> {
        let block_bytes = self.host.superblock.block_bytes;
        self.read(number * u64::from(block_bytes), block_bytes as usize)
    }

    /// The number behind a word of what `stat` says of a file.
    fn stat_number(&self, path: &str, word: &str) -> u64 {
        let text = self.debugfs(&format!("stat {path}"));
        let (_, rest) = text
            .split_once(word)
            .unwrap_or_else(|| panic!("no {word}: {text}"));
        let number = rest
            .trim_start()
            .split(|c: char| !c.is_ascii_digit())
            .next();
        number.expect("a number").parse().expect("a number")
    }

    /// The bytes of an inode.
    fn inode(&self, path: &str) -> Vec<u8> {
        let number = self.stat_number(path, "Inode:");
        let text = self.debugfs(&format!("imap <{number}>"));
        let (_, block) = text.split_once("located at block ").expect("a block");
        let (block, offset) = block.split_once(", offset 0x").expect("an offset");
        let block: u64 = block.parse().expect("a block");
        let offset = u64::from_str_radix(offset.trim(), 16).expect("an offset");
        let at = block * u64::from(self.host.superblock.block_bytes) + offset;
        self.read(at, self.host.superblock.inode_bytes.into())
    }
}

fn set(path: &Path, name: &str, value: &[u8]) {
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(path, name, value, flags).expect("an attribute");
}

fn new<'a>(index: u8, name: &'a str, value: &'a [u8]) -> NewXattr<'a> {
    NewXattr {
        index,
        name: name.as_bytes().into(),
        value: NewXattrValue::Here(value.into()),
    }
}

#[test]
fn an_xattr_block_is_what_the_kernel_writes() {
    let large = [0x5A; 301];
    for options in ["-t ext4 -b 4096 -I 128", "-t ext2 -b 1024 -I 128"] {
        let Some(changed) = Changed::new(options, |root| {
            let file = root.join("file");
            std::fs::write(&file, "").expect("a file");
            // In the order of the block, in which values are written too.
            set(&file, "user.a", b"");
            set(&file, "user.b", b"12345");
            set(&file, "user.\u{e9}t\u{e9}", &large);
            set(&file, "security.name", b"value");
        }) else {
            return;
        };
        let place = changed.stat_number("/file", "File ACL:");
        let xattrs = [
            new(1, "a", b""),
            new(1, "b", b"12345"),
            new(1, "\u{e9}t\u{e9}", &large),
            new(6, "name", b"value"),
        ];
        let encoded = encode::xattr_block(&changed.host.superblock, FsBlock(place), 1, &xattrs);
        assert_eq!(encoded.expect("it fits"), changed.block(place), "{options}");
    }
}

#[test]
fn attributes_in_an_inode_are_what_the_kernel_writes() {
    let kernel_acl = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xE8, 3, 0, 0, 4, 0, 4, 0, 255,
        255, 255, 255, 0x10, 0, 4, 0, 255, 255, 255, 255, 0x20, 0, 0, 0, 255, 255, 255, 255,
    ];
    let Some(changed) = Changed::new("-t ext4 -b 4096", |root| {
        let file = root.join("file");
        std::fs::write(&file, "").expect("a file");
        set(&file, "user.n", b"v");
        set(&file, "system.posix_acl_access", &kernel_acl);
    }) else {
        return;
    };
    let acl = encode::acl_to_disk_form(&kernel_acl).expect("an ACL");
    let xattrs = [new(1, "n", b"v"), new(2, "", &acl)];
    let found = changed.inode("/file").split_off(128 + 32);
    let encoded = encode::xattr_inode_area(&xattrs, found.len());
    assert_eq!(encoded.expect("it fits"), found);
}

#[test]
fn an_inline_directory_is_what_the_kernel_writes() {
    let Some(changed) = Changed::new("-t ext4 -b 4096 -O inline_data", |root| {
        std::fs::create_dir(root.join("dir")).expect("a directory");
        std::fs::write(root.join("dir/name"), "").expect("a file");
        std::fs::write(root.join("dir/other name"), "").expect("a file");
    }) else {
        return;
    };
    let rules = crate::populate::rules::Rules {
        superblock: &changed.host.superblock,
    };
    let name = |name: &'static str| crate::populate::directory::Name {
        name: name.as_bytes(),
        inode: InodeNumber(
            u32::try_from(changed.stat_number(&format!("\"/dir/{name}\""), "Inode:"))
                .expect("a number"),
        ),
        file_type: fs_core::FileType::Regular,
    };
    let names = [name("name"), name("other name")];
    let content = crate::populate::inline::directory(rules, InodeNumber::ROOT, &names)
        .expect("records")
        .expect("it fits");
    let inode = changed.inode("/dir");
    assert_eq!(content, inode[0x28..0x64]);
    let area = encode::xattr_inode_area(&[crate::populate::inline::xattr(&[])], 96);
    assert_eq!(area.expect("it fits"), inode[160..]);
}

#[test]
fn a_hash_tree_root_is_what_the_kernel_writes() {
    for options in ["-t ext4 -b 1024", "-t ext4 -b 1024 -O ^metadata_csum"] {
        let Some(changed) = Changed::new(options, |root| {
            std::fs::create_dir(root.join("dir")).expect("a directory");
            for number in 0..600 {
                std::fs::write(root.join(format!("dir/name{number}")), "").expect("a file");
            }
        }) else {
            return;
        };
        let inode = u32::try_from(changed.stat_number("/dir", "Inode:")).expect("a number");
        let place = changed.debugfs("bmap /dir 0");
        let block = changed.block(place.trim().parse().expect("a block"));
        let word = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("4 bytes"));
        let count = (word(32) >> 16) as usize;
        let pairs: Vec<(u32, FileBlock)> = (0..count)
            .map(|pair| 32 + pair * 8)
            .map(|at| (word(at), FileBlock(word(at + 4).into())))
            .collect();
        assert!(pairs.len() > 10);
        let superblock = &changed.host.superblock;
        let has_checksums = !options.contains("^metadata_csum");
        let root = HashTreeRoot {
            directory: InodeNumber(inode),
            parent: InodeNumber::ROOT,
            has_types: true,
            hash_version: superblock.default_hash_version,
            indirect_levels: 0,
        };
        let encoded =
            encode::hash_tree_root(&root, &pairs, block.len(), has_checksums.then_some(0))
                .expect("it fits");
        // Behind the pairs the kernel leaves what was there before, which its
        // checksum includes; e2fsck judges ours.
        let used = 32 + count * 8;
        assert_eq!(encoded[..used], block[..used], "{options}");
    }
}
