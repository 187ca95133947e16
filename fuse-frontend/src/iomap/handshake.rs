//! INIT and CONFIG with a kernel that has iomap.
//!
//! ```text
//! INIT         minor 99 and bit 43, on both sides
//! CONFIG       devices are registered while it waits, then the geometry is answered
//! anything     comes when that has been taken
//! ```
//!
//! Bit 43 alone says nothing: in Linux 7.3 it means something else. It counts only if the
//! kernel's minor version is 99, and only who has asked for support gets here.

use std::os::fd::AsFd;
use std::sync::Arc;

use fs_core::WritableVolume;
use rustix::io::Errno;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::config;
use super::connection::ConnectionCalls;
use super::devices::Devices;
use super::{Geometry, Iomap};
use crate::channel::{Channel, MESSAGE_BYTES_MAX};
use crate::negotiate::{Agreed, WritingTerms};
use crate::options::{Access, MountOptions};
use crate::replies::{self, Reply};
use crate::requests::Message;
use crate::scratch::PageBuffer;
use crate::served::Served;
use crate::wire::{ConfigIn, INIT_IOMAP, IOMAP_MINOR, InitIn, InitOut, init_flag, opcode};

const MAJOR: u32 = 7;
/// Longest WRITE in bytes: they carry what lies in inodes, and nothing else.
const WRITE_BYTES_MAX: u32 = 128 << 10;
/// The same in pages of 4 KiB.
const PAGES_MAX: u16 = 32;
const READ_AHEAD_BYTES_MAX: u32 = 1 << 20;
/// Requests of the background kind the kernel keeps under way at most.
const BACKGROUND_MAX: u16 = 128;

/// What is wanted of the kernel.
pub(crate) struct Wish<'a> {
    pub(crate) options: &'a MountOptions,
    /// The kernel checks permissions, of everybody's accesses.
    pub(crate) checks_permissions: bool,
    /// `None` for a mount for reading.
    pub(crate) writing: Option<WritingTerms>,
    pub(crate) volume: &'a Served,
}

/// Reads and answers both requests. An error is half a sentence; the connection is of no use
/// then.
pub(crate) fn shake_hands(
    channel: &Channel,
    calls: &Arc<dyn ConnectionCalls>,
    wish: &Wish<'_>,
) -> Result<(Agreed, Arc<Iomap>), String> {
    let mut buffer = PageBuffer::new(MESSAGE_BYTES_MAX).ok_or("out of memory")?;
    let agreed = init(channel, &mut buffer, wish)?;
    let iomap = configure(channel, &mut buffer, calls, wish)?;
    Ok((agreed, iomap))
}

fn init(channel: &Channel, buffer: &mut PageBuffer, wish: &Wish<'_>) -> Result<Agreed, String> {
    let (unique, body) = receive(channel, buffer, opcode::INIT)?;
    let (offer, _) = InitIn::read_from_prefix(body).map_err(|_| "INIT is too short")?;
    let mut offered = u64::from(offer.flags);
    if offered & init_flag::INIT_EXT != 0 {
        offered |= u64::from(offer.flags2) << 32;
    }
    if offer.major != MAJOR || offer.minor != IOMAP_MINOR || offered & INIT_IOMAP == 0 {
        return Err(format!(
            "the kernel speaks FUSE {}.{} and offers no iomap",
            offer.major, offer.minor
        ));
    }
    let taken = offered & wished(wish);
    let (lower, upper) = (taken & u64::from(u32::MAX), taken >> 32);
    let answer = InitOut {
        major: MAJOR,
        minor: IOMAP_MINOR,
        max_readahead: offer.max_readahead.min(READ_AHEAD_BYTES_MAX),
        flags: u32::try_from(lower).unwrap_or_default(),
        flags2: u32::try_from(upper).unwrap_or_default(),
        max_background: BACKGROUND_MAX,
        congestion_threshold: BACKGROUND_MAX / 4 * 3,
        max_write: WRITE_BYTES_MAX,
        max_pages: PAGES_MAX,
        time_gran: wish.writing.map_or(1, |terms| {
            u32::try_from(terms.time_granularity.as_nanos()).unwrap_or(1)
        }),
        ..InitOut::default()
    };
    send(channel, unique, answer.as_bytes())?;
    let took = |flag| taken & flag != 0;
    Ok(Agreed {
        // OPEN is when mappings are pushed, and how writers are known.
        no_open: false,
        no_opendir: took(init_flag::NO_OPENDIR_SUPPORT),
        // Files are written back whether that is agreed on or not, and not through us.
        writeback: false,
        has_umask: took(init_flag::DONT_MASK),
        setxattr_ext: took(init_flag::SETXATTR_EXT),
    })
}

fn wished(wish: &Wish<'_>) -> u64 {
    let mut flags = INIT_IOMAP
        | init_flag::INIT_EXT
        | init_flag::ASYNC_READ
        | init_flag::ASYNC_DIO
        | init_flag::PARALLEL_DIROPS
        | init_flag::DO_READDIRPLUS
        | init_flag::CACHE_SYMLINKS
        | init_flag::EXPORT_SUPPORT
        | init_flag::MAX_PAGES
        | init_flag::HAS_IOCTL_DIR
        | init_flag::NO_OPENDIR_SUPPORT
        | init_flag::EXPLICIT_INVAL_DATA;
    if wish.options.wants_acls() {
        flags |= init_flag::POSIX_ACL;
    }
    if wish.writing.is_some() {
        // Not HANDLE_KILLPRIV_V2: set-id bits of such files are the kernel's business.
        flags |= init_flag::BIG_WRITES
            | init_flag::DONT_MASK
            | init_flag::SETXATTR_EXT
            | init_flag::CREATE_SUPP_GROUP
            | init_flag::SECURITY_CTX;
    }
    if wish.checks_permissions && wish.options.access == Access::Other {
        flags |= init_flag::ALLOW_IDMAP;
    }
    flags
}

fn configure(
    channel: &Channel,
    buffer: &mut PageBuffer,
    calls: &Arc<dyn ConnectionCalls>,
    wish: &Wish<'_>,
) -> Result<Arc<Iomap>, String> {
    let (unique, body) = receive(channel, buffer, opcode::IOMAP_CONFIG)?;
    let offer = lenient(body);
    let geometry = Geometry::of(wish.volume.superblock(), offer.maxbytes);
    let devices = Devices::register(calls.as_ref(), wish.volume.device().as_ref(), &geometry);
    let devices = devices.inspect_err(|_| {
        // The mount fails; that the answer cannot be sent changes nothing.
        let _ = replies::send_error(channel.as_fd(), unique, Errno::NODEV);
    })?;
    let (answer, tree_bytes) = config::answer(&offer, &geometry, wish.volume.superblock());
    send(channel, unique, answer.as_bytes())?;
    let ahead = wish.volume.writer().map(WritableVolume::blocks_ahead);
    Ok(Arc::new(Iomap::new(
        Arc::clone(calls),
        devices,
        geometry,
        tree_bytes,
        ahead.unwrap_or_default(),
    )))
}

/// Fields that did not come are zero.
fn lenient(body: &[u8]) -> ConfigIn {
    let mut offer = ConfigIn::new_zeroed();
    let len = body.len().min(size_of::<ConfigIn>());
    if let (Some(to), Some(from)) = (offer.as_mut_bytes().get_mut(..len), body.get(..len)) {
        to.copy_from_slice(from);
    }
    offer
}

/// Waits for a request of this kind; its number and its body.
fn receive<'b>(
    channel: &Channel,
    buffer: &'b mut PageBuffer,
    opcode: u32,
) -> Result<(u64, &'b [u8]), String> {
    let bytes = match channel.receive(buffer.bytes_mut()) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err("the kernel ended the connection".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let message = Message::parse(bytes).map_err(|_| "the kernel's request is malformed")?;
    if message.header.opcode != opcode {
        return Err(format!(
            "the kernel sent {} before {}",
            opcode::name(message.header.opcode),
            opcode::name(opcode)
        ));
    }
    Ok((message.header.unique, message.body()))
}

fn send(channel: &Channel, unique: u64, body: &[u8]) -> Result<(), String> {
    let sent = replies::send(channel.as_fd(), unique, Reply::Bytes(body.into()));
    sent.outcome
        .map_err(|error| format!("the kernel refused our answer: {error}"))
}
