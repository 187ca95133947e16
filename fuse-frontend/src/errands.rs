//! Requests to be answered only when the kernel has told what it keeps of a file.
//!
//! The kernel asks where data lies without having told us of what it keeps in its cache; and
//! makes files immutable or append-only, after which what was written before could no longer
//! be. So the file's pages are called in first: INVAL_INODE has the kernel write what is changed
//! (and read again what it wants). It does that while our write(2) of the notice lasts, by
//! WRITE requests to us. A thread of its own waits for that, so that the others can serve
//! them; it ends with the last worker.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use fs_core::FileType;
use rustix::io::Errno;
use zerocopy::IntoBytes;

use crate::channel::Channel;
use crate::requests::{Message, Request};
use crate::server::Server;
use crate::sys::{self, Piece};
use crate::wire::{
    InHeader, InvalInodeOut, IoctlIn, LseekIn, NOTIFY_INVAL_INODE, OutHeader, opcode,
};
use crate::{changes, data, ioctls, replies};

/// A request to be answered after its file's pages have been called in.
#[derive(Debug)]
pub(crate) struct Errand {
    channel: Arc<Channel>,
    header: InHeader,
    task: Task,
}

#[derive(Debug)]
enum Task {
    Lseek(LseekIn),
    /// With what the caller hands over.
    Ioctl(IoctlIn, Vec<u8>),
}

/// The queue's ends. As many errands can wait as callers wait for an answer.
pub(crate) fn queue() -> (Sender<Errand>, Receiver<Errand>) {
    channel()
}

/// A request as an errand, if it has to be one.
pub(crate) fn errand(
    server: &Server,
    message: &Message<'_>,
    channel: &Arc<Channel>,
) -> Option<Errand> {
    let header = message.header;
    let is_possible = matches!(header.opcode, opcode::LSEEK | opcode::IOCTL);
    if !is_possible || !server.agreed.writeback || !server.gate.admits(header) {
        return None;
    }
    let task = match message.request(server.agreed).ok()? {
        Request::Lseek(arguments) => Task::Lseek(*arguments),
        Request::Ioctl(arguments, data) if changes::sets_flags(arguments.cmd) => {
            Task::Ioctl(*arguments, data.to_vec())
        }
        _ => return None,
    };
    let file = server.inode(header.nodeid).ok()?;
    (file.file_type() == FileType::Regular).then(|| Errand {
        channel: Arc::clone(channel),
        header: *header,
        task,
    })
}

/// Does errands until nobody is left to send any.
pub(crate) fn run(server: &Server, errands: &Receiver<Errand>) {
    for errand in errands {
        if let Err(error) = call_in(&errand) {
            tracing::debug!("pages cannot be called in: {error}");
        }
        let header = &errand.header;
        let answer = match &errand.task {
            Task::Lseek(arguments) => data::lseek(server, header.nodeid, arguments),
            Task::Ioctl(arguments, data) => ioctls::ioctl(server, header, arguments, data),
        };
        let fd = errand.channel.as_fd();
        let outcome = match answer {
            Ok(reply) => replies::send(fd, header.unique, reply).outcome,
            Err(failure) => replies::send_error(fd, header.unique, failure.errno()),
        };
        if let Err(error) = outcome {
            tracing::debug!("reply not taken: {error}");
        }
    }
}

/// Has the kernel send what it keeps of a file's changed content.
fn call_in(errand: &Errand) -> std::io::Result<()> {
    let notice = InvalInodeOut {
        ino: errand.header.nodeid,
        off: 0,
        // To the end.
        len: 0,
    };
    let len = size_of::<OutHeader>() + size_of::<InvalInodeOut>();
    let header = OutHeader {
        len: u32::try_from(len).map_err(|_| Errno::INVAL)?,
        error: NOTIFY_INVAL_INODE,
        unique: 0,
    };
    let pieces = [header.as_bytes(), notice.as_bytes()].map(Piece::of_slice);
    sys::writev(errand.channel.as_fd(), &pieces).map(drop)
}
