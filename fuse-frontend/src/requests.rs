//! Requests: bytes from the kernel, checked once, as borrowed typed values.
//!
//! Every length is checked here, and every name is known to be non-empty, to
//! end inside its message and to contain neither `/` nor NUL. What comes out
//! needs no further distrust except for the numbers' meaning.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::wire::{
    AccessIn, BatchForgetIn, BmapIn, ForgetIn, ForgetOne, GetattrIn, GetxattrIn, InHeader,
    InterruptIn, IoctlIn, LseekIn, OpenIn, ReadIn, StatxIn, opcode,
};

/// A request's header and what it asks for.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// Number, node and caller.
    pub(crate) header: &'a InHeader,
    body: &'a [u8],
}

/// What a request asks for. Operations that would change the volume are told
/// apart by nothing but that: they all get the same answer.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    Lookup {
        name: &'a [u8],
    },
    /// FORGET and BATCH_FORGET.
    Forget,
    GetAttr,
    Statx,
    ReadLink,
    Open,
    OpenDir,
    Read(&'a ReadIn),
    ReadDir(&'a ReadIn),
    ReadDirPlus(&'a ReadIn),
    /// RELEASE and RELEASEDIR.
    Release,
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
    Ioctl(&'a IoctlIn),
    Interrupt,
    Destroy,
    /// An operation that would write.
    Change,
    /// An operation the kernel does without us: flushing, syncing, locks, poll.
    Declined,
    /// An operation this server has never heard of.
    Unknown,
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
    },
}

/// A body that does not fit its opcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadBody;

impl<'a> Message<'a> {
    /// Splits what one read(2) returned into header and body.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, rest) = InHeader::ref_from_prefix(bytes).map_err(|_| Malformed::Header)?;
        let length = Malformed::Length {
            unique: header.unique,
        };
        if usize::try_from(header.len) != Ok(bytes.len()) {
            return Err(length);
        }
        let extensions = usize::from(header.total_extlen) * 8;
        let body_len = rest.len().checked_sub(extensions).ok_or(length)?;
        let body = rest.get(..body_len).ok_or(length)?;
        Ok(Self { header, body })
    }

    /// The typed request.
    pub(crate) fn request(&self) -> Result<Request<'a>, BadBody> {
        if is_change(self.header.opcode) {
            return Ok(Request::Change);
        }
        let body = Body(self.body);
        let request = match self.header.opcode {
            opcode::LOOKUP => Request::Lookup { name: body.name()? },
            opcode::FORGET => body.only::<ForgetIn>().map(|_| Request::Forget)?,
            opcode::BATCH_FORGET => body.forgets().map(|()| Request::Forget)?,
            opcode::GETATTR => body.only::<GetattrIn>().map(|_| Request::GetAttr)?,
            opcode::STATX => body.only::<StatxIn>().map(|_| Request::Statx)?,
            opcode::READLINK => Request::ReadLink,
            opcode::OPEN => body.only::<OpenIn>().map(|_| Request::Open)?,
            opcode::OPENDIR => body.only::<OpenIn>().map(|_| Request::OpenDir)?,
            opcode::READ => Request::Read(body.only()?),
            opcode::READDIR => Request::ReadDir(body.only()?),
            opcode::READDIRPLUS => Request::ReadDirPlus(body.only()?),
            opcode::RELEASE | opcode::RELEASEDIR => Request::Release,
            opcode::STATFS => Request::StatFs,
            opcode::GETXATTR => body.xattr()?,
            opcode::LISTXATTR => Request::ListXattr {
                size: body.only::<GetxattrIn>()?.size,
            },
            opcode::ACCESS => Request::Access {
                mask: body.only::<AccessIn>()?.mask,
            },
            opcode::LSEEK => Request::Lseek(body.only()?),
            opcode::BMAP => Request::Bmap(body.only()?),
            opcode::IOCTL => body.ioctl()?,
            opcode::INTERRUPT => body.only::<InterruptIn>().map(|_| Request::Interrupt)?,
            opcode::DESTROY => Request::Destroy,
            opcode if is_declined(opcode) => Request::Declined,
            _ => Request::Unknown,
        };
        Ok(request)
    }
}

/// Operations a read-only volume refuses whatever they carry.
fn is_change(opcode: u32) -> bool {
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

/// Operations that mean nothing to a read-only server.
fn is_declined(opcode: u32) -> bool {
    matches!(
        opcode,
        opcode::FLUSH
            | opcode::FSYNC
            | opcode::FSYNCDIR
            | opcode::SYNCFS
            | opcode::GETLK
            | opcode::SETLK
            | opcode::SETLKW
            | opcode::POLL
    )
}

/// Whether the kernel waits for an answer to this operation at all.
pub(crate) fn expects_reply(opcode: u32) -> bool {
    !matches!(
        opcode,
        opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT | opcode::NOTIFY_REPLY
    )
}

/// What follows the header.
#[derive(Clone, Copy)]
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    /// One structure and nothing else.
    fn only<T: FromBytes + KnownLayout + Immutable>(self) -> Result<&'a T, BadBody> {
        T::ref_from_bytes(self.0).map_err(|_| BadBody)
    }

    /// One structure and the rest.
    fn first<T: FromBytes + KnownLayout + Immutable>(self) -> Result<(&'a T, Self), BadBody> {
        let (value, rest) = T::ref_from_prefix(self.0).map_err(|_| BadBody)?;
        Ok((value, Self(rest)))
    }

    /// One name with its NUL and nothing else.
    fn name(self) -> Result<&'a [u8], BadBody> {
        match self.0.split_last() {
            Some((0, name)) if !name.is_empty() && !has_forbidden_byte(name) => Ok(name),
            _ => Err(BadBody),
        }
    }

    fn xattr(self) -> Result<Request<'a>, BadBody> {
        let (arguments, rest) = self.first::<GetxattrIn>()?;
        // An attribute's name may contain a slash.
        match rest.0.split_last() {
            Some((0, name)) if !name.is_empty() && !name.contains(&0) => Ok(Request::GetXattr {
                size: arguments.size,
                name,
            }),
            _ => Err(BadBody),
        }
    }

    fn ioctl(self) -> Result<Request<'a>, BadBody> {
        let (arguments, rest) = self.first::<IoctlIn>()?;
        if usize::try_from(arguments.in_size) != Ok(rest.0.len()) {
            return Err(BadBody);
        }
        Ok(Request::Ioctl(arguments))
    }

    fn forgets(self) -> Result<(), BadBody> {
        let (arguments, rest) = self.first::<BatchForgetIn>()?;
        let expected = u64::from(arguments.count) * size_of::<ForgetOne>() as u64;
        if rest.0.len() as u64 == expected {
            Ok(())
        } else {
            Err(BadBody)
        }
    }
}

fn has_forbidden_byte(name: &[u8]) -> bool {
    name.iter().any(|&byte| byte == 0 || byte == b'/')
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
