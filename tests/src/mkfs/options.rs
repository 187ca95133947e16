//! The option sets of the matrix, and what is done with each.

use super::dump::Dump;
use super::judge;
use super::maker::{Maker, Mkfs};
use super::source::{self, Source, Wanted};
use crate::guards::LoopDevice;
use crate::scratch::Scratch;
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// One way to call the program.
#[derive(Clone, Copy, Debug)]
pub struct OptionSet {
    /// Its name, and its test's.
    pub name: &'static str,
    /// Options, `-E` in as many places as one likes.
    pub options: &'static [&'static str],
    /// What mke2fs 1.47.0 takes instead, where it does not know the option; what
    /// dumpe2fs shows must not depend on it.
    pub peer: Option<&'static [&'static str]>,
    /// The SIZE argument.
    pub size: &'static str,
    /// What it is filled with.
    pub source: Source,
    /// Inodes of 256 bytes and more.
    pub fine_times: bool,
    /// Checked of the empty file system beyond what all are checked for.
    pub check: Option<fn(&Dump) -> Result<()>>,
}

impl OptionSet {
    /// The set of this name.
    pub fn named(name: &str) -> Result<&'static Self> {
        OPTION_SETS
            .iter()
            .find(|set| set.name == name)
            .with_context(|| format!("no option set {name}"))
    }

    fn call(&self, maker: Maker, image: &Path) -> Mkfs {
        let options = match (maker, self.peer) {
            (Maker::Mke2fs, Some(options)) => options,
            _ => self.options,
        };
        let call = Mkfs::by(maker).fixed().args(["-q"]).args(options);
        call.arg(image).arg(self.size)
    }

    /// Bytes before the file system.
    fn offset(&self) -> Option<&str> {
        let mut words = self.options.iter().flat_map(|option| option.split(','));
        words.find_map(|word| word.strip_prefix("offset="))
    }

    /// Makes it empty; e2fsck, dumpe2fs beside mke2fs, and the kernel judge it.
    pub fn check_empty(&self) -> Result<()> {
        let scratch = Scratch::new()?;
        let (image, peer) = (scratch.path("image"), scratch.path("peer"));
        let ended = self.call(Maker::under_test(), &image).make()?;
        if Maker::under_test() == Maker::Mke2fs {
            judge::fill_out(&image)?;
        }
        // Into a file that is there: only then mke2fs discards first, and knows the
        // inode tables to be zeroed.
        scratch.sparse("peer", image.metadata()?.len())?;
        let judged = self.call(Maker::Mke2fs, &peer).arg("-F").make()?;
        if Maker::under_test() == Maker::Extmap {
            ensure!(ended.stdout.is_empty(), "-q prints: {ended}");
            let warned = !judged.stderr.is_empty();
            ensure!(warned || ended.stderr.is_empty(), "complains: {ended}");
        }
        self.with_device(&image, |device| {
            judge::fsck(device)?;
            let dump = Dump::of(device)?;
            self.with_device(&peer, |peer| dump.assert_same(&Dump::of(peer)?))?;
            if let Some(check) = self.check {
                check(&dump)?;
            }
            judge::live_with(device, &scratch.path("mounted"), |_| Ok(())).map(drop)
        })
    }

    /// Makes it filled; e2fsck judges it, and the kernel shows what the source
    /// holds.
    pub fn check_filled(&self) -> Result<()> {
        if self.source == Source::None {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.path("image");
        let from = scratch.make_dir("source")?;
        self.source.make(&from)?;
        let maker = Maker::under_test();
        let wanted = Wanted {
            fine_times: self.fine_times,
            ..Wanted::usual()
        };
        let inline = self
            .options
            .iter()
            .any(|option| option.contains("inline_data"));
        if (maker == Maker::Mke2fs && inline) || self.options.contains(&"-F") {
            // mke2fs 1.47.0 loses data behind holes of files it begins inline. Blocks
            // larger than a page (-F) are judged by debugfs, which writes holes out.
            std::fs::remove_dir_all(from.join("holes"))?;
        }
        let expected = source::expected(&from, wanted)?;
        self.call(maker, &image).filled_from(&from).make()?;
        self.with_device(&image, |device| {
            let mounted = scratch.path("mounted");
            let shown = judge::live_with(device, &mounted, |root| {
                source::assert_filled(&expected, root, wanted)
            })?;
            if !shown {
                judge::debugfs_shows(device, &expected, &scratch.path("dumped"))?;
            }
            Ok(())
        })
    }

    /// Calls with the image, or with a loop device on the part of it behind
    /// `offset=`.
    fn with_device(&self, image: &Path, then: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        match self.offset() {
            None => then(image),
            Some(offset) => {
                let device = LoopDevice::attach(image, &["--offset", offset])?;
                then(device.path())
            }
        }
    }
}

/// 32 MiB with mke2fs's defaults for it, filled with everything.
const USUAL: OptionSet = OptionSet {
    name: "usual",
    options: &[],
    peer: None,
    size: "32M",
    source: Source::Nasty,
    fine_times: true,
    check: None,
};

macro_rules! sets {
    ($($name:literal: { $($field:ident: $value:expr),* $(,)? })*) => {
        &[$(OptionSet { name: $name, $($field: $value,)* ..USUAL }),*]
    };
}

fn has(dump: &Dump, feature: &str) -> Result<()> {
    ensure!(
        dump.has_feature(feature),
        "{feature} is not among {}",
        dump.field("Filesystem features")
    );
    Ok(())
}

fn lacks(dump: &Dump, feature: &str) -> Result<()> {
    ensure!(!dump.has_feature(feature), "{feature} is there");
    Ok(())
}

/// Every option set of the matrix.
pub const OPTION_SETS: &[OptionSet] = sets! {
    "defaults": {}

    // Block, cluster and inode sizes.
    "block_1k": { options: &["-b", "1024"] }
    "block_2k": { options: &["-b", "2048"] }
    "block_4k": { options: &["-b", "4096"], size: "16384" }
    "block_8k": { options: &["-F", "-b", "8192"], size: "128M" }
    "block_16k": { options: &["-F", "-b", "16384"], size: "128M" }
    "block_32k": { options: &["-F", "-b", "32768"], size: "256M" }
    "block_64k": { options: &["-F", "-b", "65536"], size: "512M" }
    "block_64k_ext2": { options: &["-F", "-t", "ext2", "-b", "65536"], size: "256M" }
    "block_at_least": { options: &["-b", "-4096"] }
    "inode_128": { options: &["-I", "128"], source: Source::Plain, fine_times: false }
    "inode_512": { options: &["-I", "512"] }
    "inode_1024": { options: &["-I", "1024"] }
    "inode_4096": { options: &["-b", "4096", "-I", "4096", "-N", "1024"], size: "64M" }

    // Generations and usage types.
    "ext2": { options: &["-t", "ext2"] }
    "ext2_4k": { options: &["-t", "ext2", "-b", "4096", "-I", "128"],
        source: Source::Plain, fine_times: false }
    "ext2_journal": { options: &["-t", "ext2", "-j"], check: Some(|dump| has(dump, "has_journal")) }
    "ext3": { options: &["-t", "ext3"], check: Some(|dump| lacks(dump, "extent")) }
    "ext4": { options: &["-t", "ext4"], check: Some(|dump| has(dump, "extent")) }
    "revision_0": { options: &["-t", "ext2", "-r", "0", "-O", "none"],
        source: Source::Plain, fine_times: false }
    "revision_1": { options: &["-r", "1"] }
    "features_none": { options: &["-O", "none"], source: Source::Plain }
    "usage_small": { options: &["-T", "small"], size: "64M" }
    "usage_floppy": { options: &["-T", "floppy"], size: "1440K", source: Source::Tiny }
    "usage_big": { options: &["-T", "big"], size: "256M" }
    "usage_huge": { options: &["-T", "huge"], size: "256M" }
    "usage_news": { options: &["-T", "news"], size: "64M" }
    "usage_largefile": { options: &["-T", "largefile"], size: "512M", source: Source::Plain }

    // Features off.
    "no_journal": { options: &["-O", "^has_journal"] }
    "no_ext_attr": { options: &["-O", "^ext_attr"], source: Source::Plain }
    "no_resize_inode": { options: &["-O", "^resize_inode"] }
    "no_dir_index": { options: &["-O", "^dir_index"] }
    "no_filetype": { options: &["-O", "^filetype"] }
    "no_extents": { options: &["-O", "^extents,^64bit"] }
    "no_extents_4k": { options: &["-b", "4096", "-O", "^extents,^64bit,^metadata_csum"] }
    "no_64bit": { options: &["-O", "^64bit"] }
    "no_flex_bg": { options: &["-O", "^flex_bg"] }
    "no_sparse_super": { options: &["-O", "^sparse_super,^resize_inode"] }
    "no_large_file": { options: &["-O", "^large_file"], source: Source::Tiny }
    "no_huge_file": { options: &["-O", "^huge_file"] }
    "no_dir_nlink": { options: &["-O", "^dir_nlink"] }
    "no_extra_isize": { options: &["-O", "^extra_isize"] }
    "no_metadata_csum": { options: &["-O", "^metadata_csum"] }
    "uninit_bg": { options: &["-O", "^metadata_csum,uninit_bg"],
        check: Some(|dump| has(dump, "uninit_bg")) }
    "neither_64bit_nor_csum": { options: &["-O", "^64bit,^metadata_csum"] }

    // Features on.
    "orphan_file": { options: &["-O", "orphan_file"], check: Some(|dump| has(dump, "orphan_file")) }
    "orphan_file_4k": { options: &["-b", "4096", "-O", "orphan_file", "-E", "orphan_file_size=256K"],
        size: "128M" }
    "meta_bg": { options: &["-O", "meta_bg,^resize_inode"], size: "64M" }
    "meta_bg_32bit": { options: &["-O", "meta_bg,^resize_inode,^64bit,^flex_bg"], size: "64M" }
    "csum_seed": { options: &["-O", "metadata_csum_seed"],
        check: Some(|dump| has(dump, "metadata_csum_seed")) }
    "large_dir": { options: &["-O", "large_dir"] }
    "inline_data": { options: &["-O", "inline_data"], check: Some(|dump| has(dump, "inline_data")) }
    "inline_data_4k_512": { options: &["-b", "4096", "-I", "512", "-O", "inline_data"], size: "64M" }
    "inline_data_no_csum": { options: &["-O", "inline_data,^metadata_csum"] }
    "ea_inode": { options: &["-O", "ea_inode"], check: Some(|dump| has(dump, "ea_inode")) }
    "ea_inode_inline_data": { options: &["-O", "ea_inode,inline_data"] }
    "sparse_super2": { options: &["-O", "sparse_super2"], size: "64M",
        check: Some(|dump| has(dump, "sparse_super2")) }
    "sparse_super2_one_backup": { options: &["-O", "sparse_super2", "-E", "num_backup_sb=1"],
        size: "64M" }
    "sparse_super2_no_backup": { options: &["-O", "sparse_super2,^resize_inode", "-E", "num_backup_sb=0"],
        size: "64M" }
    "mmp": { options: &["-O", "mmp", "-E", "mmp_update_interval=1"], source: Source::None,
        check: Some(|dump| has(dump, "mmp")) }
    "fast_commit": { options: &["-O", "fast_commit"], size: "64M",
        check: Some(|dump| has(dump, "fast_commit")) }
    "explicit_defaults": { options: &["-O",
        "has_journal,ext_attr,resize_inode,dir_index,filetype,extents,64bit,flex_bg,sparse_super,\
         large_file,huge_file,dir_nlink,extra_isize,metadata_csum"] }
    "many_features": { options: &["-b", "1024", "-O",
        "inline_data,ea_inode,large_dir,metadata_csum_seed,orphan_file,fast_commit,sparse_super2"],
        size: "64M" }

    // Extended options.
    "stride": { options: &["-E", "stride=16,stripe_width=64"] }
    "resize_limit": { options: &["-E", "resize=1000000"] }
    "packed_meta_blocks": { options: &["-E", "packed_meta_blocks=1"], size: "64M" }
    "packed_meta_blocks_large": { options: &["-b", "4096", "-E", "packed_meta_blocks=1"], size: "5G" }
    "not_lazy": { options: &["-E", "lazy_itable_init=0,lazy_journal_init=0"] }
    "lazy": { options: &["-E", "lazy_itable_init=1,lazy_journal_init=1"] }
    "root_owner": { options: &["-E", "root_owner=1000:1001"], source: Source::None }
    "root_perms": { options: &["-E", "root_perms=1777"], peer: Some(&[]), source: Source::None }
    // Of a file that is all hole, ours knows the inode tables to be zeroed even so;
    // mke2fs only where it has discarded.
    "nodiscard": { options: &["-E", "nodiscard"], peer: Some(&[]) }
    "discard": { options: &["-E", "discard"] }
    "prezeroed": { options: &["-E", "assume_storage_prezeroed=1"] }
    "offset": { options: &["-E", "offset=1049088"] }

    // Journal.
    "journal_4": { options: &["-J", "size=4"], size: "64M" }
    "journal_20": { options: &["-b", "4096", "-J", "size=20"], size: "64M" }
    "journal_location": { options: &["-J", "size=4,location=20000"], size: "64M" }
    "journal_fast_commit": { options: &["-O", "fast_commit", "-J", "size=8,fast_commit_size=2"],
        size: "64M" }

    // Shape.
    "group_1024": { options: &["-g", "1024"] }
    "group_2048_no_flex": { options: &["-g", "2048", "-O", "^flex_bg"] }
    "flex_4": { options: &["-G", "4"], size: "64M" }
    "flex_1": { options: &["-G", "1"], size: "64M" }
    "flex_64": { options: &["-G", "64"], size: "64M" }
    "inodes_200": { options: &["-N", "200"] }
    "inodes_30000": { options: &["-N", "30000"], size: "64M" }
    "ratio_1024": { options: &["-i", "1024"] }
    "ratio_65536": { options: &["-i", "65536"], source: Source::Tiny }
    "no_reserve": { options: &["-m", "0"] }
    "large_reserve": { options: &["-m", "12.5"] }
    "names": { options: &["-L", "sixteen bytes 16", "-M", "/mount/point"] }
    "hurd": { options: &["-t", "ext2", "-o", "hurd"], source: Source::None }
    "linux": { options: &["-o", "Linux"] }
    "direct_io": { options: &["-D"] }

    // Sizes: the smallest, odd ones, ends of groups, large ones.
    "size_64k": { size: "64K", options: &["-t", "ext2", "-N", "16"], source: Source::None }
    "size_100k": { size: "100K", options: &["-O", "^has_journal", "-N", "32"], source: Source::Tiny }
    "size_400k": { size: "400", options: &["-O", "^has_journal"], source: Source::Tiny }
    "size_1m": { size: "1M", options: &["-O", "^has_journal,^resize_inode"], source: Source::Tiny }
    "size_2m": { size: "2M", source: Source::Tiny }
    "size_3m_4k": { size: "3M", options: &["-b", "4096"], source: Source::Tiny }
    "size_sectors": { size: "65535s" }
    "size_odd": { size: "33333K" }
    "size_group_and_one": { size: "16385" }
    "size_group_and_60": { size: "24637" }
    "size_511m": { size: "511M" }
    "size_512m": { size: "512M" }
    "size_short_last_group": { options: &["-b", "4096"], size: "65600" }
    "size_1g_ext2": { options: &["-t", "ext2"], size: "1G" }
    "size_10g": { size: "10G" }
    "size_100g": { size: "100G" }
    "size_100g_ext3": { options: &["-t", "ext3"], size: "100G", source: Source::None }
    "size_100g_meta_bg": { options: &["-O", "meta_bg,^resize_inode"], size: "100G",
        source: Source::None }
    "size_20g_1k": { options: &["-b", "1024"], size: "20G", source: Source::None }
};
