//! Why a request is answered with an error.

use rustix::io::Errno;

use crate::requests::BadBody;

/// The reason of an error reply.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A plain answer to the caller; nothing is wrong with the volume.
    Refused(Errno),
    /// The volume could not do it; worth a line in the log if the device or
    /// its content is at fault.
    Volume(fs_core::Error),
}

impl Failure {
    /// The number the caller gets.
    pub(crate) fn errno(&self) -> Errno {
        match self {
            Self::Refused(errno) => *errno,
            Self::Volume(error) => error.errno(),
        }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Refused(errno)
    }
}

impl From<fs_core::Error> for Failure {
    fn from(error: fs_core::Error) -> Self {
        Self::Volume(error)
    }
}

impl From<images::Error> for Failure {
    fn from(error: images::Error) -> Self {
        Self::Volume(error.into())
    }
}

impl From<BadBody> for Failure {
    fn from(_: BadBody) -> Self {
        Self::Refused(Errno::INVAL)
    }
}
