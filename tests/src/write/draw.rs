//! Random operations. What is drawn are numbers; which names, offsets and attributes they
//! mean is decided when the operation's turn comes, by what is there then. So most
//! operations do something, and those left when a case is shrunk still do.

use super::model::Model;
use super::operation::{Data, Operation, Path, Target, Value};
use super::tree::{Kind, NodeId};
use fs_core::{
    Allocation, AttributeChanges, InodeFlags, NewInode, NewKind, RenameMode, TimeChange, Timestamp,
    WriteContext, XattrSet,
};
use proptest::prelude::*;

/// What is done, roughly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // Operations by name.
pub enum What {
    Create,
    Mkdir,
    Symlink,
    Special,
    Unnamed,
    Many,
    Link,
    Unlink,
    UnlinkMany,
    Rmdir,
    Rename,
    Write,
    Append,
    Truncate,
    Allocate,
    Squeeze,
    Swap,
    Attributes,
    Flags,
    Generation,
    Xattr,
    RemoveXattr,
    Retain,
    Release,
    Sync,
    Reopen,
}

/// A random operation before its turn.
#[derive(Debug, Clone)]
pub struct Draw {
    /// What is done.
    pub what: What,
    /// To which of those there are.
    pub picks: [u16; 4],
    /// Sizes.
    pub sizes: [u64; 2],
}

/// How far random operations go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// No offset is larger.
    pub offset_max: u64,
    /// No write, and no preallocation by more than four times, is longer.
    pub len_max: u64,
    /// Files that are made at once.
    pub many: u64,
    /// Bytes that are free now.
    pub free_bytes: u64,
}

const WEIGHTS: [(u32, What); 26] = [
    (10, What::Create),
    (6, What::Mkdir),
    (4, What::Symlink),
    (2, What::Special),
    (2, What::Unnamed),
    (1, What::Many),
    (5, What::Link),
    (7, What::Unlink),
    (1, What::UnlinkMany),
    (4, What::Rmdir),
    (10, What::Rename),
    (14, What::Write),
    (6, What::Append),
    (7, What::Truncate),
    (14, What::Allocate),
    (1, What::Squeeze),
    (4, What::Swap),
    (5, What::Attributes),
    (3, What::Flags),
    (1, What::Generation),
    (10, What::Xattr),
    (4, What::RemoveXattr),
    (3, What::Retain),
    (3, What::Release),
    (4, What::Sync),
    (1, What::Reopen),
];

/// Draws one.
pub fn draw() -> impl Strategy<Value = Draw> {
    let what = WEIGHTS.map(|(weight, what)| (weight, Just(what)));
    let what = proptest::strategy::Union::new_weighted(what.to_vec());
    // All magnitudes are as likely.
    let size = || (0u32..48, any::<u64>()).prop_map(|(bits, noise)| noise & ((1 << bits) - 1));
    (what, any::<[u16; 4]>(), [size(), size()]).prop_map(|(what, picks, sizes)| Draw {
        what,
        picks,
        sizes,
    })
}

/// Names of the universe: short, equal to others in their beginning, of the longest kind,
/// of bytes that are no text.
fn name(pick: u16) -> Vec<u8> {
    match pick % 9 {
        0 => b"a".to_vec(),
        1 => b"b".to_vec(),
        2 => b"c".to_vec(),
        3 => b"ab".to_vec(),
        4 => b"a name with spaces, of middling length".to_vec(),
        5 => vec![b'l'; 255],
        6 => [b"long".to_vec(), vec![b'm'; 200]].concat(),
        7 => vec![0xFF, 0x80, b'\n', 1],
        _ => "\u{e4}\u{2603}".as_bytes().to_vec(),
    }
}

/// The names of What::Many.
fn many_name(number: u64) -> Vec<u8> {
    format!("one of many, number {number}").into_bytes()
}

/// Directories are not made deeper.
const DEPTH_MAX: usize = 6;
/// Space is not taken by writing more than this.
const SQUEEZED_BYTES_MAX: u64 = 4 << 20;
/// What is listed to pick from.
const LISTED_MAX: usize = 400;

/// Paths there are, by kind.
struct There {
    directories: Vec<Path>,
    files: Vec<Path>,
    others: Vec<Path>,
}

impl There {
    fn of(model: &Model) -> Self {
        let mut there = Self {
            directories: vec![Path::root()],
            files: Vec::new(),
            others: Vec::new(),
        };
        let mut pending = vec![(Path::root(), model.tree.root)];
        let mut listed = 0;
        while let Some((path, id)) = pending.pop() {
            let entries = model.tree.nodes.get(&id).and_then(|node| node.entries());
            for (name, child) in entries.into_iter().flatten() {
                listed += 1;
                if listed > LISTED_MAX {
                    break;
                }
                there.add(model, path.join(name), *child, &mut pending);
            }
        }
        there
    }

    fn add(&mut self, model: &Model, path: Path, id: NodeId, pending: &mut Vec<(Path, NodeId)>) {
        match model.tree.nodes.get(&id).map(|node| &node.kind) {
            Some(Kind::Directory { .. }) => {
                self.directories.push(path.clone());
                pending.push((path, id));
            }
            Some(Kind::File { .. }) => self.files.push(path),
            _ => self.others.push(path),
        }
    }

    fn directory(&self, pick: u16) -> Path {
        choose(&self.directories, pick / 8).unwrap_or_default()
    }

    /// A name that may be there or not.
    fn place(&self, pick: u16) -> Path {
        let parent = self.directory(pick);
        let parent = if parent.0.len() < DEPTH_MAX {
            parent
        } else {
            Path::root()
        };
        parent.join(name(pick))
    }

    fn all(&self) -> impl Iterator<Item = &Path> {
        let directories = self.directories.iter().skip(1);
        directories.chain(&self.files).chain(&self.others)
    }

    /// Mostly something that is there.
    fn any(&self, pick: u16) -> Path {
        let count = self.all().count();
        if pick % 8 == 7 || count == 0 {
            return self.place(pick);
        }
        let index = usize::from(pick / 8) % count;
        self.all().nth(index).cloned().unwrap_or_default()
    }

    fn target(&self, model: &Model, pick: u16) -> Target {
        match pick % 16 {
            3 if !model.held.is_empty() => Target::Held(usize::from(pick / 16)),
            5 => Target::Path(Path::root()),
            _ => Target::Path(self.any(pick)),
        }
    }

    /// Mostly a file.
    fn file(&self, model: &Model, pick: u16) -> Target {
        match pick % 16 {
            3 if !model.held.is_empty() => Target::Held(usize::from(pick / 16)),
            5 => self.target(model, pick / 16),
            _ => choose(&self.files, pick / 16)
                .map_or_else(|| Target::Path(self.any(pick)), Target::Path),
        }
    }
}

fn choose<T: Clone>(from: &[T], pick: u16) -> Option<T> {
    let index = usize::from(pick).checked_rem(from.len())?;
    from.get(index).cloned()
}

impl Draw {
    /// The operations it means now; more than one for What::Many.
    pub fn operations(&self, model: &Model, limits: &Limits) -> Vec<Operation> {
        let there = There::of(model);
        let [a, b, c, _] = self.picks;
        let one = match self.what {
            What::Many | What::UnlinkMany => return self.many(&there, limits),
            What::Create => self.create(&there, NewKind::File),
            What::Mkdir => self.create(&there, NewKind::Directory),
            What::Symlink => self.create(&there, self.link_target(model)),
            What::Special => self.create(&there, self.special()),
            What::Unnamed => Operation::CreateUnnamed {
                parent: there.directory(a),
                new: self.new_inode(match b % 4 {
                    0 => self.link_target(model),
                    _ => NewKind::File,
                }),
            },
            What::Link => Operation::Link {
                from: there.target(model, a),
                at: there.place(b),
            },
            What::Unlink => Operation::Unlink { at: there.any(a) },
            What::Rmdir => Operation::Rmdir {
                at: match a % 4 {
                    0 => there.any(a),
                    _ => there.directory(a),
                },
            },
            What::Rename => Operation::Rename {
                from: there.any(a),
                to: match c % 4 {
                    0 => there.any(b),
                    _ => there.place(b),
                },
                mode: match c / 4 % 8 {
                    0 => RenameMode::NoReplace,
                    1 | 2 => RenameMode::Exchange,
                    3 => RenameMode::Whiteout,
                    4 => RenameMode::WhiteoutNoReplace,
                    _ => RenameMode::Replace,
                },
            },
            What::Squeeze => self.squeeze(there.file(model, a), model, limits),
            What::Write | What::Append | What::Truncate | What::Allocate | What::Swap => {
                self.on_content(&there, model, limits)
            }
            What::Retain => Operation::Retain {
                target: there.target(model, a),
            },
            What::Release => Operation::Release { held: a.into() },
            What::Sync => match a % 4 {
                0 => Operation::Sync,
                1 => Operation::Checkpoint,
                _ => Operation::Fsync {
                    target: there.target(model, b),
                },
            },
            What::Reopen => Operation::Reopen {
                seconds: u32::from(a) + 1,
            },
            What::Attributes | What::Flags | What::Generation | What::Xattr | What::RemoveXattr => {
                self.on_attributes(&there, model)
            }
        };
        vec![one]
    }

    fn many(&self, there: &There, limits: &Limits) -> Vec<Operation> {
        let directory = there.directory(self.picks[0]);
        let first = u64::from(self.picks[1]) % limits.many.max(1);
        let count = self.sizes[0] % limits.many.max(1);
        let path = |number| directory.join(many_name(number));
        let numbers = first..first + count;
        if self.what == What::Many {
            let new = NewInode::file(0o600);
            let create = |number| Operation::Create {
                at: path(number),
                new: new.clone(),
            };
            numbers.map(create).collect()
        } else {
            numbers
                .map(|number| Operation::Unlink { at: path(number) })
                .collect()
        }
    }

    fn create(&self, there: &There, kind: NewKind) -> Operation {
        Operation::Create {
            at: there.place(self.picks[0]),
            new: self.new_inode(kind),
        }
    }

    fn new_inode(&self, kind: NewKind) -> NewInode {
        let pick = self.picks[2];
        let permissions = match pick % 4 {
            0 => (pick / 4) & 0o7777,
            _ => 0o755,
        };
        let mut new = NewInode::new(kind, permissions);
        if pick.is_multiple_of(3) {
            (new.uid, new.gid) = (70_000 + u32::from(pick % 7), u32::from(pick % 5));
        }
        if pick.is_multiple_of(11) {
            let value = Data {
                seed: pick.into(),
                len: usize::from(pick % 100),
            };
            new.xattrs = vec![(b"security.at birth".to_vec(), value.bytes())];
        }
        new
    }

    fn link_target(&self, model: &Model) -> NewKind {
        let longest = model.traits.block_bytes.min(4096) - 1;
        let len = match self.picks[3] % 8 {
            0 => longest,
            // No program can ask Linux for a longer one.
            1 if longest < 4095 => longest + 1,
            2 => self.sizes[1] % longest + 1,
            3 => 59,
            4 => 60,
            _ => self.sizes[1] % 59 + 1,
        };
        NewKind::Symlink((0..len).map(|at| b"ab/"[at as usize % 3]).collect())
    }

    fn special(&self) -> NewKind {
        let (major, minor) = (
            u32::from(self.picks[1]) % 0x1100,
            (self.sizes[0] % 0x11_0000) as u32,
        );
        match self.picks[3] % 4 {
            0 => NewKind::CharDevice { major, minor },
            1 => NewKind::BlockDevice { major, minor },
            2 => NewKind::Fifo,
            _ => NewKind::Socket,
        }
    }

    /// Takes all space but for some blocks, or asks for some more than there are.
    fn squeeze(&self, file: Target, model: &Model, limits: &Limits) -> Operation {
        let [_, b, c, d] = self.picks;
        let block = model.traits.block_bytes;
        let len = (limits.free_bytes + 10 * block).saturating_sub(u64::from(b % 40) * block);
        let context = WriteContext {
            kernel_moves_content: false,
            may_use_reserve: true,
            clear_privileges: false,
            keeps_times: false,
        };
        if model.traits.has_extents {
            return Operation::Allocate {
                file,
                how: Allocation::Allocate {
                    keep_size: c % 2 == 0,
                },
                offset: 0,
                len: len.max(1),
                context,
            };
        }
        Operation::Write {
            file,
            data: Data {
                seed: d.into(),
                len: len.min(SQUEEZED_BYTES_MAX) as usize,
            },
            offset: 0,
            context,
        }
    }

    fn on_content(&self, there: &There, model: &Model, limits: &Limits) -> Operation {
        let [a, b, c, d] = self.picks;
        let file = there.file(model, a);
        let size =
            model
                .resolve(&file)
                .ok()
                .and_then(|id| match &model.tree.nodes.get(&id)?.kind {
                    Kind::File { size, .. } => Some(*size),
                    _ => None,
                });
        let size = size.unwrap_or(0);
        let block = model.traits.block_bytes;
        let aligned = |at: u64, when: bool| if when { at / block * block } else { at };
        // Near what is there, mostly.
        let offset = match b % 8 {
            0 => self.sizes[0] % (limits.offset_max + 1),
            1 => size,
            2 => size.saturating_sub(self.sizes[0] % 70_000),
            _ => self.sizes[0] % (size + 2 * block),
        }
        .min(limits.offset_max);
        let how = allocation(c);
        let moves = matches!(how, Allocation::CollapseRange | Allocation::InsertRange);
        let offset = aligned(offset, b / 8 % 2 == 0 || moves && d % 8 != 0);
        let len = self.sizes[1] % (limits.len_max + 1);
        let len = match c % 2 {
            1 if !moves || d % 8 == 1 => len,
            _ => aligned(len, true).max(block),
        };
        let context = WriteContext {
            kernel_moves_content: false,
            may_use_reserve: d % 2 == 0,
            clear_privileges: d % 4 == 1,
            keeps_times: false,
        };
        match self.what {
            What::Write | What::Append => Operation::Write {
                file,
                data: Data {
                    seed: u64::from(c) << 16 | u64::from(d),
                    len: len as usize,
                },
                offset: if self.what == What::Append {
                    size
                } else {
                    offset
                },
                context,
            },
            What::Truncate => Operation::Truncate {
                file,
                size: if c % 8 == 3 { 0 } else { offset },
                context,
            },
            What::Swap => Operation::SwapExtents {
                a: file,
                a_offset: aligned(offset, c % 8 != 1),
                b: there.file(model, b / 16),
                b_offset: aligned(self.sizes[1] % (size + block), true),
                len: aligned(len * 2, c % 8 != 2),
            },
            _ => Operation::Allocate {
                file,
                how,
                offset,
                len: len * u64::from(1 + d % 4),
                context,
            },
        }
    }

    fn on_attributes(&self, there: &There, model: &Model) -> Operation {
        let [a, b, c, d] = self.picks;
        let target = there.target(model, a);
        match self.what {
            What::Attributes => Operation::SetAttributes {
                target,
                changes: self.changes(),
            },
            What::Flags => Operation::SetFlags {
                target,
                flags: flags(b),
            },
            What::Generation => Operation::SetGeneration {
                target,
                generation: u32::from(b) << 16 | u32::from(c),
            },
            What::RemoveXattr => {
                let own = model.resolve(&target).ok().and_then(|id| {
                    let names = &model.tree.nodes.get(&id)?.xattrs;
                    choose(&names.keys().cloned().collect::<Vec<_>>(), c)
                });
                let name = own.unwrap_or_else(|| xattr_name(b, false));
                Operation::RemoveXattr { target, name }
            }
            _ => {
                let takes_all = model.resolve(&target).is_ok_and(|id| {
                    let kind = model.tree.nodes.get(&id).map(|node| &node.kind);
                    matches!(kind, Some(Kind::File { .. } | Kind::Directory { .. }))
                });
                let name = xattr_name(b, takes_all);
                let value = if name.starts_with(b"system.") {
                    Value::Bytes(acl(c))
                } else {
                    Value::Data(Data {
                        seed: d.into(),
                        len: self.value_len(model),
                    })
                };
                let mode = match c % 8 {
                    0 => XattrSet::Create,
                    1 => XattrSet::Replace,
                    _ => XattrSet::Any,
                };
                Operation::SetXattr {
                    target,
                    name,
                    value,
                    mode,
                }
            }
        }
    }

    fn value_len(&self, model: &Model) -> usize {
        let limit = match self.picks[2] / 8 % 8 {
            0 => 65_537,
            1 | 2 => model.traits.block_bytes,
            3 => 1,
            _ => 120,
        };
        (self.sizes[0] % limit) as usize
    }

    fn changes(&self) -> AttributeChanges {
        let [_, b, c, d] = self.picks;
        let [x, y] = self.sizes;
        let has = |bit: u16| c >> bit & 1 == 1;
        let seconds = match d % 4 {
            0 => (x % (1 << 33)).cast_signed() - (1 << 31),
            1 => (x % (1 << 36)).cast_signed() - (1 << 34),
            _ => (x % (1 << 31)).cast_signed(),
        };
        let time = Timestamp {
            seconds,
            nanos: (y % 1_000_000_000) as u32,
        };
        let change = |bit: u16| {
            has(bit).then_some(match has(bit + 1) {
                true => TimeChange::At(time),
                false => TimeChange::Now,
            })
        };
        AttributeChanges {
            permissions: has(0).then_some(b & 0o7777),
            uid: has(1).then_some((x % (1 << 32)) as u32),
            gid: has(2).then_some((y % (1 << 32)) as u32),
            accessed: change(3),
            modified: change(5),
            changed: change(7),
            created: has(9).then_some(time),
            is_belated: false,
        }
    }
}

fn allocation(pick: u16) -> Allocation {
    match pick / 2 % 10 {
        0 | 1 => Allocation::Allocate { keep_size: false },
        2 => Allocation::Allocate { keep_size: true },
        3 | 4 => Allocation::PunchHole,
        5 => Allocation::ZeroRange { keep_size: false },
        6 => Allocation::ZeroRange { keep_size: true },
        7 => Allocation::CollapseRange,
        8 => Allocation::InsertRange,
        _ => Allocation::UnshareRange,
    }
}

/// Mostly none that keep others from changing anything.
fn flags(pick: u16) -> InodeFlags {
    match pick % 16 {
        0 => InodeFlags::IMMUTABLE,
        1 => InodeFlags::APPEND,
        2 => InodeFlags::DIRSYNC,
        3 => InodeFlags::TOPDIR,
        4 => InodeFlags::NODUMP | InodeFlags::NOATIME,
        5 => InodeFlags::SYNC | InodeFlags::NOTAIL,
        6 => InodeFlags::SECRM | InodeFlags::UNRM,
        _ => InodeFlags::empty(),
    }
}

fn xattr_name(pick: u16, takes_all: bool) -> Vec<u8> {
    let name: &[u8] = match pick % 14 {
        0 => b"trusted.a",
        1 => b"trusted.b",
        2 => b"trusted.a longer name",
        3 => b"security.c",
        4 if takes_all => b"system.posix_acl_access",
        5 => &[b"trusted.", &[b'n'; 247][..]].concat(),
        6 => &[b"trusted.", &[b'n'; 248][..]].concat(),
        7 if takes_all => b"user.a",
        8 if takes_all => b"user.b",
        9 if takes_all => b"user.\xFF\x01",
        10 => b"other.name",
        11 => b"trusted.",
        _ => b"trusted.c",
    };
    name.to_vec()
}

/// An ACL in the form of setxattr(2): the owner, some users, the group, a mask, others.
fn acl(pick: u16) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    let mut entry = |tag: u16, permissions: u16, id: u32| {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    };
    entry(1, 7, u32::MAX);
    for user in 0..pick / 8 % 8 {
        entry(2, pick % 8, 1000 + u32::from(user));
    }
    entry(4, 5, u32::MAX);
    entry(0x10, 7, u32::MAX);
    entry(0x20, 4, u32::MAX);
    bytes
}
