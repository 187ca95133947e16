//! Trees made in memory, their content in temporary files.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use fs_core::Timestamp;

use crate::{
    Attributes, ContentSource, DataRange, Entry, FileContent, Node, NodeId, NodeKind, Tree, Xattr,
};

/// A file to be: a directory's names, or anything else.
pub(super) enum Item {
    Directory(BTreeMap<Vec<u8>, Item>, Attributes),
    Other(NodeKind, Attributes),
    /// One of the names of a file, which the first one makes.
    Named(&'static str, Box<Item>),
}

pub(super) fn directory(items: Vec<(&str, Item)>) -> Item {
    let named = items
        .into_iter()
        .map(|(name, item)| (name.as_bytes().to_vec(), item));
    Item::Directory(named.collect(), attributes(0o755))
}

pub(super) fn other(kind: NodeKind) -> Item {
    Item::Other(kind, attributes(0o640))
}

pub(super) fn symlink(target: &str) -> Item {
    other(NodeKind::Symlink(target.as_bytes().into()))
}

pub(super) fn attributes(permissions: u16) -> Attributes {
    Attributes {
        permissions,
        uid: 1000,
        gid: 70_000,
        modified: Timestamp {
            seconds: 1_600_000_000,
            nanos: 123_456_789,
        },
        ..Attributes::default()
    }
}

pub(super) fn xattr(name: &str, value: &[u8]) -> Xattr {
    Xattr {
        name: name.as_bytes().into(),
        value: value.into(),
    }
}

impl Item {
    pub(super) fn with(mut self, change: impl FnOnce(&mut Attributes)) -> Self {
        match &mut self {
            Self::Directory(_, attributes) | Self::Other(_, attributes) => change(attributes),
            Self::Named(..) => panic!("change what is named"),
        }
        self
    }

    pub(super) fn with_xattrs(self, mut xattrs: Vec<Xattr>) -> Self {
        xattrs.sort();
        self.with(|attributes| attributes.xattrs = xattrs)
    }
}

/// Numbers a tree depth first.
pub(super) fn tree(root: Item) -> Tree {
    let mut nodes = Vec::new();
    add(root, &mut nodes, &mut BTreeMap::new());
    Tree {
        nodes,
        has_root_attributes: true,
    }
}

fn add(item: Item, nodes: &mut Vec<Node>, named: &mut BTreeMap<&'static str, NodeId>) -> NodeId {
    let id = NodeId(u32::try_from(nodes.len()).expect("few nodes"));
    match item {
        Item::Named(key, item) => match named.get(key) {
            Some(&known) => known,
            None => {
                named.insert(key, id);
                add(*item, nodes, named)
            }
        },
        Item::Other(kind, attributes) => {
            nodes.push(Node { kind, attributes });
            id
        }
        Item::Directory(items, attributes) => {
            nodes.push(Node {
                kind: NodeKind::Directory(Vec::new()),
                attributes,
            });
            let mut entries = Vec::new();
            for (name, item) in items {
                let node = add(item, nodes, named);
                let name = name.into();
                entries.push(Entry { name, node });
            }
            nodes[id.0 as usize].kind = NodeKind::Directory(entries);
            id
        }
    }
}

/// Makes source files with content that tells every place from every other.
pub(super) struct Sources {
    directory: PathBuf,
    count: std::cell::Cell<u32>,
}

impl Sources {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            count: std::cell::Cell::new(0),
        }
    }

    pub(super) fn directory_path(&self) -> &Path {
        &self.directory
    }

    /// A file without holes.
    pub(super) fn file(&self, len: u64) -> Item {
        let whole = [(0, len)];
        self.sparse(len, if len == 0 { &[] } else { &whole })
    }

    /// A file with data at these (offset, length) only.
    pub(super) fn sparse(&self, size_bytes: u64, data: &[(u64, u64)]) -> Item {
        let number = self.count.get();
        self.count.set(number + 1);
        let path = self.directory.join(format!("source{number}"));
        let file = File::create(&path).expect("a source");
        file.set_len(size_bytes).expect("a size");
        for &(offset, len) in data {
            file.write_all_at(&pattern(number, offset, len), offset)
                .expect("room");
        }
        let metadata = file.metadata().expect("metadata");
        let range = |&(offset, len)| DataRange {
            offset,
            len,
            source_offset: offset,
        };
        other(NodeKind::File(FileContent {
            size_bytes,
            data: data.iter().map(range).collect(),
            source: ContentSource::Path {
                path: path.into(),
                identity: (metadata.dev(), metadata.ino()),
                modified: Timestamp {
                    seconds: metadata.mtime(),
                    nanos: u32::try_from(metadata.mtime_nsec()).unwrap(),
                },
            },
        }))
    }
}

/// A file in an archive: where its data starts there, its (offset, length) ranges, its size.
pub(super) type Member<'a> = (u64, &'a [(u64, u64)], u64);

/// Files whose content is part of one archive.
pub(super) fn members(archive: &Path, members: &[Member<'_>]) -> Vec<Item> {
    std::fs::write(archive, pattern(77, 0, 4 << 20)).expect("an archive");
    let file = std::sync::Arc::new(File::open(archive).expect("an archive"));
    let member = |&(start, data, size_bytes): &Member<'_>| {
        let mut source_offset = start;
        let data = data.iter().map(|&(offset, len)| {
            let range = DataRange {
                offset,
                len,
                source_offset,
            };
            source_offset += len;
            range
        });
        other(NodeKind::File(FileContent {
            size_bytes,
            data: data.collect(),
            source: ContentSource::Shared {
                file: std::sync::Arc::clone(&file),
                archive: archive.into(),
                member: Path::new("member").into(),
            },
        }))
    };
    members.iter().map(member).collect()
}

fn pattern(file: u32, offset: u64, len: u64) -> Vec<u8> {
    (offset..offset + len)
        .map(|at| {
            let mixed = (at ^ u64::from(file) << 40).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            (mixed >> 56) as u8 | 1
        })
        .collect()
}

/// A directory of `count` names, most of them links to one file.
pub(super) fn many_names(count: u32, name_len: usize) -> Item {
    let mut items = BTreeMap::new();
    for number in 0..count {
        let name = format!("{number:x>name_len$}");
        // No file has more than 65,000 names.
        const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
        let key = KEYS[(number / 50_000) as usize];
        let item = Item::Named(key, Box::new(other(NodeKind::Fifo)));
        items.insert(name.into_bytes(), item);
    }
    Item::Directory(items, attributes(0o755))
}

/// One of everything that every volume can hold.
pub(super) fn everything(sources: &Sources) -> Item {
    let sizes = [
        0,
        1,
        59,
        60,
        61,
        100,
        128,
        129,
        1023,
        1024,
        4095,
        4096,
        4097,
        70_000,
        3 << 20,
    ];
    let mut items: BTreeMap<Vec<u8>, Item> = sizes
        .iter()
        .map(|&len| (format!("file{len}").into_bytes(), sources.file(len)))
        .collect();
    let mut put = |name: &str, item: Item| {
        items.insert(name.as_bytes().to_vec(), item);
    };
    put(
        "sparse",
        sources.sparse(1 << 20, &[(5000, 1), (9000, 100), (300_000, 70_000)]),
    );
    put("hole", sources.sparse(123_456, &[]));
    put("tail", sources.sparse(200_000, &[(0, 10)]));
    for name in ["hard1", "hard2"] {
        put(name, Item::Named("hard", Box::new(other(NodeKind::Socket))));
    }
    put("fifo", other(NodeKind::Fifo));
    put("null", other(NodeKind::CharDevice(1, 3)));
    put("large", other(NodeKind::BlockDevice(259, 70_000)));
    put("zero", other(NodeKind::BlockDevice(0, 0)));
    put("fast", symlink(&"f".repeat(59)));
    put("slow", symlink(&"s".repeat(60)));
    put("slower", symlink(&"s".repeat(1000)));
    put("one", directory(vec![("name", other(NodeKind::Fifo))]));
    put("empty", directory(vec![]));
    put(
        "few",
        directory(vec![
            ("a", symlink("x")),
            ("b", symlink("y")),
            (
                "long name of more than forty-eight bytes, which only a block or the second area holds",
                symlink("z"),
            ),
        ]),
    );
    put("sixty", many_names(60, 3));
    put("long", many_names(40, 255));
    put("many", many_names(5000, 10));
    put(
        "deep",
        directory(vec![(
            "a",
            directory(vec![("b", directory(vec![("c", sources.file(5))]))]),
        )]),
    );
    put(
        "old",
        sources.file(10).with(|attributes| {
            attributes.modified.seconds = -1_000_000_000;
            attributes.accessed = Some(Timestamp {
                seconds: 5,
                nanos: 6,
            });
            attributes.changed = Some(Timestamp {
                seconds: 7,
                nanos: 8,
            });
            attributes.permissions = 0o7777;
        }),
    );
    put(
        "future",
        sources.file(10).with(|attributes| {
            attributes.modified.seconds = 10_000_000_000;
            attributes.uid = 0xFFFF_0001;
            attributes.gid = 0x1_0000;
        }),
    );
    put("dir\u{e9}", directory(vec![("n\u{f6}", symlink("\u{e9}"))]));
    Item::Directory(items, attributes(0o751))
}
