//! The program `extmap`: options, messages, exit codes, going to the background.
//!
//! Everything about ext4 comes from `fs-core`, everything about FUSE from
//! `fuse-frontend`. One file a command under [`commands`]; what several
//! commands need stands beside this file.

mod accounts;
mod commands;
mod escape;
mod failure;
mod image;
mod interrupt;
mod invocation;
mod mount_options;
mod output;
mod size;
mod walk;
mod when;

use std::process::ExitCode;

fn main() -> ExitCode {
    invocation::run(std::env::args_os().collect())
}
