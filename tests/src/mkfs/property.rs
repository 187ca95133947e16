//! Random option sets and random trees, and how one such case is judged.

use super::judge;
use super::maker::{Maker, Mkfs};
use super::refusal;
use super::source::{self, Wanted};
use crate::rng::Rng;
use crate::scratch::Scratch;
use crate::trees::{at_time, device, fifo, xattr};
use anyhow::{Context, Result, bail};
use proptest::collection::vec;
use proptest::prelude::*;
use rustix::fs::FileType;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// A call and what it is filled with.
#[derive(Clone, Debug)]
pub struct Case {
    /// Options, without those that fix time and chance.
    pub options: Vec<String>,
    /// The size, KiB.
    pub size_kib: u64,
    /// The tree; none if it is empty.
    pub tree: Vec<Node>,
}

/// A file of a random tree. Directories are chosen by number among those made
/// before.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// In which directory.
    pub parent: usize,
    /// Length of its name.
    pub name_len: usize,
    /// Lengths of its attributes' values.
    pub attributes: Vec<usize>,
    /// Owner and group.
    pub owner: u32,
    /// Seconds of its modification.
    pub mtime: i64,
}

/// What a random file is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A directory with so many empty files of its own.
    Directory(usize),
    /// A file of this length.
    File(usize),
    /// A file with data at these places (in KiB), in holes.
    Sparse(Vec<u64>),
    /// A symbolic link with a target of this length.
    Symlink(usize),
    /// Another name of the file with this number, if there is one.
    Link(usize),
    /// A device.
    Device(u32, u32),
    /// A named pipe.
    Fifo,
}

/// Features that are set or cleared at random.
const FEATURES: &[&str] = &[
    "has_journal",
    "ext_attr",
    "resize_inode",
    "dir_index",
    "orphan_file",
    "filetype",
    "extents",
    "meta_bg",
    "64bit",
    "flex_bg",
    "metadata_csum_seed",
    "large_dir",
    "inline_data",
    "ea_inode",
    "sparse_super",
    "sparse_super2",
    "large_file",
    "huge_file",
    "uninit_bg",
    "dir_nlink",
    "extra_isize",
    "metadata_csum",
    "fast_commit",
];

fn option(
    name: &'static str,
    value: impl Strategy<Value = String> + 'static,
) -> BoxedStrategy<Vec<String>> {
    prop_oneof![
        3 => Just(Vec::new()),
        1 => value.prop_map(move |value| vec![name.to_owned(), value]),
    ]
    .boxed()
}

fn one_of(values: &'static [&'static str]) -> BoxedStrategy<String> {
    proptest::sample::select(values)
        .prop_map(str::to_owned)
        .boxed()
}

fn features() -> BoxedStrategy<Vec<String>> {
    let one = (proptest::sample::select(FEATURES), any::<bool>()).prop_map(|(name, on)| {
        if on {
            name.to_owned()
        } else {
            format!("^{name}")
        }
    });
    prop_oneof![
        1 => Just(Vec::new()),
        3 => vec(one, 1..5).prop_map(|list| vec!["-O".to_owned(), list.join(",")]),
    ]
    .boxed()
}

fn extended() -> BoxedStrategy<Vec<String>> {
    let one = prop_oneof![
        one_of(&[
            "packed_meta_blocks=1",
            "nodiscard",
            "discard",
            "lazy_itable_init=0",
            "lazy_itable_init=1",
            "lazy_journal_init=1",
            "num_backup_sb=0",
            "num_backup_sb=1",
            "num_backup_sb=2",
            "root_owner=7:8",
            "assume_storage_prezeroed=1",
        ]),
        (1u64..200, 1u64..20)
            .prop_map(|(stride, disks)| format!("stride={stride},stripe_width={}", stride * disks)),
        (10_000u64..40_000_000).prop_map(|blocks| format!("resize={blocks}")),
    ];
    prop_oneof![
        2 => Just(Vec::new()),
        1 => vec(one, 1..3).prop_map(|list| {
            list.into_iter().flat_map(|value| ["-E".to_owned(), value]).collect()
        }),
    ]
    .boxed()
}

fn options() -> BoxedStrategy<Vec<String>> {
    let parts = (
        option("-t", one_of(&["ext2", "ext3", "ext4", "ext4"])),
        option(
            "-b",
            one_of(&["1024", "1024", "2048", "4096", "4096", "16384", "65536"]),
        ),
        option("-I", one_of(&["128", "256", "512", "1024"])),
        features(),
        extended(),
        option(
            "-g",
            (32u64..4096).prop_map(|blocks| (blocks * 8).to_string()),
        ),
        option("-G", one_of(&["1", "2", "4", "16", "64", "1024"])),
        option("-m", (0u32..51).prop_map(|percent| percent.to_string())),
        prop_oneof![
            option("-i", (10u32..20).prop_map(|log| (1u64 << log).to_string())),
            option("-N", (1u64..20_000).prop_map(|count| count.to_string())),
            option(
                "-T",
                one_of(&["small", "floppy", "big", "huge", "news", "largefile"])
            ),
        ],
        option("-J", (1u64..20).prop_map(|mib| format!("size={mib}"))),
    );
    parts
        .prop_map(|(a, b, c, d, e, f, g, h, i, j)| [a, b, c, d, e, f, g, h, i, j].concat())
        .boxed()
}

fn node() -> impl Strategy<Value = Node> {
    let kind = prop_oneof![
        3 => (0usize..60).prop_map(Kind::Directory),
        6 => prop_oneof![0usize..200, 0usize..20_000, 0usize..400_000].prop_map(Kind::File),
        2 => vec(0u64..40_000, 0..9).prop_map(Kind::Sparse),
        2 => (1usize..1000).prop_map(Kind::Symlink),
        1 => (0usize..30).prop_map(Kind::Link),
        1 => (0u32..4096, 0u32..0x10_0000).prop_map(|(major, minor)| Kind::Device(major, minor)),
        1 => Just(Kind::Fifo),
    ];
    let attributes = prop_oneof![4 => Just(Vec::new()), 1 => vec(0usize..200, 1..4)];
    let owner = prop_oneof![0u32..3, any::<u32>().prop_map(|id| id & 0x7fff_ffff)];
    (
        kind,
        0usize..8,
        1usize..248,
        attributes,
        owner,
        -0x8000_0000i64..0x8000_0000,
    )
        .prop_map(|(kind, parent, name_len, attributes, owner, mtime)| Node {
            kind,
            parent,
            name_len,
            attributes,
            owner,
            mtime,
        })
}

/// Random cases: two in three with a tree.
pub fn case() -> impl Strategy<Value = Case> {
    // From 64 KiB to 1 GiB, every magnitude as likely as the next.
    let size = (6u32..20, 0u64..1000).prop_map(|(log, part)| (1 << log) + (part << log) / 1000);
    let tree = prop_oneof![1 => Just(Vec::new()), 2 => vec(node(), 1..25)];
    (options(), size, tree).prop_map(|(options, size_kib, tree)| Case {
        options,
        size_kib,
        tree,
    })
}

impl Case {
    fn call(&self, maker: Maker, image: &Path, source: Option<&Path>) -> Mkfs {
        let call = Mkfs::by(maker)
            .fixed()
            .args(["-q", "-F"])
            .args(&self.options);
        let call = match source {
            Some(source) => call.filled_from(source),
            None => call,
        };
        call.arg(image).arg(format!("{}K", self.size_kib))
    }

    /// Makes it: e2fsck, and with `mount` the kernel, are content with it; or it is
    /// refused for a reason. Whether it was made.
    pub fn check(&self, mount: bool) -> Result<bool> {
        let scratch = Scratch::new()?;
        let mut source = None;
        if !self.tree.is_empty() {
            let dir = scratch.make_dir("source")?;
            make_tree(&dir, &self.tree)?;
            source = Some(dir);
        }
        let image = scratch.path("image");
        let maker = Maker::under_test();
        let call = self.call(maker, &image, source.as_deref());
        let shown = format!("{:?}", call.words()?);
        let ended = call.run()?;
        if !ended.success() {
            let said = refusal::check(maker, &ended, &[]).context(shown.clone())?;
            self.justify(&scratch, &said, source.as_deref())
                .context(shown)?;
            return Ok(false);
        }
        if maker == Maker::Mke2fs {
            judge::fill_out(&image)?;
        }
        self.judge(&scratch, &image, source.as_deref(), mount)
            .context(shown)?;
        Ok(true)
    }

    fn judge(
        &self,
        scratch: &Scratch,
        image: &Path,
        source: Option<&Path>,
        mount: bool,
    ) -> Result<()> {
        if !mount {
            return judge::fsck(image);
        }
        let words = || self.options.iter().flat_map(|option| option.split(','));
        let wanted = Wanted {
            fine_times: !words().any(|word| word == "128" || word == "^extra_isize"),
            ..Wanted::usual()
        };
        let expected = source
            .map(|source| source::expected(source, wanted))
            .transpose()?;
        judge::live_with(image, &scratch.path("mounted"), |root| match &expected {
            Some(expected) if !words().any(|word| word.starts_with("root_owner")) => {
                source::assert_filled(expected, root, wanted)
            }
            _ => Ok(()),
        })
        .map(drop)
    }

    /// A refusal is right if mke2fs refuses too, if e2fsck finds fault with what it
    /// makes, or by one of [`OWN_REFUSALS`].
    fn justify(&self, scratch: &Scratch, said: &str, source: Option<&Path>) -> Result<()> {
        if OWN_REFUSALS.iter().any(|(words, _)| said.contains(words)) {
            return Ok(());
        }
        let peer = scratch.sparse("peer", self.size_kib << 10)?;
        let ended = self.call(Maker::Mke2fs, &peer, source).run()?;
        if !ended.success() || judge::fsck(&peer).is_err() {
            return Ok(());
        }
        bail!("refused, though mke2fs makes it and e2fsck is content: {said}")
    }
}

/// Sentences of refusals that mke2fs does not share, and why.
const OWN_REFUSALS: &[(&str, &str)] = &[
    (
        "needs the feature large_file",
        "mke2fs turns the feature on, though it was turned off",
    ),
    (
        "are too few for a journal",
        "it was asked for, or a feature that needs it was; mke2fs leaves it out",
    ),
    (
        "num_backup_sb= needs the feature sparse_super2",
        "mke2fs accepts the option and ignores it",
    ),
    (
        "packed_meta_blocks needs the feature flex_bg",
        "mke2fs accepts the option and ignores it",
    ),
    (
        "extended attributes need the feature ext_attr",
        "mke2fs writes them without it",
    ),
    (
        "the feature fast_commit needs the feature has_journal",
        "mke2fs sets a bit that means nothing",
    ),
    (
        "the feature inline_data needs the feature ext_attr",
        "what does not fit into i_block is an attribute",
    ),
    (
        "the feature ea_inode needs the feature ext_attr",
        "mke2fs sets a bit that means nothing",
    ),
];

fn make_tree(root: &Path, nodes: &[Node]) -> Result<()> {
    let mut rng = Rng::new(nodes.len() as u64);
    let mut dirs = vec![root.to_path_buf()];
    let mut files: Vec<PathBuf> = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        let dir = &dirs[node.parent % dirs.len()];
        let path = dir.join(format!("{number}-{}", "n".repeat(node.name_len)));
        match &node.kind {
            Kind::Directory(entries) => {
                fs::create_dir(&path)?;
                for entry in 0..*entries {
                    File::create(path.join(format!("entry {entry}")))?;
                }
                dirs.push(path.clone());
            }
            Kind::File(len) => fs::write(&path, rng.bytes(*len))?,
            Kind::Sparse(places) => {
                let file = File::create(&path)?;
                for place in places {
                    file.write_all_at(&rng.bytes(1000), place << 10)?;
                }
                file.set_len(places.iter().max().unwrap_or(&0) + 70_000)?;
            }
            Kind::Symlink(len) => symlink("t".repeat(*len), &path)?,
            Kind::Link(to) => match files.get(to % files.len().max(1)) {
                Some(target) => {
                    fs::hard_link(target, &path)?;
                    continue;
                }
                None => fs::write(&path, b"no file to link")?,
            },
            Kind::Device(major, minor) => {
                device(&path, FileType::CharacterDevice, *major, *minor)?;
            }
            Kind::Fifo => fifo(&path)?,
        }
        lchown(&path, Some(node.owner), Some(node.owner / 2))?;
        let takes_attributes = matches!(
            node.kind,
            Kind::File(_) | Kind::Sparse(_) | Kind::Directory(_)
        );
        for (index, len) in node
            .attributes
            .iter()
            .enumerate()
            .filter(|_| takes_attributes)
        {
            xattr(&path, &format!("user.{index}"), &rng.bytes(*len))?;
        }
        at_time(&path, (node.mtime, 0), (node.mtime, 0))?;
        if matches!(node.kind, Kind::File(_) | Kind::Sparse(_)) {
            files.push(path);
        }
    }
    Ok(())
}
