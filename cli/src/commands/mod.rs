//! One file a command.

pub(crate) mod cat;
pub(crate) mod cp;
pub(crate) mod info;
pub(crate) mod ls;
pub(crate) mod map;
pub(crate) mod mkfs;
pub(crate) mod mount;
pub(crate) mod stat;
pub(crate) mod status;
pub(crate) mod umount;
