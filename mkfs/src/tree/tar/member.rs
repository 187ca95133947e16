//! One member of an archive, put together from its header and what came before.

use fs_core::Timestamp;

use super::header::Header;
use super::pax::Pax;
use super::{Parsed, acl};
use crate::tree::draft::target_fault;
use crate::tree::{Attributes, FileContent, NodeKind, Xattr};

/// The largest numbers Linux has for devices: 12 and 20 bits.
const MAJOR_MAX: u32 = 0xFFF;
const MINOR_MAX: u32 = 0xF_FFFF;

const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
const SELINUX: &[u8] = b"security.selinux";

/// A member of an archive.
#[derive(Debug)]
pub(super) struct Member {
    /// As the archive has it.
    pub(super) path: Vec<u8>,
    pub(super) kind: MemberKind,
    pub(super) attributes: Attributes,
}

/// What a member is.
#[derive(Debug)]
pub(super) enum MemberKind {
    Directory,
    /// Another name of the member of this path.
    HardLink(Vec<u8>),
    /// Anything else.
    Leaf(NodeKind),
}

/// What the type of a header says, before its content is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    File,
    /// A file whose header tells where its holes are.
    GnuSparse,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    /// A directory followed by a list of its entries (incremental dumps).
    DumpedDirectory,
    Fifo,
}

impl Type {
    /// Before ustar a directory was a file whose name ends with a slash.
    pub(super) fn of(typeflag: u8, path: &[u8]) -> Parsed<Self> {
        Ok(match typeflag {
            0 | b'0' | b'7' if path.ends_with(b"/") => Self::Directory,
            // '7' is a contiguous file: where its content lies is ours to choose.
            0 | b'0' | b'7' => Self::File,
            b'1' => Self::HardLink,
            b'2' => Self::Symlink,
            b'3' => Self::CharDevice,
            b'4' => Self::BlockDevice,
            b'5' => Self::Directory,
            b'6' => Self::Fifo,
            b'D' => Self::DumpedDirectory,
            b'S' => Self::GnuSparse,
            b'M' => {
                return Err(
                    "continues another archive (multi-volume), which is not supported".to_owned(),
                );
            }
            other => {
                return Err(format!(
                    "is of the type '{}', which is not supported",
                    other.escape_ascii()
                ));
            }
        })
    }

    /// True if as many bytes as the header says follow. Headers of other types
    /// may have a size nevertheless; no bytes follow them.
    pub(super) fn has_content(self) -> bool {
        matches!(self, Self::File | Self::GnuSparse | Self::DumpedDirectory)
    }
}

/// What a member without content becomes.
pub(super) fn kind(what: Type, header: &Header, pax: &Pax, link: &[u8]) -> Parsed<MemberKind> {
    Ok(match what {
        Type::Directory | Type::DumpedDirectory => MemberKind::Directory,
        Type::HardLink => MemberKind::HardLink(link.to_vec()),
        Type::Fifo => MemberKind::Leaf(NodeKind::Fifo),
        Type::Symlink => match target_fault(link) {
            Some(why) => return Err(why.to_owned()),
            None => MemberKind::Leaf(NodeKind::Symlink(link.into())),
        },
        Type::CharDevice => {
            let (major, minor) = device(header, pax)?;
            MemberKind::Leaf(NodeKind::CharDevice(major, minor))
        }
        Type::BlockDevice => {
            let (major, minor) = device(header, pax)?;
            MemberKind::Leaf(NodeKind::BlockDevice(major, minor))
        }
        Type::File | Type::GnuSparse => return Err("has no content".to_owned()),
    })
}

/// What a member with content becomes.
pub(super) fn file(content: FileContent) -> MemberKind {
    MemberKind::Leaf(NodeKind::File(content))
}

fn device(header: &Header, pax: &Pax) -> Parsed<(u32, u32)> {
    let number = |pax: Option<u32>, header: i128, max: u32| {
        pax.or_else(|| u32::try_from(header).ok())
            .filter(|&number| number <= max)
            .ok_or_else(|| "its device number is larger than Linux has".to_owned())
    };
    Ok((
        number(pax.dev_major, header.devmajor, MAJOR_MAX)?,
        number(pax.dev_minor, header.devminor, MINOR_MAX)?,
    ))
}

/// The attributes of a member.
pub(super) fn attributes(what: Type, header: &Header, pax: &Pax) -> Parsed<Attributes> {
    let number = |what: &str, pax: Option<u32>, header: i128| {
        pax.or_else(|| u32::try_from(header).ok())
            .ok_or_else(|| format!("its {what} is out of range: {header}"))
    };
    let modified = match pax.mtime {
        Some(time) => time,
        None => Timestamp {
            seconds: i64::try_from(header.mtime)
                .map_err(|_| format!("its modification time is out of range: {}", header.mtime))?,
            nanos: 0,
        },
    };
    let mut permissions = header.permissions;
    let xattrs = xattrs(what, pax, &mut permissions)?;
    Ok(Attributes {
        permissions,
        uid: number("owner", pax.uid, header.uid)?,
        gid: number("group", pax.gid, header.gid)?,
        modified,
        accessed: pax.atime,
        changed: pax.ctime,
        flags: None,
        xattrs,
    })
}

/// All attributes of a member, sorted, each name once: the last record of a name
/// holds, and one that gives an attribute's own bytes goes before a text.
fn xattrs(what: Type, pax: &Pax, permissions: &mut u16) -> Parsed<Vec<Xattr>> {
    // The last record first: a stable sort then leaves it in front of its equals.
    let mut found: Vec<Xattr> = pax.xattrs.iter().rev().cloned().collect();
    if let Some(context) = &pax.selinux {
        // Linux keeps contexts with their NUL.
        let value = [context, &b"\0"[..]].concat();
        add_missing(&mut found, SELINUX, value);
    }
    if let Some(text) = &pax.acl_access
        && !has(&found, ACL_ACCESS)
        && let Some(acl) = acl::parse(text)?
    {
        if what == Type::Symlink {
            return Err("is a symbolic link and cannot have an ACL".to_owned());
        }
        // As when Linux is given an ACL: it decides the permissions.
        *permissions = *permissions & 0o7000 | acl::mode_bits(&acl);
        if !acl::is_minimal(&acl) {
            add_missing(&mut found, ACL_ACCESS, acl::encode(&acl));
        }
    }
    if let Some(text) = &pax.acl_default
        && !has(&found, ACL_DEFAULT)
        && let Some(acl) = acl::parse(text)?
    {
        if !matches!(what, Type::Directory | Type::DumpedDirectory) {
            return Err("is no directory and cannot have a default ACL".to_owned());
        }
        add_missing(&mut found, ACL_DEFAULT, acl::encode(&acl));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.dedup_by(|later, first| later.name == first.name);
    found.shrink_to_fit();
    Ok(found)
}

fn has(xattrs: &[Xattr], name: &[u8]) -> bool {
    xattrs.iter().any(|xattr| *xattr.name == *name)
}

fn add_missing(xattrs: &mut Vec<Xattr>, name: &[u8], value: Vec<u8>) {
    if !has(xattrs, name) {
        xattrs.push(Xattr {
            name: name.into(),
            value: value.into(),
        });
    }
}
