//! Names of this machine's users and groups.
//!
//! Only commands whose models do so look names up (dumpe2fs, stat): an image
//! from elsewhere has its own users.

use nix::unistd::{Gid, Group, Uid, User};

/// The name of a user, if this machine knows one.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    let user = User::from_uid(Uid::from_raw(uid)).ok()??;
    Some(user.name)
}

/// The name of a group, if this machine knows one.
pub(crate) fn group_name(gid: u32) -> Option<String> {
    let group = Group::from_gid(Gid::from_raw(gid)).ok()??;
    Some(group.name)
}
