//! GETXATTR and LISTXATTR.

use std::borrow::Cow;

use fs_core::acl;
use rustix::io::Errno;

use crate::caller::Caller;
use crate::failure::Failure;
use crate::replies::Reply;
use crate::server::Server;
use crate::wire::GetxattrOut;

/// Largest value and largest list Linux passes on (`XATTR_SIZE_MAX`,
/// `XATTR_LIST_MAX`), in bytes.
const XATTR_BYTES_MAX: usize = 64 << 10;

/// Attributes of this kind exist for the superuser only.
const TRUSTED: &[u8] = b"trusted.";
/// What names begin with, but for those of ACLs.
const NAMESPACES: [&[u8]; 3] = [b"user.", TRUSTED, b"security."];
const ACLS: &[u8] = b"system.posix_acl_";

pub(crate) fn get(
    server: &Server,
    nodeid: u64,
    size: u32,
    name: &[u8],
) -> Result<Reply<'static>, Failure> {
    check_name(name)?;
    let inode = server.inode(nodeid)?;
    if is_replaced(server, name) {
        return Err(Errno::NODATA.into());
    }
    let value = server.volume.xattr(&inode, name)?;
    sized(Cow::Owned(value), size)
}

/// Fails for names no attribute can have, as Linux does.
fn check_name(name: &[u8]) -> Result<(), Failure> {
    if NAMESPACES.contains(&name) {
        return Err(Errno::INVAL.into());
    }
    let is_known = NAMESPACES.iter().any(|prefix| name.starts_with(prefix));
    if !is_known && ![acl::ACCESS_ACL, acl::DEFAULT_ACL].contains(&name) {
        return Err(Errno::OPNOTSUPP.into());
    }
    Ok(())
}

/// All names, each with its NUL.
pub(crate) fn list<'w>(
    server: &Server,
    nodeid: u64,
    caller: Caller,
    size: u32,
    buffer: &'w mut Vec<u8>,
) -> Result<Reply<'w>, Failure> {
    let inode = server.inode(nodeid)?;
    buffer.clear();
    for name in server.volume.xattr_names(&inode)? {
        let is_hidden = name.starts_with(TRUSTED) && !caller.is_superuser();
        if is_hidden || is_replaced(server, &name) {
            continue;
        }
        buffer.extend_from_slice(&name);
        buffer.push(0);
    }
    sized(Cow::Borrowed(buffer), size)
}

/// With `umask=` the permissions shown are not the file's, and its ACLs would
/// contradict them.
pub(crate) fn is_replaced(server: &Server, name: &[u8]) -> bool {
    server.presentation.umask.is_some() && name.starts_with(ACLS)
}

/// The bytes, or their number if `size` is 0, or the refusal if they are more.
fn sized(bytes: Cow<'_, [u8]>, size: u32) -> Result<Reply<'_>, Failure> {
    let len = u32::try_from(bytes.len()).map_err(|_| Errno::TOOBIG)?;
    if bytes.len() > XATTR_BYTES_MAX {
        return Err(Errno::TOOBIG.into());
    }
    if size == 0 {
        return Ok(Reply::XattrSize(GetxattrOut {
            size: len,
            padding: 0,
        }));
    }
    if len > size {
        return Err(Errno::RANGE.into());
    }
    Ok(Reply::Bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errno(result: Result<Reply<'_>, Failure>) -> Errno {
        result.unwrap_err().errno()
    }

    #[test]
    fn sizes() {
        let value = [1u8, 2, 3];
        let size = sized(Cow::Borrowed(&value), 0).unwrap();
        assert!(matches!(
            size,
            Reply::XattrSize(GetxattrOut { size: 3, .. })
        ));
        let bytes = sized(Cow::Borrowed(&value), 3).unwrap();
        assert!(matches!(bytes, Reply::Bytes(b) if b.as_ref() == value));
        assert_eq!(errno(sized(Cow::Borrowed(&value), 2)), Errno::RANGE);
        let huge = vec![0; XATTR_BYTES_MAX + 1];
        assert_eq!(errno(sized(Cow::Owned(huge), 0)), Errno::TOOBIG);
    }
}
