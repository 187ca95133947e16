//! From a request to its handler.

use rustix::io::Errno;

use crate::caller::Caller;
use crate::failure::Failure;
use crate::listing::{self, Detail};
use crate::replies::{Reply, Sent};
use crate::requests::{self, Forgotten, Message, Request};
use crate::scratch::Scratch;
use crate::server::{Server, number_of};
use crate::wire::{InHeader, opcode};
use crate::{attributes, changes, data, ioctls, iomap, namespace, xattrs};

/// Answers a request; the reply goes to `send`.
pub(crate) fn serve(
    server: &Server,
    message: &Message<'_>,
    scratch: &mut Scratch,
    send: impl FnOnce(Reply<'_>) -> Sent,
) -> Result<Sent, Failure> {
    let header = message.header;
    if !server.gate.admits(header) {
        return Err(Errno::ACCESS.into());
    }
    let node = header.nodeid;
    if server.volume.writer().is_none() {
        if requests::is_change(header.opcode) {
            return Err(Errno::ROFS.into());
        }
        if requests::is_sync(header.opcode) {
            return Err(Errno::NOSYS.into());
        }
    }
    let reply = match message.request(server.agreed)? {
        Request::Lookup { name } => namespace::lookup(server, node, name, &mut scratch.granted),
        Request::GetAttr => attributes::getattr(server, node),
        Request::Statx => attributes::statx(server, node),
        Request::Access { mask } => attributes::access(server, node, mask),
        Request::StatFs => Ok(attributes::statfs(server)),
        Request::ReadLink => namespace::readlink(server, node),
        Request::Open { flags } => namespace::open(server, node, flags, &mut scratch.opened),
        Request::OpenDir => namespace::opendir(server),
        Request::Release { handle } => {
            namespace::release(server, node, handle);
            Ok(Reply::Done)
        }
        Request::ReleaseDir => Ok(Reply::Done),
        // The last request of all. Where umount(2) waits for this answer the image is clean
        // when it returns.
        Request::Destroy => {
            server.counters.wait_for_others();
            settle_sizes(server, header);
            if let Some(volume) = server.volume.writer() {
                volume.finish()?;
            }
            Ok(Reply::Done)
        }
        Request::Read(arguments) => return data::read(server, node, arguments, scratch, send),
        Request::ReadDir(arguments) => {
            listing::read(server, node, arguments, Detail::Names, scratch)
        }
        Request::ReadDirPlus(arguments) => {
            listing::read(server, node, arguments, Detail::Attributes, scratch)
        }
        Request::Lseek(arguments) => data::lseek(server, node, arguments),
        Request::Bmap(arguments) => data::bmap(server, node, arguments),
        Request::GetXattr { size, name } => xattrs::get(server, node, size, name),
        Request::ListXattr { size } => {
            xattrs::list(server, node, Caller::of(header), size, &mut scratch.listing)
        }
        Request::Ioctl(arguments, data) => ioctls::ioctl(server, header, arguments, data),
        Request::Change(change) => changes::answer(server, message, &change, scratch),
        Request::Sync => {
            settle_sizes(server, header);
            server.writer()?.sync()?;
            Ok(Reply::Done)
        }
        Request::SyncContent => {
            let inode = number_of(header.nodeid)?;
            settle_sizes(server, header);
            server.writer()?.fdatasync(inode)?;
            Ok(Reply::Done)
        }
        Request::Forget(forgotten) => {
            forget(server, &forgotten);
            Ok(Reply::Silence)
        }
        Request::IomapBegin(ask) => iomap::begin(server, server.iomap()?, header, ask),
        Request::IomapEnd(ended) => iomap::end(server, server.iomap()?, header, ended),
        Request::IomapIoend(done) => iomap::ioend(server, server.iomap()?, header, done),
        Request::Freeze => server.iomap()?.freezer().freeze(server),
        Request::Unfreeze => {
            server.iomap()?.freezer().unfreeze(server);
            Ok(Reply::Done)
        }
        Request::Shutdown => {
            server.iomap()?;
            Ok(iomap::shut_down(server))
        }
        // Nothing here takes long enough to be worth interrupting (the kernel expects no
        // answer to that).
        Request::Interrupt => Ok(Reply::Silence),
        // The kernel does without, and does not ask again. At close(2) it has sent all that
        // it kept, and that suffices.
        Request::Flush | Request::Declined | Request::Unknown => Err(Errno::NOSYS.into()),
    };
    Ok(send(reply?))
}

/// The kernel has written back what it had of a file, or of all.
fn settle_sizes(server: &Server, header: &InHeader) {
    let Ok(iomap) = server.iomap() else {
        return;
    };
    match (header.opcode, number_of(header.nodeid)) {
        (opcode::FSYNC, Ok(file)) => iomap::settle_size(server, iomap, file),
        _ => iomap::settle_all_sizes(server, iomap),
    }
}

/// A number that no inode can have was never told to the kernel.
fn forget(server: &Server, forgotten: &Forgotten<'_>) {
    for one in forgotten.each() {
        if let Ok(inode) = number_of(one.nodeid) {
            server.forget_or_defer(inode, one.nlookup);
        }
    }
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "dispatch_write_tests.rs"]
mod write_tests;
