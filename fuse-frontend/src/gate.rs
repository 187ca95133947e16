//! Who may ask.
//!
//! The kernel lets in the mount's owner or everybody. Root and the owner, but
//! nobody else, is a rule of our own: requests of others are refused. It holds
//! because nothing is cached under that rule (see `Server::new`) and every
//! open is asked about (see `Negotiator`).

use crate::options::Access;
use crate::wire::{InHeader, opcode};

/// Decides by the caller's user id.
#[derive(Debug)]
pub(crate) struct Gate {
    /// The owner, if only root and the owner may ask.
    only_root_and: Option<u32>,
}

impl Gate {
    /// A gate for this process's mount.
    pub(crate) fn new(access: Access) -> Self {
        Self {
            only_root_and: (access == Access::Root).then(|| rustix::process::getuid().as_raw()),
        }
    }

    /// Whether the request is to be served.
    pub(crate) fn admits(&self, header: &InHeader) -> bool {
        match self.only_root_and {
            None => true,
            Some(owner) => {
                header.uid == 0 || header.uid == owner || comes_from_kernel(header.opcode)
            }
        }
    }
}

/// Requests the kernel makes on its own account or for files that are open
/// already, whose user id says nothing.
fn comes_from_kernel(opcode: u32) -> bool {
    matches!(
        opcode,
        opcode::INIT
            | opcode::DESTROY
            | opcode::FORGET
            | opcode::BATCH_FORGET
            | opcode::INTERRUPT
            | opcode::READ
            | opcode::WRITE
            | opcode::FALLOCATE
            | opcode::COPY_FILE_RANGE
            | opcode::COPY_FILE_RANGE_64
            | opcode::LSEEK
            | opcode::READDIR
            | opcode::READDIRPLUS
            | opcode::RELEASE
            | opcode::RELEASEDIR
            | opcode::FLUSH
            | opcode::FSYNC
            | opcode::FSYNCDIR
            | opcode::SYNCFS
            | opcode::FREEZE_FS
            | opcode::UNFREEZE_FS
            | opcode::SHUTDOWN_FS
            | opcode::IOMAP_BEGIN
            | opcode::IOMAP_END
            | opcode::IOMAP_IOEND
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(opcode: u32, uid: u32) -> InHeader {
        InHeader {
            opcode,
            uid,
            ..InHeader::default()
        }
    }

    #[test]
    fn others_are_refused_only_under_allow_root() {
        let open = Gate {
            only_root_and: None,
        };
        let closed = Gate {
            only_root_and: Some(1000),
        };
        assert!(open.admits(&header(opcode::LOOKUP, 1001)));
        assert!(!closed.admits(&header(opcode::LOOKUP, 1001)));
        assert!(!closed.admits(&header(opcode::OPEN, u32::MAX)));
        assert!(closed.admits(&header(opcode::LOOKUP, 1000)));
        assert!(closed.admits(&header(opcode::LOOKUP, 0)));
        assert!(closed.admits(&header(opcode::FORGET, 1001)));
    }
}
