//! What a user asks for, and the [`Request`](crate::Request) that comes of it.
//!
//! [`Options`] holds wishes in mke2fs's terms; every wish that is written as text
//! has a `FromStr` here, so that a command line only passes strings on.
//! [`Options::resolve`] adds what is known of the device and answers with every
//! number of the superblock, or with one sentence that says which wish cannot be
//! fulfilled and why. Where nothing is asked for, the numbers are those of mke2fs
//! 1.47 with its own configuration and `-t ext4`.
//!
//! Equal options on equal targets give equal requests, except for UUID and hash
//! seed, which are random unless they are given (SOURCE_DATE_EPOCH does not change
//! that). So that a result never depends on the host, what mke2fs asks its kernel
//! is decided once and for all: inode tables are left to the kernel where a checksum
//! says which are in use, a page has 4096 bytes, and directory hashes are signed.

mod backups;
mod bad_blocks;
mod block_size;
mod extended;
mod feature_rules;
mod features;
mod groups;
mod identity;
mod inodes;
mod journal;
mod mount_options;
mod number;
mod profile;
mod ratios;
mod resolve;
mod superblock;
mod usage;

pub use bad_blocks::BadBlocks;
pub use block_size::BlockSize;
pub use extended::Extended;
pub use features::FeatureEdits;
pub use identity::{CreatorOs, ErrorsBehavior, UuidChoice, source_date_epoch};
pub use journal::JournalOptions;
pub use number::Size;
pub use profile::Profile;
pub use ratios::{BytesPerInode, ReservedPercent};
pub use usage::UsageTypes;

use fs_core::Timestamp;

/// What a user asks for. `None`, and what is empty, leave it to the defaults for
/// the size; the whole default is a plain `extmap mkfs DEVICE`.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `-b`.
    pub block_size: Option<BlockSize>,
    /// `-C`, in bytes. Refused: extmap makes no file systems with bigalloc.
    pub cluster_bytes: Option<u64>,
    /// `-g`.
    pub blocks_per_group: Option<u32>,
    /// `-G`: groups whose metadata lies together; a power of two.
    pub groups_per_flex: Option<u32>,
    /// `-I`: 128 to the block size, a power of two.
    pub inode_bytes: Option<u32>,
    /// `-i`.
    pub bytes_per_inode: Option<BytesPerInode>,
    /// `-N`: at least so many inodes; wins over `-i`.
    pub inodes: Option<u64>,
    /// `-j`: with a journal, whatever the type says.
    pub journal: bool,
    /// `-J`.
    pub journal_options: JournalOptions,
    /// `-L`: at most 16 bytes.
    pub label: Vec<u8>,
    /// `-M`: at most 63 bytes.
    pub last_mounted: Vec<u8>,
    /// `-m`.
    pub reserved_percent: Option<ReservedPercent>,
    /// `-e`.
    pub errors_behavior: Option<ErrorsBehavior>,
    /// `-o`.
    pub creator_os: CreatorOs,
    /// `-O`; several lists are joined with [`FeatureEdits::extend`].
    pub features: FeatureEdits,
    /// `-r`: 0 or 1.
    pub revision: Option<u32>,
    /// `-t`: ext2, ext3, ext4 or a type of the profile.
    pub fs_type: Option<String>,
    /// `-T`.
    pub usage_types: UsageTypes,
    /// `-U`.
    pub uuid: UuidChoice,
    /// `-E`; several lists are joined with [`Extended::and`].
    pub extended: Extended,
    /// `-l`.
    pub bad_blocks: BadBlocks,
    /// `--profile`: takes the place of the built-in one as a whole.
    pub profile: Option<Profile>,
    /// The time; the library does not ask a clock.
    pub now: Timestamp,
    /// SOURCE_DATE_EPOCH, which wins over `now`; the library does not read the
    /// environment.
    pub source_date_epoch: Option<Timestamp>,
    /// Threads that move content; 0 means 1.
    pub threads: usize,
}

/// What is known of the place the file system goes to. 0 where a number is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Target {
    /// Bytes for the file system: from the offset to the end of the device, or
    /// the size asked for.
    pub size_bytes: u64,
    /// The size was asked for; without, it is rounded down to whole pages.
    pub explicit_size: bool,
    /// The smallest unit the device writes.
    pub logical_sector_bytes: u32,
    /// The smallest unit the device writes without reading.
    pub physical_sector_bytes: u32,
    /// A block device, of which the next two are known.
    pub is_block_device: bool,
    /// Its minimum efficient transfer (a RAID chunk).
    pub minimum_io_bytes: u32,
    /// Its optimal transfer (a RAID stripe).
    pub optimal_io_bytes: u32,
    /// It reads as zeros where nothing has been written yet.
    pub known_zeroed: bool,
}

impl Options {
    /// Bytes of the unit in which a size without suffix counts: the block size
    /// asked for, or 1 KiB as in mke2fs.
    pub fn size_unit_bytes(&self) -> u32 {
        match self.block_size {
            Some(BlockSize::Exactly(bytes)) => bytes,
            _ => 1024,
        }
    }
}
