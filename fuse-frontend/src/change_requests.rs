//! Requests that change the volume, as typed values.

use crate::body::{BadBody, Body};
use crate::negotiate::Agreed;
use crate::wire::{
    CopyIn, CreateIn, FallocateIn, LinkIn, MkdirIn, MknodIn, Rename2In, RenameIn,
    SETXATTR_ACL_KILL_SGID, SetattrIn, SetxattrExt, SetxattrIn, WriteIn, opcode,
};

/// What is to be changed.
#[derive(Debug)]
pub(crate) enum Change<'a> {
    SetAttr(&'a SetattrIn),
    Mknod {
        arguments: &'a MknodIn,
        name: &'a [u8],
    },
    Mkdir {
        arguments: &'a MkdirIn,
        name: &'a [u8],
    },
    Symlink {
        name: &'a [u8],
        /// Without NUL, not empty; may contain slashes.
        target: &'a [u8],
    },
    Create {
        arguments: &'a CreateIn,
        name: &'a [u8],
    },
    TmpFile(&'a CreateIn),
    Unlink {
        name: &'a [u8],
    },
    Rmdir {
        name: &'a [u8],
    },
    Rename(Rename<'a>),
    Link {
        node: u64,
        name: &'a [u8],
    },
    Write {
        arguments: &'a WriteIn,
        data: &'a [u8],
    },
    SetXattr(SetXattr<'a>),
    RemoveXattr {
        name: &'a [u8],
    },
    Fallocate(&'a FallocateIn),
    /// COPY_FILE_RANGE: the answer has 32 bits.
    Copy32(&'a CopyIn),
    /// COPY_FILE_RANGE_64.
    Copy64(&'a CopyIn),
}

/// RENAME and RENAME2.
#[derive(Debug)]
pub(crate) struct Rename<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) new_parent: u64,
    pub(crate) new_name: &'a [u8],
    /// Of renameat2(2).
    pub(crate) flags: u32,
}

/// SETXATTR.
#[derive(Debug)]
pub(crate) struct SetXattr<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    /// Of setxattr(2).
    pub(crate) flags: u32,
    /// The set-group-ID bit goes with an access ACL.
    pub(crate) clears_set_group: bool,
}

impl<'a> Change<'a> {
    /// The typed form of a request with this opcode, one of those that change something.
    pub(crate) fn parse(opcode: u32, body: Body<'a>, agreed: Agreed) -> Result<Self, BadBody> {
        let change = match opcode {
            opcode::SETATTR => Self::SetAttr(body.only()?),
            opcode::MKNOD => {
                let (arguments, name) = body.first()?;
                let name = name.name()?;
                Self::Mknod { arguments, name }
            }
            opcode::MKDIR => {
                let (arguments, name) = body.first()?;
                let name = name.name()?;
                Self::Mkdir { arguments, name }
            }
            opcode::SYMLINK => symlink(body)?,
            opcode::CREATE => {
                let (arguments, name) = body.first()?;
                let name = name.name()?;
                Self::Create { arguments, name }
            }
            // A name follows that means nothing.
            opcode::TMPFILE => Self::TmpFile(body.first()?.0),
            opcode::UNLINK => Self::Unlink { name: body.name()? },
            opcode::RMDIR => Self::Rmdir { name: body.name()? },
            opcode::RENAME => {
                let (arguments, names) = body.first::<RenameIn>()?;
                rename(arguments.newdir, 0, names)?
            }
            opcode::RENAME2 => {
                let (arguments, names) = body.first::<Rename2In>()?;
                rename(arguments.newdir, arguments.flags, names)?
            }
            opcode::LINK => {
                let (arguments, name) = body.first::<LinkIn>()?;
                Self::Link {
                    node: arguments.oldnodeid,
                    name: name.name()?,
                }
            }
            opcode::WRITE => {
                let (arguments, data) = body.first::<WriteIn>()?;
                let data = data.exactly(arguments.size)?;
                Self::Write { arguments, data }
            }
            opcode::SETXATTR => set_xattr(body, agreed)?,
            opcode::REMOVEXATTR => Self::RemoveXattr {
                name: body.xattr_name()?,
            },
            opcode::FALLOCATE => Self::Fallocate(body.only()?),
            opcode::COPY_FILE_RANGE => Self::Copy32(body.only()?),
            opcode::COPY_FILE_RANGE_64 => Self::Copy64(body.only()?),
            _ => return Err(BadBody),
        };
        Ok(change)
    }
}

fn symlink(body: Body<'_>) -> Result<Change<'_>, BadBody> {
    let (name, rest) = body.until_nul()?;
    let (target, rest) = rest.until_nul()?;
    if name.is_empty() || name.contains(&b'/') || !rest.0.is_empty() {
        return Err(BadBody);
    }
    Ok(Change::Symlink { name, target })
}

fn rename(new_parent: u64, flags: u32, names: Body<'_>) -> Result<Change<'_>, BadBody> {
    let (name, new_name) = names.two_names()?;
    Ok(Change::Rename(Rename {
        name,
        new_parent,
        new_name,
        flags,
    }))
}

fn set_xattr(body: Body<'_>, agreed: Agreed) -> Result<Change<'_>, BadBody> {
    let (arguments, mut rest) = body.first::<SetxattrIn>()?;
    let mut clears_set_group = false;
    if agreed.setxattr_ext {
        let (ext, after) = rest.first::<SetxattrExt>()?;
        clears_set_group = ext.setxattr_flags & SETXATTR_ACL_KILL_SGID != 0;
        rest = after;
    }
    let (name, value) = rest.until_nul()?;
    if name.is_empty() {
        return Err(BadBody);
    }
    Ok(Change::SetXattr(SetXattr {
        name,
        value: value.exactly(arguments.size)?,
        flags: arguments.flags,
        clears_set_group,
    }))
}
