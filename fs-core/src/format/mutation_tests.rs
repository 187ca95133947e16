//! Each parser against random damage of valid structures, taken from an image
//! that mke2fs made. Seeded; every test runs for three seconds, or for
//! `EXTMAP_MUTATION_SECONDS`, which comes to about three million mutations.

use std::time::{Duration, Instant};

use zerocopy::FromBytes;

use super::superblock::{RawSuperblock, Superblock};
use super::{acl, directory_block, extent, group_descriptor, htree, inode, orphan, xattr};
use crate::types::{FsBlock, GroupNumber, InodeNumber};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 20) as usize % end
    }
}

/// Damages 1 to 6 bytes of `valid` again and again and hands it to `parse`.
fn damage(valid: &[u8], mut parse: impl FnMut(&[u8])) {
    parse(valid);
    let seconds = std::env::var("EXTMAP_MUTATION_SECONDS")
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(3);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random(0x5EED);
    let mut bytes = valid.to_vec();
    let mut rounds = 0u64;
    while !rounds.is_multiple_of(256) || Instant::now() < end {
        let mut undo = Vec::new();
        for _ in 0..1 + random.below(6) {
            let at = random.below(bytes.len());
            undo.push((at, bytes[at]));
            bytes[at] = match random.below(4) {
                0 => 0,
                1 => 0xFF,
                2 => bytes[at] ^ (1 << random.below(8)),
                _ => random.next() as u8,
            };
        }
        parse(&bytes);
        // Cut short, too.
        if random.below(8) == 0 {
            parse(&bytes[..random.below(bytes.len() + 1)]);
        }
        for (at, byte) in undo.into_iter().rev() {
            bytes[at] = byte;
        }
        rounds += 1;
    }
    println!("{rounds} mutations");
}

const BLOCK: FsBlock = FsBlock(77);

/// A superblock as `mke2fs -b 1024 -O 64bit` writes it, for 8 MiB.
fn raw_superblock(ro_compat: u32) -> RawSuperblock {
    let mut raw = RawSuperblock::read_from_bytes(&[0; 1024]).unwrap();
    raw.s_magic.set(0xEF53);
    raw.s_rev_level.set(1);
    raw.s_inodes_count.set(2048);
    raw.s_blocks_count_lo.set(8192);
    raw.s_first_data_block.set(1);
    raw.s_blocks_per_group.set(8192);
    raw.s_clusters_per_group.set(8192);
    raw.s_inodes_per_group.set(2048);
    raw.s_first_ino.set(11);
    raw.s_inode_size.set(256);
    raw.s_desc_size.set(64);
    raw.s_feature_compat.set(0x3C);
    raw.s_feature_incompat.set(0x2C2);
    raw.s_feature_ro_compat.set(ro_compat);
    raw.s_checksum_type = 1;
    raw.s_checksum.set(raw.computed_checksum());
    raw
}

/// `ro_compat` of a volume without checksums, and with crc32c ones.
const PLAIN: u32 = 0x6B;
const CHECKSUMS: u32 = 0x46B;

fn superblock(ro_compat: u32) -> Superblock {
    raw_superblock(ro_compat).validate(8 << 20).unwrap()
}

#[test]
fn superblocks() {
    use zerocopy::IntoBytes;
    let valid = raw_superblock(PLAIN);
    damage(valid.as_bytes(), |bytes| {
        let Ok(raw) = RawSuperblock::ref_from_bytes(bytes) else {
            return;
        };
        if let Ok(superblock) = raw.validate(1 << 40) {
            // What passed must be safe to reckon with.
            for group in [0, 1, 2, 48, 49, 50, superblock.group_count, u32::MAX] {
                let group = GroupNumber(group);
                let _ = superblock.group_first_block(group);
                let _ = superblock.group_len_blocks(group);
                let _ = superblock.group_has_super(group);
            }
            let _ = superblock.descriptor_blocks();
            let _ = superblock.inode_position(InodeNumber(superblock.inodes_count));
            let _ = superblock.features.names();
        }
    });
}

#[test]
fn group_descriptors() {
    let mut valid = [0; 64];
    for (at, value) in [(0, 67u32), (4, 83), (8, 99), (12, 0x0700_1234), (16, 2)] {
        valid[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    for ro_compat in [PLAIN, CHECKSUMS] {
        let superblock = superblock(ro_compat);
        damage(&valid, |bytes| {
            let _ = group_descriptor::parse(&superblock, GroupNumber(0), BLOCK, bytes);
        });
    }
}

/// An inode with extra fields, an extent root and an xattr in its tail.
fn inode_bytes() -> Vec<u8> {
    let mut bytes = vec![0; 256];
    bytes[..2].copy_from_slice(&0x81A4u16.to_le_bytes());
    bytes[0x1A] = 1;
    bytes[0x22] = 0x08;
    bytes[inode::BLOCK_AREA].copy_from_slice(&extent_root());
    bytes[0x80] = 32;
    let xattrs = inode_xattrs();
    bytes[0xA0..0xA0 + xattrs.len()].copy_from_slice(&xattrs);
    bytes
}

fn extent_root() -> [u8; 60] {
    let mut root = [0; 60];
    root[..8].copy_from_slice(&[0x0A, 0xF3, 3, 0, 4, 0, 0, 0]);
    for (index, entry) in [(0u32, 5u16, 900u32), (7, 2, 1000), (9, 32770, 1002)]
        .into_iter()
        .enumerate()
    {
        let at = 12 + index * 12;
        root[at..at + 4].copy_from_slice(&entry.0.to_le_bytes());
        root[at + 4..at + 6].copy_from_slice(&entry.1.to_le_bytes());
        root[at + 8..at + 12].copy_from_slice(&entry.2.to_le_bytes());
    }
    root
}

fn inode_xattrs() -> Vec<u8> {
    let mut area = vec![0; 96];
    area[..4].copy_from_slice(&0xEA02_0000u32.to_le_bytes());
    area[4..24].copy_from_slice(&[
        3, 1, 80, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', b'c', 0,
    ]);
    area[84..93].copy_from_slice(b"the value");
    area
}

#[test]
fn inodes() {
    for ro_compat in [PLAIN, CHECKSUMS] {
        let superblock = superblock(ro_compat);
        let mut valid = inode_bytes();
        inode::set_checksum(&superblock, InodeNumber(12), &mut valid);
        assert!(inode::parse(&superblock, InodeNumber(12), BLOCK, &valid).is_ok());
        damage(&valid, |bytes| {
            if let Ok(inode) = inode::parse(&superblock, InodeNumber(12), BLOCK, bytes) {
                let _ = inode.device_number();
                let _ = inode.is_fast_symlink(&superblock);
                let _ = inode.blocks_512();
                let _ = crate::inline::content(&inode);
            }
        });
    }
}

#[test]
fn extent_nodes() {
    let superblock = superblock(PLAIN);
    let root = extent_root();
    assert!(extent::check(&superblock, &"root", None, &root, None).is_ok());
    damage(&root, |bytes| {
        if extent::check(&superblock, &"root", None, bytes, None).is_ok() {
            let extents = match extent::view(bytes) {
                Some(extent::Node::Leaf(entries)) => entries.iter().map(|e| e.typed().end()).max(),
                Some(extent::Node::Index { entries, .. }) => {
                    entries.iter().map(|index| index.leaf().0).max()
                }
                None => panic!("an accepted node cannot be viewed"),
            };
            assert!(extents.is_none_or(|end| end <= extent::FILE_BLOCKS_MAX));
        }
        let _ = extent::check_checksum(&"node", 1, BLOCK, bytes);
    });
}

#[test]
fn directory_blocks() {
    let rules = directory_block::Rules {
        inodes_count: 2048,
        has_types: true,
    };
    let mut valid = vec![0; 1024];
    let mut at = 0;
    for name in ["a", "bb", "a longer name", "d", "e"] {
        let len = (8 + name.len()).next_multiple_of(4);
        let len = if name == "e" { 1024 - at } else { len };
        valid[at..at + 4].copy_from_slice(&11u32.to_le_bytes());
        valid[at + 4..at + 6].copy_from_slice(&(len as u16).to_le_bytes());
        valid[at + 6] = name.len() as u8;
        valid[at + 7] = 1;
        valid[at + 8..at + 8 + name.len()].copy_from_slice(name.as_bytes());
        at += len;
    }
    assert!(directory_block::check(&"block", None, &valid, rules).is_ok());
    damage(&valid, |bytes| {
        let _ = directory_block::check(&"block", None, bytes, rules);
        for entry in directory_block::entries(bytes, 4, rules).flatten() {
            assert!(!entry.name.is_empty() && entry.end <= bytes.len());
        }
        let _ = directory_block::check_checksum(&"block", 1, BLOCK, bytes);
    });
}

#[test]
fn hash_tree_nodes() {
    for kind in [htree::Kind::Root, htree::Kind::Node] {
        let mut valid = vec![0; 1024];
        valid[28] = 1;
        valid[29] = 8;
        let at = if kind == htree::Kind::Root { 32 } else { 8 };
        valid[at..at + 2].copy_from_slice(&(((1024 - at) / 8) as u16).to_le_bytes());
        valid[at + 2] = 3;
        for (index, pair) in [(0u32, 1u32), (500, 2), (900, 3)].into_iter().enumerate() {
            let place = at + index * 8;
            if index > 0 {
                valid[place..place + 4].copy_from_slice(&pair.0.to_le_bytes());
            }
            valid[place + 4..place + 8].copy_from_slice(&pair.1.to_le_bytes());
        }
        assert!(htree::check(&"node", BLOCK, &valid, kind, 1, None).is_ok());
        damage(&valid, |bytes| {
            let _ = htree::check(&"node", BLOCK, bytes, kind, 1, Some(1));
            if htree::check(&"node", BLOCK, bytes, kind, 1, None).is_ok() {
                assert!(!htree::pairs(bytes, kind).is_empty());
            }
            let _ = htree::root_info(bytes);
            let _ = htree::looks_like_node(bytes);
        });
    }
}

#[test]
fn xattrs() {
    let valid = inode_xattrs();
    assert_eq!(xattr::inode_entries(&"inode", &valid).unwrap().len(), 1);
    damage(&valid, |bytes| {
        let _ = xattr::inode_entries(&"inode", bytes);
    });
    let mut block = vec![0; 1024];
    block[..12].copy_from_slice(&[0, 0, 2, 0xEA, 1, 0, 0, 0, 1, 0, 0, 0]);
    block[32..52].copy_from_slice(&valid[4..24]);
    assert_eq!(
        xattr::block_entries(&"block", BLOCK, &block).unwrap().len(),
        1
    );
    damage(&block, |bytes| {
        let _ = xattr::check_block(&"block", BLOCK, bytes, Some(3));
        for entry in xattr::block_entries(&"block", BLOCK, bytes).unwrap_or_default() {
            let _ = xattr::full_name(entry.index, entry.name);
        }
    });
}

#[test]
fn acls() {
    let valid = [
        1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 4, 0, 0xE8, 3, 0, 0, 4, 0, 4, 0, 0x10, 0, 4, 0, 0x20, 0, 4, 0,
    ];
    damage(&valid, |bytes| {
        let _ = acl::to_kernel_form(&"test", bytes);
    });
}

#[test]
fn orphan_blocks() {
    let mut valid = vec![0; 1024];
    valid[..4].copy_from_slice(&12u32.to_le_bytes());
    valid[1016..1020].copy_from_slice(&0x0B10_CA04u32.to_le_bytes());
    assert_eq!(
        orphan::entries(BLOCK, &valid, None).unwrap(),
        [InodeNumber(12)]
    );
    damage(&valid, |bytes| {
        let _ = orphan::entries(BLOCK, bytes, None);
        let _ = orphan::entries(BLOCK, bytes, Some(1));
    });
}
