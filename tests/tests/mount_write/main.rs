//! Mounts for writing: the same system calls on a mount of extmap and on the kernel's own
//! ext4, and what only a server can get wrong: ends, crashes, falling back.

mod attributes;
mod boot;
mod content;
mod endings;
mod fallback;
mod idmapped;
mod log;
mod names;
mod open_files;
mod random;
mod status;
mod users;
mod xattrs;

use anyhow::Result;
use log::{same_on_both, same_with};
use system_tests::skip::{self, Need};

#[test]
fn names_come_and_go() -> Result<()> {
    same_on_both(&[], names::script)
}

#[test]
fn names_are_moved() -> Result<()> {
    same_on_both(&[], names::moves)
}

#[test]
fn many_names_are_listed_while_others_come_and_go() -> Result<()> {
    same_on_both(&["-b", "1024"], names::crowd)
}

#[test]
fn content_is_written() -> Result<()> {
    same_on_both(&[], content::script)
}

#[test]
fn content_is_written_where_inodes_hold_it() -> Result<()> {
    same_on_both(&["-O", "inline_data"], content::script)
}

#[test]
fn ranges_are_allocated_and_punched() -> Result<()> {
    same_on_both(&[], content::ranges)
}

#[test]
fn memory_is_shared_with_files() -> Result<()> {
    same_on_both(&[], content::mappings)
}

#[test]
fn attributes_are_set() -> Result<()> {
    same_on_both(&[], attributes::script)
}

#[test]
fn flags_are_set_and_obeyed() -> Result<()> {
    same_on_both(&[], attributes::flags)
}

#[test]
fn flags_forbid_opening_where_it_is_asked() -> Result<()> {
    same_with(&[",askopen"], &[], attributes::opening)
}

#[test]
fn everything_is_the_same_where_opening_is_asked() -> Result<()> {
    same_with(&[",askopen", ",sync"], &[], open_files::script)
}

#[test]
fn extended_attributes_are_set() -> Result<()> {
    same_on_both(&[], xattrs::script)
}

#[test]
fn acls_decide_and_are_handed_down() -> Result<()> {
    same_on_both(&[], xattrs::acls)
}

#[test]
fn files_live_as_long_as_they_are_open() -> Result<()> {
    same_on_both(&[], open_files::script)
}

#[test]
fn other_users_may_do_what_they_may() -> Result<()> {
    same_on_both(&[], users::script)
}

#[test]
fn owners_are_mapped_where_a_mount_says_so() -> Result<()> {
    if !skip::allowed(&[Need::Linux(6, 12, "idmapped mounts of FUSE")]) {
        return Ok(());
    }
    same_on_both(&[], idmapped::script)
}
