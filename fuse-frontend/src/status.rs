//! What a server says of itself, for `extmap status`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::iomap::{Iomap, IomapStatus};
use crate::server::Server;

/// See the module. Fields that a newer server has besides are ignored, those that an older one
/// does not have are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Status {
    /// The server's version.
    pub version: String,
    /// Its process id, in its own PID namespace.
    pub pid: u32,
    /// How long it has served, in seconds.
    pub uptime_seconds: u64,
    /// The mount's source: the image's path, unless `fsname=` gave it another.
    pub image: String,
    /// `fuseblk` (umount(2) waits for the server) or `fuse`.
    pub mount_type: String,
    /// The mount is for writing. It stays so when writing has stopped.
    pub is_writable: bool,
    /// Why it is not, if nobody asked for that; or why changes are refused by now.
    pub why_read_only: Option<String>,
    /// What is written goes to the server late (`writeback`), at once (`writethrough`), or to
    /// the device at once (`sync`); `none` on a mount for reading.
    pub write_cache: String,
    /// Threads that answer requests.
    pub threads: u64,
    /// Requests by the protocol's names.
    pub requests: BTreeMap<String, u64>,
    /// Requests answered with an error.
    pub errors: u64,
    /// Look-ups of metadata blocks in memory that found them.
    pub cache_found: u64,
    /// Look-ups that had to read.
    pub cache_read: u64,
    /// Inodes the kernel knows.
    pub known_inodes: u64,
    /// Transactions made durable.
    pub transactions: u64,
    /// `None` on a mount for reading, and without a journal.
    pub journal: Option<JournalStatus>,
    /// What was said to a kernel that moves the content of files; `None` if it does not.
    pub iomap: Option<IomapStatus>,
    /// Why it does not.
    pub why_no_iomap: Option<String>,
    /// What was found to be wrong with the image or its device last, oldest first.
    pub problems: Vec<String>,
}

/// The journal of a mount for writing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JournalStatus {
    /// Blocks of transactions it can hold.
    pub len_blocks: u64,
    /// Blocks of it that hold something.
    pub used_blocks: u64,
    /// Blocks written to it since the image was mounted.
    pub written_blocks: u64,
}

impl Status {
    /// As it is now.
    pub(crate) fn of(server: &Server) -> Self {
        let setting = &server.setting;
        let activity = server.volume.activity();
        let is_writable = server.volume.writer().is_some();
        let write_cache = match (is_writable, server.is_sync, server.agreed.writeback) {
            (false, ..) => "none",
            (true, true, _) => "sync",
            (true, false, true) => "writeback",
            (true, false, false) if server.kernel_moves_content() => "writeback",
            (true, false, false) => "writethrough",
        };
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: setting.started.elapsed().as_secs(),
            image: setting.image.clone(),
            mount_type: match setting.is_on_block_device {
                true => "fuseblk".to_owned(),
                false => "fuse".to_owned(),
            },
            is_writable,
            why_read_only: activity
                .why_read_only
                .or_else(|| setting.why_read_only.clone()),
            write_cache: write_cache.to_owned(),
            threads: server.counters.thread_count() as u64,
            requests: server.counters.requests(),
            errors: server.counters.errors(),
            cache_found: activity.cache.found,
            cache_read: activity.cache.read,
            known_inodes: activity.held_inodes,
            transactions: activity.transactions_committed,
            journal: activity.journal.map(|journal| JournalStatus {
                len_blocks: journal.len_blocks,
                used_blocks: journal.used_blocks,
                written_blocks: journal.written_blocks,
            }),
            iomap: server.iomap().ok().map(Iomap::status),
            why_no_iomap: setting.why_no_iomap.clone(),
            problems: server.complaints.newest(),
        }
    }
}
