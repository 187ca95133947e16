//! Requests that change the volume.
//!
//! Handlers are thin: they say on whose behalf something happens, translate the kernel's
//! words, and leave the rest to the volume, which does each operation whole or not at all.
//! Node numbers the kernel may keep are held until it forgets them.

mod attributes;
mod content;
mod copy;
mod ioctls;
mod making;
mod names;
mod xattrs;

use fs_core::{Inode, InodeNumber, WritableVolume};
use rustix::io::Errno;

use crate::caller::Caller;
use crate::change_requests::Change;
use crate::failure::Failure;
use crate::iomap;
use crate::replies::Reply;
use crate::requests::Message;
use crate::scratch::Scratch;
use crate::server::{self, Server};
use crate::wire::{CopyOut, WriteOut, fattr};

pub(crate) use self::ioctls::{ioctl, sets_flags};

/// Where a change happens.
#[derive(Clone, Copy)]
struct Place<'s> {
    server: &'s Server,
    volume: &'s WritableVolume,
    /// The inode the request is about.
    inode: InodeNumber,
    caller: Caller,
}

impl Place<'_> {
    /// Whether the blocks kept for the superuser may be used for a file. Where it is not known
    /// who asks, its owner stands for them.
    fn may_use_reserve(&self, file: &Inode) -> bool {
        self.is_in_reserve(self.caller.uid.unwrap_or(file.uid()), self.caller.gid)
    }

    fn is_in_reserve(&self, uid: u32, gid: Option<u32>) -> bool {
        self.server.is_in_reserve(uid, gid)
    }
}

impl Place<'_> {
    /// The blocks of a swap file stay where they are: the kernel pages to them by itself.
    fn check_layout(&self, change: &Change<'_>) -> Result<(), Failure> {
        let moves_blocks = match change {
            Change::SetAttr(arguments) => arguments.valid & fattr::SIZE != 0,
            Change::Fallocate(_) | Change::Write { .. } => true,
            _ => false,
        };
        match self.server.iomap() {
            Ok(iomap) if moves_blocks && iomap.is_swap_file(self.inode) => {
                Err(Errno::TXTBSY.into())
            }
            _ => Ok(()),
        }
    }
}

impl Place<'_> {
    /// Before these the kernel has written back what it had: the size is to be what it was then.
    fn settle_size(&self, change: &Change<'_>) {
        if let (Change::SetAttr(_) | Change::Fallocate(_), Ok(iomap)) =
            (change, self.server.iomap())
        {
            iomap::settle_size(self.server, iomap, self.inode);
        }
    }
}

/// The answer to a request that changes the volume.
pub(crate) fn answer(
    server: &Server,
    message: &Message<'_>,
    change: &Change<'_>,
    scratch: &mut Scratch,
) -> Result<Reply<'static>, Failure> {
    let header = message.header;
    let volume = server.writer()?;
    let place = Place {
        server,
        volume,
        inode: server::number_of(header.nodeid)?,
        caller: Caller::of(header),
    };
    place.check_layout(change)?;
    place.settle_size(change);
    let reply = dispatch(place, message, change, scratch)?;
    if server.is_sync {
        volume.sync()?;
    }
    Ok(reply)
}

fn dispatch(
    place: Place<'_>,
    message: &Message<'_>,
    change: &Change<'_>,
    scratch: &mut Scratch,
) -> Result<Reply<'static>, Failure> {
    let granted = &mut scratch.granted;
    match change {
        Change::SetAttr(arguments) => attributes::set(place, arguments),
        Change::Unlink { name } => names::unlink(place, name),
        Change::Rmdir { name } => names::rmdir(place, name),
        Change::Rename(rename) => names::rename(place, rename),
        Change::Link { node, name } => names::link(place, *node, name, granted),
        Change::Mknod { .. }
        | Change::Mkdir { .. }
        | Change::Symlink { .. }
        | Change::Create { .. }
        | Change::TmpFile(_) => {
            let extensions = message.extensions()?;
            making::make(place, change, &extensions, granted)
        }
        Change::Write { arguments, data } => {
            let size = content::write(place, arguments, data)?;
            Ok(Reply::Written(WriteOut { size, padding: 0 }))
        }
        Change::Fallocate(arguments) => content::fallocate(place, arguments),
        Change::Copy32(arguments) => {
            let size = copy::copy(place, arguments, scratch.data.bytes_mut())?;
            Ok(Reply::Written(WriteOut { size, padding: 0 }))
        }
        Change::Copy64(arguments) => {
            let size = copy::copy(place, arguments, scratch.data.bytes_mut())?;
            Ok(Reply::Copied(CopyOut {
                bytes_copied: u64::from(size),
            }))
        }
        Change::SetXattr(set) => xattrs::set(place, set),
        Change::RemoveXattr { name } => xattrs::remove(place, name),
    }
}
