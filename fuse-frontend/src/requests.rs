//! Requests: bytes from the kernel, checked once, as borrowed typed values.
//!
//! Every length is checked here, and every name is known to be non-empty, to
//! end inside its message and to contain neither `/` nor NUL. What comes out
//! needs no further distrust except for the numbers' meaning.

use zerocopy::FromBytes;

pub(crate) use crate::body::BadBody;
use crate::body::Body;
use crate::change_requests::Change;
use crate::extensions::Extensions;
use crate::negotiate::Agreed;
use crate::wire::{
    AccessIn, BatchForgetIn, BeginIn, BmapIn, EndIn, FlushIn, ForgetIn, ForgetOne, FreezeIn,
    FsyncIn, GetattrIn, GetxattrIn, InHeader, InterruptIn, IoctlIn, IoendIn, LseekIn, OpenIn,
    ReadIn, ReleaseIn, ShutdownIn, StatxIn, SyncfsIn, fsync_flag, opcode,
};

/// A request's header and what it asks for.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// Number, node and caller.
    pub(crate) header: &'a InHeader,
    body: &'a [u8],
    extensions: &'a [u8],
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    Lookup {
        name: &'a [u8],
    },
    /// FORGET and BATCH_FORGET: nodes, and how often each is forgotten.
    Forget(Forgotten<'a>),
    GetAttr,
    Statx,
    ReadLink,
    Open {
        /// Of open(2).
        flags: u32,
    },
    OpenDir,
    Read(&'a ReadIn),
    ReadDir(&'a ReadIn),
    ReadDirPlus(&'a ReadIn),
    Release {
        /// Of the handle, as OPEN gave it.
        handle: u64,
    },
    ReleaseDir,
    StatFs,
    GetXattr {
        size: u32,
        name: &'a [u8],
    },
    ListXattr {
        size: u32,
    },
    Access {
        mask: u32,
    },
    Lseek(&'a LseekIn),
    Bmap(&'a BmapIn),
    /// The arguments, and what the caller hands over.
    Ioctl(&'a IoctlIn, &'a [u8]),
    Interrupt,
    Destroy,
    /// An operation that would write.
    Change(Change<'a>),
    /// At close(2).
    Flush,
    /// FSYNC, FSYNCDIR and SYNCFS: all there is becomes durable.
    Sync,
    /// FSYNC for fdatasync(2).
    SyncContent,
    /// Where is content to be read or written?
    IomapBegin(&'a BeginIn),
    IomapEnd(&'a EndIn),
    /// Content has been written.
    IomapIoend(&'a IoendIn),
    Freeze,
    Unfreeze,
    Shutdown,
    /// An operation the kernel does without us: locks, poll.
    Declined,
    /// An operation this server has never heard of.
    Unknown,
}

/// Which nodes are forgotten, and how often.
#[derive(Debug)]
pub(crate) enum Forgotten<'a> {
    One(ForgetOne),
    Many(&'a [ForgetOne]),
}

impl Forgotten<'_> {
    pub(crate) fn each(&self) -> &[ForgetOne] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// A message that is not what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// Not even a whole header: there is nothing to answer to.
    Header,
    /// The request with this number has a wrong length.
    Length {
        /// `fuse_in_header.unique`.
        unique: u64,
        /// `fuse_in_header.opcode`.
        opcode: u32,
    },
}

impl<'a> Message<'a> {
    /// Splits what one read(2) returned into header and body.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, rest) = InHeader::ref_from_prefix(bytes).map_err(|_| Malformed::Header)?;
        let length = Malformed::Length {
            unique: header.unique,
            opcode: header.opcode,
        };
        if usize::try_from(header.len) != Ok(bytes.len()) {
            return Err(length);
        }
        let extensions = usize::from(header.total_extlen) * 8;
        let body_len = rest.len().checked_sub(extensions).ok_or(length)?;
        let (body, extensions) = rest.split_at_checked(body_len).ok_or(length)?;
        Ok(Self {
            header,
            body,
            extensions,
        })
    }

    /// What follows the header, without extensions.
    pub(crate) fn body(&self) -> &'a [u8] {
        self.body
    }

    /// What stands behind the body.
    pub(crate) fn extensions(&self) -> Result<Extensions<'a>, BadBody> {
        Extensions::parse(self.extensions)
    }

    /// The typed request.
    pub(crate) fn request(&self, agreed: Agreed) -> Result<Request<'a>, BadBody> {
        let body = Body(self.body);
        if is_change(self.header.opcode) {
            return Change::parse(self.header.opcode, body, agreed).map(Request::Change);
        }
        let request = match self.header.opcode {
            opcode::LOOKUP => Request::Lookup { name: body.name()? },
            opcode::FORGET => Request::Forget(Forgotten::One(ForgetOne {
                nodeid: self.header.nodeid,
                nlookup: body.only::<ForgetIn>()?.nlookup,
            })),
            opcode::BATCH_FORGET => Request::Forget(forgets(body)?),
            opcode::GETATTR => body.only::<GetattrIn>().map(|_| Request::GetAttr)?,
            opcode::STATX => body.only::<StatxIn>().map(|_| Request::Statx)?,
            opcode::READLINK => Request::ReadLink,
            opcode::OPEN => Request::Open {
                flags: body.only::<OpenIn>()?.flags,
            },
            opcode::OPENDIR => body.only::<OpenIn>().map(|_| Request::OpenDir)?,
            opcode::READ => Request::Read(body.only()?),
            opcode::READDIR => Request::ReadDir(body.only()?),
            opcode::READDIRPLUS => Request::ReadDirPlus(body.only()?),
            opcode::RELEASE => Request::Release {
                handle: body.only::<ReleaseIn>()?.fh,
            },
            opcode::RELEASEDIR => Request::ReleaseDir,
            opcode::STATFS => Request::StatFs,
            opcode::GETXATTR => xattr(body)?,
            opcode::LISTXATTR => Request::ListXattr {
                size: body.only::<GetxattrIn>()?.size,
            },
            opcode::ACCESS => Request::Access {
                mask: body.only::<AccessIn>()?.mask,
            },
            opcode::LSEEK => Request::Lseek(body.only()?),
            opcode::BMAP => Request::Bmap(body.only()?),
            opcode::IOCTL => ioctl(body)?,
            opcode::INTERRUPT => body.only::<InterruptIn>().map(|_| Request::Interrupt)?,
            opcode::DESTROY => Request::Destroy,
            opcode::FLUSH => body.only::<FlushIn>().map(|_| Request::Flush)?,
            opcode::FSYNC => match body.only::<FsyncIn>()?.fsync_flags & fsync_flag::DATA_ONLY {
                0 => Request::Sync,
                _ => Request::SyncContent,
            },
            opcode::FSYNCDIR => body.only::<FsyncIn>().map(|_| Request::Sync)?,
            opcode::SYNCFS => body.only::<SyncfsIn>().map(|_| Request::Sync)?,
            opcode::IOMAP_BEGIN => Request::IomapBegin(body.only()?),
            opcode::IOMAP_END => Request::IomapEnd(body.only()?),
            opcode::IOMAP_IOEND => Request::IomapIoend(body.only()?),
            opcode::FREEZE_FS => body.only::<FreezeIn>().map(|_| Request::Freeze)?,
            opcode::UNFREEZE_FS => Request::Unfreeze,
            opcode::SHUTDOWN_FS => body.only::<ShutdownIn>().map(|_| Request::Shutdown)?,
            opcode if is_declined(opcode) => Request::Declined,
            _ => Request::Unknown,
        };
        Ok(request)
    }
}

/// Operations a read-only volume refuses whatever they carry.
pub(crate) fn is_change(opcode: u32) -> bool {
    matches!(
        opcode,
        opcode::SETATTR
            | opcode::SYMLINK
            | opcode::MKNOD
            | opcode::MKDIR
            | opcode::UNLINK
            | opcode::RMDIR
            | opcode::RENAME
            | opcode::RENAME2
            | opcode::LINK
            | opcode::WRITE
            | opcode::SETXATTR
            | opcode::REMOVEXATTR
            | opcode::CREATE
            | opcode::TMPFILE
            | opcode::FALLOCATE
            | opcode::COPY_FILE_RANGE
            | opcode::COPY_FILE_RANGE_64
    )
}

/// Operations a read-only volume has no use for, whatever they carry.
pub(crate) fn is_sync(opcode: u32) -> bool {
    matches!(
        opcode,
        opcode::FLUSH | opcode::FSYNC | opcode::FSYNCDIR | opcode::SYNCFS
    )
}

/// Operations that mean nothing to this server.
fn is_declined(opcode: u32) -> bool {
    matches!(
        opcode,
        opcode::GETLK | opcode::SETLK | opcode::SETLKW | opcode::POLL
    )
}

/// Whether the kernel waits for an answer to this operation at all.
pub(crate) fn expects_reply(opcode: u32) -> bool {
    !matches!(
        opcode,
        opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT | opcode::NOTIFY_REPLY
    )
}

fn xattr(body: Body<'_>) -> Result<Request<'_>, BadBody> {
    let (arguments, rest) = body.first::<GetxattrIn>()?;
    Ok(Request::GetXattr {
        size: arguments.size,
        name: rest.xattr_name()?,
    })
}

fn ioctl(body: Body<'_>) -> Result<Request<'_>, BadBody> {
    let (arguments, rest) = body.first::<IoctlIn>()?;
    let data = rest.exactly(arguments.in_size)?;
    Ok(Request::Ioctl(arguments, data))
}

fn forgets(body: Body<'_>) -> Result<Forgotten<'_>, BadBody> {
    let (arguments, rest) = body.first::<BatchForgetIn>()?;
    let many = <[ForgetOne]>::ref_from_bytes(rest.0).map_err(|_| BadBody)?;
    if usize::try_from(arguments.count) != Ok(many.len()) {
        return Err(BadBody);
    }
    Ok(Forgotten::Many(many))
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
