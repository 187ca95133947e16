//! Why a mount did not come up.

use rustix::io::Errno;

/// A mount or a connection that failed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The host refused a socket or a thread.
    #[error("the simulation could not get a resource: {0}")]
    Host(#[from] std::io::Error),
    /// INIT or CONFIG failed, or was answered with what cannot be.
    #[error("mounting failed: {0}")]
    Mount(Errno),
}
