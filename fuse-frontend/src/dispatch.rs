//! From a request to its handler.

use rustix::io::Errno;

use crate::failure::Failure;
use crate::listing::{self, Detail};
use crate::replies::Reply;
use crate::requests::{Message, Request};
use crate::scratch::Scratch;
use crate::server::Server;
use crate::{attributes, data, ioctls, namespace, xattrs};

/// The answer to a request.
pub(crate) fn answer<'w>(
    server: &'w Server,
    message: &Message<'_>,
    scratch: &'w mut Scratch,
) -> Result<Reply<'w>, Failure> {
    let header = message.header;
    if !server.gate.admits(header) {
        return Err(Errno::ACCESS.into());
    }
    let node = header.nodeid;
    match message.request()? {
        Request::Lookup { name } => namespace::lookup(server, node, name),
        Request::GetAttr => attributes::getattr(server, node),
        Request::Statx => attributes::statx(server, node),
        Request::Access { mask } => attributes::access(server, node, mask),
        Request::StatFs => Ok(attributes::statfs(server)),
        Request::ReadLink => namespace::readlink(server, node),
        Request::Open => namespace::open(server),
        Request::OpenDir => namespace::opendir(server),
        Request::Release | Request::Destroy => Ok(Reply::Done),
        Request::Read(arguments) => data::read(server, node, arguments, scratch),
        Request::ReadDir(arguments) => {
            listing::read(server, node, arguments, Detail::Names, &mut scratch.listing)
        }
        Request::ReadDirPlus(arguments) => {
            let buffer = &mut scratch.listing;
            listing::read(server, node, arguments, Detail::Attributes, buffer)
        }
        Request::Lseek(arguments) => data::lseek(server, node, arguments),
        Request::Bmap(arguments) => data::bmap(server, node, arguments),
        Request::GetXattr { size, name } => xattrs::get(server, node, size, name),
        Request::ListXattr { size } => {
            xattrs::list(server, node, header.uid, size, &mut scratch.listing)
        }
        Request::Ioctl(arguments) => ioctls::ioctl(server, node, arguments),
        // Nodes are not counted; and nothing here takes long enough to be
        // worth interrupting (the kernel expects no answer to that).
        Request::Forget | Request::Interrupt => Ok(Reply::Silence),
        Request::Change => Err(Errno::ROFS.into()),
        // The kernel does without, and does not ask again.
        Request::Declined | Request::Unknown => Err(Errno::NOSYS.into()),
    }
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
