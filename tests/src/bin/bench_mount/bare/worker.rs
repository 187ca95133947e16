//! One thread: read a request, answer it, again.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use anyhow::{Context, Result};
use rustix::io::{Errno, read, writev};
use zerocopy::{FromBytes, IntoBytes};

use super::requests::{self, Answer, Request};
use super::wire::{InHeader, OutHeader};
use super::{REQUEST_BYTES_MAX, Server};

/// The largest write and the structures before it.
const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX + 4096;

/// What replies are made in.
pub(super) struct Scratch {
    /// Structures and directory records.
    pub(super) reply: Vec<u8>,
    /// A file's content.
    pub(super) data: Vec<u8>,
}

/// Serves until the file system is unmounted.
pub(super) fn run(server: &Server, channel: BorrowedFd<'_>) -> Result<()> {
    let mut message = vec![0; MESSAGE_BYTES_MAX];
    let mut scratch = Scratch {
        reply: Vec::new(),
        data: vec![0; REQUEST_BYTES_MAX],
    };
    loop {
        let len = match read(channel, message.as_mut_slice()) {
            Ok(len) => len,
            Err(Errno::INTR | Errno::AGAIN | Errno::NOENT) => continue,
            Err(Errno::NODEV | Errno::CONNABORTED) => return Ok(()),
            Err(errno) => return Err(errno).context("/dev/fuse"),
        };
        let bytes = message.get(..len).unwrap_or_default();
        let Ok((header, body)) = InHeader::read_from_prefix(bytes) else {
            continue;
        };
        let extensions = usize::from(header.total_extlen) * 8;
        let body = body.get(..body.len().saturating_sub(extensions));
        let body = body.unwrap_or_default();
        let request = Request { header, body };
        let (error, data) = match requests::answer(server, &request, &mut scratch) {
            Ok(Answer::Silence) => continue,
            Ok(Answer::Done) => (0, &[][..]),
            Ok(Answer::Reply) => (0, scratch.reply.as_slice()),
            Ok(Answer::Data(len)) => (0, scratch.data.get(..len).unwrap_or_default()),
            Err(errno) => (-errno.raw_os_error(), &[][..]),
        };
        send(channel, header.unique, error, data)?;
    }
}

fn send(channel: BorrowedFd<'_>, unique: u64, error: i32, data: &[u8]) -> Result<()> {
    let header = OutHeader {
        len: u32::try_from(size_of::<OutHeader>() + data.len())?,
        error,
        unique,
    };
    let pieces = [IoSlice::new(header.as_bytes()), IoSlice::new(data)];
    match writev(channel, &pieces) {
        // Interrupted or unmounted meanwhile: nobody waits any more.
        Ok(_) | Err(Errno::NOENT | Errno::NODEV) => Ok(()),
        Err(errno) => Err(errno).context("the kernel refused a reply"),
    }
}
