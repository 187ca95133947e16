//! The command line of mke2fs, and our own options beside it.
//!
//! Every value is parsed by the library; this file only gives it the strings, the
//! clock and the environment.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use fs_core::Timestamp;
use mkfs::options::{
    BadBlocks, BlockSize, BytesPerInode, CreatorOs, ErrorsBehavior, Extended, FeatureEdits,
    JournalOptions, Options, Profile, ReservedPercent, Size, UsageTypes, UuidChoice,
    source_date_epoch,
};
use mkfs::tree::{ScanOptions, Tree, directory, tar};

use super::progress::Bar;
use super::target::Target;

/// Make a file system, empty or filled from a directory or a tar
///
/// The options are mke2fs's; DEVICE is a block device or an image file, which is
/// created if it does not exist.
#[derive(Debug, Default, clap::Args)]
#[command(disable_version_flag = true, args_override_self = true)]
pub(crate) struct MkfsArgs {
    /// Block size in bytes, 1024 to 65536; negative: at least so many
    #[arg(short = 'b', value_name = "BYTES", allow_hyphen_values = true)]
    block_size: Option<BlockSize>,
    /// Cluster size (bigalloc): refused, extmap only reads such file systems
    #[arg(short = 'C', value_name = "BYTES")]
    cluster_size: Option<Size>,
    /// Write around the page cache (O_DIRECT)
    #[arg(short = 'D')]
    pub(super) direct: bool,
    /// Fill it from a directory, a tar (plain, gzip, zstd, xz), or a tar on standard input (-)
    #[arg(short = 'd', value_name = "DIR|TAR|-")]
    pub(super) source: Option<PathBuf>,
    /// What to do about errors: continue, remount-ro or panic
    #[arg(short = 'e', value_name = "BEHAVIOR")]
    errors: Option<ErrorsBehavior>,
    /// Extended options, comma-separated, see the manual page
    #[arg(short = 'E', value_name = "LIST")]
    extended: Vec<Extended>,
    /// Overwrite what is there; twice: even what is mounted or in use
    #[arg(short = 'F', action = clap::ArgAction::Count)]
    pub(super) force: u8,
    /// Blocks in a group
    #[arg(short = 'g', value_name = "BLOCKS", allow_hyphen_values = true)]
    blocks_per_group: Option<u32>,
    /// Groups in a flex group
    #[arg(short = 'G', value_name = "GROUPS", allow_hyphen_values = true)]
    groups_per_flex: Option<u32>,
    /// Inode size in bytes
    #[arg(short = 'I', value_name = "BYTES", allow_hyphen_values = true)]
    inode_size: Option<u32>,
    /// One inode for so many bytes
    #[arg(short = 'i', value_name = "BYTES", allow_hyphen_values = true)]
    bytes_per_inode: Option<BytesPerInode>,
    /// With a journal
    #[arg(short = 'j')]
    journal: bool,
    /// Journal options: size= (MiB), location=, fast_commit_size=
    #[arg(short = 'J', value_name = "LIST")]
    journal_options: Vec<JournalOptions>,
    /// Label, at most 16 bytes
    #[arg(short = 'L', value_name = "LABEL")]
    label: Option<OsString>,
    /// A file with the numbers of bad blocks, one a line
    #[arg(short = 'l', value_name = "FILE")]
    bad_blocks: Option<PathBuf>,
    /// Where it was last mounted, at most 63 bytes
    #[arg(short = 'M', value_name = "DIR")]
    last_mounted: Option<OsString>,
    /// Blocks reserved for root, 0 to 50 percent
    #[arg(short = 'm', value_name = "PERCENT", allow_hyphen_values = true)]
    reserved_percent: Option<ReservedPercent>,
    /// Number of inodes
    #[arg(short = 'N', value_name = "COUNT", allow_hyphen_values = true)]
    inodes: Option<u64>,
    /// Only say what would be done
    #[arg(short = 'n')]
    pub(super) dry_run: bool,
    /// Features on and (^) off, comma-separated
    #[arg(short = 'O', value_name = "LIST")]
    features: Vec<FeatureEdits>,
    /// Creator system, by name or number
    #[arg(short = 'o', value_name = "OS")]
    creator_os: Option<CreatorOs>,
    /// Say nothing
    #[arg(short = 'q')]
    pub(super) quiet: bool,
    /// Revision of the format, 0 or 1
    #[arg(short = 'r', value_name = "REVISION", allow_hyphen_values = true)]
    revision: Option<u32>,
    /// ext2, ext3 or ext4
    #[arg(short = 't', value_name = "TYPE")]
    fs_type: Option<String>,
    /// What it is for: small, floppy, big, huge, news, largefile, largefile4
    #[arg(short = 'T', value_name = "USAGE")]
    usage_types: Option<UsageTypes>,
    /// UUID, or clear, random, time
    #[arg(short = 'U', value_name = "UUID")]
    uuid: Option<UuidChoice>,
    /// Print the version
    #[arg(short = 'V')]
    pub(super) version: bool,
    /// Say more
    #[arg(short = 'v')]
    pub(super) verbose: bool,

    /// Take the defaults from this file, in mke2fs.conf's syntax
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Everything from the source belongs to this user and group
    #[arg(long, value_name = "UID:GID", value_parser = parse_owner, allow_hyphen_values = true)]
    owner: Option<(u32, u32)>,
    /// Times of modification after SOURCE_DATE_EPOCH, or now, become that
    #[arg(long)]
    clamp_mtime: bool,
    /// Without SIZE: leave so much of what is used free
    #[arg(
        long,
        value_name = "PERCENT",
        default_value_t = 0,
        allow_hyphen_values = true
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(super) headroom: u32,
    /// Threads that copy files; the result is the same
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Print one JSON object of what was made
    #[arg(long)]
    pub(super) json: bool,

    /// Block device or image file
    #[arg(value_name = "DEVICE", required_unless_present = "version")]
    device: Option<PathBuf>,
    /// Size: blocks, or with a suffix (s, k, M, G, T) bytes
    #[arg(value_name = "SIZE")]
    size: Option<Size>,
}

/// Now, and the time SOURCE_DATE_EPOCH says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    now: Timestamp,
    source_date_epoch: Option<Timestamp>,
}

impl Moment {
    /// Asks the clock and the environment.
    pub(super) fn now() -> anyhow::Result<Self> {
        let now = jiff::Timestamp::now();
        let epoch = match std::env::var_os("SOURCE_DATE_EPOCH") {
            None => None,
            Some(text) => Some(source_date_epoch(&text.to_string_lossy())?),
        };
        Ok(Self {
            now: Timestamp {
                seconds: now.as_second(),
                nanos: 0,
            },
            source_date_epoch: epoch,
        })
    }

    /// The time of everything that is made.
    fn time(self) -> Timestamp {
        self.source_date_epoch.unwrap_or(self.now)
    }
}

impl MkfsArgs {
    /// A call with nothing but an image and a size.
    pub(super) fn plain(image: &Path, size: Size) -> Self {
        Self {
            quiet: true,
            device: Some(image.to_owned()),
            size: Some(size),
            ..Self::default()
        }
    }

    /// True if warnings are not wanted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub(super) fn device(&self) -> anyhow::Result<&Path> {
        self.device.as_deref().context("no device was given")
    }

    /// The device as messages call it.
    pub(super) fn device_name(&self) -> String {
        let device = self.device.as_deref().unwrap_or(Path::new(""));
        device.display().to_string()
    }

    /// The size asked for.
    pub(super) fn size_bytes(&self, options: &Options) -> anyhow::Result<Option<u64>> {
        let Some(size) = self.size else {
            return Ok(None);
        };
        if self.headroom != 0 {
            bail!("--headroom is for images as small as their tree allows: leave out the size");
        }
        let bytes = size.in_bytes(options.size_unit_bytes())?;
        if bytes == 0 {
            bail!("a file system of size 0 cannot be made");
        }
        Ok(Some(bytes))
    }

    /// What the command line asks for.
    pub(super) fn to_options(&self, moment: Moment) -> anyhow::Result<Options> {
        let text_of = |path: &PathBuf| {
            std::fs::read_to_string(path).with_context(|| path.display().to_string())
        };
        let mut features = FeatureEdits::default();
        for list in &self.features {
            features.extend(list.clone());
        }
        let bad_blocks: Option<BadBlocks> = match &self.bad_blocks {
            Some(path) => Some(
                text_of(path)?
                    .parse()
                    .with_context(|| path.display().to_string())?,
            ),
            None => None,
        };
        let profile: Option<Profile> = match &self.profile {
            Some(path) => Some(
                text_of(path)?
                    .parse()
                    .with_context(|| path.display().to_string())?,
            ),
            None => None,
        };
        let extended = self.extended.iter().cloned();
        let journal_options = self.journal_options.iter().cloned();
        let bytes_of = |text: &Option<OsString>| {
            text.as_ref()
                .map_or(Vec::new(), |text| text.as_bytes().to_vec())
        };
        Ok(Options {
            block_size: self.block_size,
            cluster_bytes: self.cluster_size.map(|size| size.in_bytes(1)).transpose()?,
            blocks_per_group: self.blocks_per_group,
            groups_per_flex: self.groups_per_flex,
            inode_bytes: self.inode_size,
            bytes_per_inode: self.bytes_per_inode,
            inodes: self.inodes,
            journal: self.journal,
            journal_options: journal_options
                .reduce(JournalOptions::and)
                .unwrap_or_default(),
            label: bytes_of(&self.label),
            last_mounted: bytes_of(&self.last_mounted),
            reserved_percent: self.reserved_percent,
            errors_behavior: self.errors,
            creator_os: self.creator_os.unwrap_or_default(),
            features,
            revision: self.revision,
            fs_type: self.fs_type.clone(),
            usage_types: self.usage_types.clone().unwrap_or_default(),
            uuid: self.uuid.unwrap_or_default(),
            extended: extended.reduce(Extended::and).unwrap_or_default(),
            bad_blocks: bad_blocks.unwrap_or_default(),
            profile,
            now: moment.now,
            source_date_epoch: moment.source_date_epoch,
            threads: self.threads().into(),
        })
    }

    fn threads(&self) -> u16 {
        let available = || std::thread::available_parallelism().map_or(1, |n| n.get().min(16));
        self.threads
            .unwrap_or_else(|| u16::try_from(available()).unwrap_or(1))
    }

    /// What to put in: the source's tree, or only a root directory.
    pub(super) fn tree(
        &self,
        device: &Path,
        target: &Target,
        moment: Moment,
        bar: &Bar,
    ) -> anyhow::Result<Tree> {
        let Some(source) = &self.source else {
            if self.owner.is_some() || self.clamp_mtime || self.headroom != 0 {
                bail!(
                    "--owner, --clamp-mtime and --headroom say what becomes of a source: give one with -d"
                );
            }
            return Ok(Tree::empty(moment.time()));
        };
        let scan = ScanOptions {
            owner: self.owner,
            clamp_mtime: self.clamp_mtime.then(|| moment.time()),
            undescribed_mtime: moment.time(),
            reproducible: moment.source_date_epoch.is_some(),
            exclude: target.identities(),
            threads: self.threads().into(),
        };
        let input = if source.as_os_str() == "-" {
            let stdin = std::io::stdin().as_fd().try_clone_to_owned();
            tar::TarInput::File {
                file: File::from(stdin.context("standard input")?),
                name: "standard input".into(),
            }
        } else if std::fs::metadata(source)
            .with_context(|| source.display().to_string())?
            .is_dir()
        {
            return Ok(directory::scan(source, &scan, bar)?);
        } else {
            tar::TarInput::Path(source.clone())
        };
        Ok(tar::read(input, &scan, &spool_directory(device), bar)?)
    }
}

/// Where an archive that cannot be read at any offset is unpacked: beside the
/// image, where there is room for it, or for a block device in the temporary directory.
fn spool_directory(device: &Path) -> PathBuf {
    let is_device = std::fs::metadata(device).is_ok_and(|metadata| !metadata.is_file());
    match device.parent() {
        Some(parent) if !is_device && !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) if !is_device => PathBuf::from("."),
        _ => std::env::temp_dir(),
    }
}

/// "UID:GID" in numbers.
fn parse_owner(text: &str) -> Result<(u32, u32), anyhow::Error> {
    let wrong = || anyhow!("'{text}' is not UID:GID in numbers, as in 0:0");
    let (uid, gid) = text.split_once(':').ok_or_else(wrong)?;
    // The highest number means "no change" to Linux, and is nobody's.
    let number = |digits| {
        crate::size::parse_decimal(digits)
            .filter(|&id| id != u32::MAX)
            .ok_or_else(wrong)
    };
    Ok((number(uid)?, number(gid)?))
}
