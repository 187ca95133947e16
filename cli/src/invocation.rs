//! Which command a call means: by the program's name, by its first word, or by
//! the form mount.fuse3(8) uses.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};
use clap::{Parser, Subcommand};

use crate::commands::{cat, cp, info, ls, map, mkfs, mount, stat, status, umount};
use crate::failure::{CommandResult, complain, mount_code};

/// What a name of the program stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alias {
    /// `mount.extmap IMAGE DIR -o OPTS`, called by mount(8).
    MountHelper,
    /// `mkfs.extmap`, called by mkfs(8).
    Mkfs,
    /// A program of later versions: its sentence and exit code.
    Absent(&'static str, u8),
}

/// Other names this program may be linked under.
const ALIASES: &[(&str, Alias)] = &[
    ("mount.extmap", Alias::MountHelper),
    ("mount.fuse.extmap", Alias::MountHelper),
    ("mkfs.extmap", Alias::Mkfs),
    (
        "fsck.extmap",
        Alias::Absent(
            "checking file systems is not part of this version, use fsck.ext4",
            8,
        ),
    ),
];

/// Make ext4 file systems, look into them and mount them, from user space
#[derive(Debug, Parser)]
#[command(name = "extmap", version)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Info(info::InfoArgs),
    Ls(ls::LsArgs),
    Stat(stat::StatArgs),
    Cat(cat::CatArgs),
    Map(map::MapArgs),
    Cp(cp::CpArgs),
    Mkfs(Box<mkfs::MkfsArgs>),
    Mount(mount::MountArgs),
    Umount(umount::UmountArgs),
    Status(status::StatusArgs),
}

/// Make an ext2, ext3 or ext4 file system
#[derive(Debug, Parser)]
#[command(name = "mkfs.extmap")]
struct MkfsProgram {
    #[command(flatten)]
    args: mkfs::MkfsArgs,
}

/// Runs the program with its arguments, the first of which is its own name.
pub(crate) fn run(mut args: Vec<OsString>) -> ExitCode {
    let role = mount::Role::take_from(&mut args);
    let result = match alias_of(&args) {
        Some(Alias::Absent(sentence, code)) => {
            complain(sentence);
            return ExitCode::from(code);
        }
        Some(Alias::MountHelper) => match mount::HelperArgs::try_parse_from(&args) {
            Ok(helper) => mount::run_helper(&helper, &args, role),
            Err(error) => return usage(&error),
        },
        Some(Alias::Mkfs) => match MkfsProgram::try_parse_from(&args) {
            Ok(program) => run_command(Command::Mkfs(Box::new(program.args)), &args, role),
            Err(error) => return usage(&error),
        },
        None => match Program::try_parse_from(&args) {
            Ok(program) => run_command(program.command, &args, role),
            Err(error) => return usage(&error),
        },
    };
    result.unwrap_or_else(|failure| role.report(&failure))
}

fn run_command(command: Command, args: &[OsString], role: mount::Role) -> CommandResult {
    match &command {
        Command::Mount(_) => {}
        Command::Mkfs(args) if args.is_quiet() => mount::start_logging("error"),
        _ => mount::start_logging("warn"),
    }
    match command {
        Command::Info(args) => info::run(&args),
        Command::Ls(args) => ls::run(&args),
        Command::Stat(args) => stat::run(&args),
        Command::Cat(args) => cat::run(&args),
        Command::Map(args) => map::run(&args),
        Command::Cp(args) => cp::run(&args),
        Command::Mkfs(args) => mkfs::run(&args),
        Command::Mount(mount_args) => mount::run(&mount_args, args, role),
        Command::Umount(args) => umount::run(&args),
        Command::Status(args) => status::run(&args),
    }
}

/// Prints help, a version or what is wrong with a call. Like mount(8) and the
/// coreutils, a wrong call ends with 1.
fn usage(error: &clap::Error) -> ExitCode {
    if let (ErrorKind::ValueValidation, Some(why)) = (error.kind(), error.source()) {
        complain(&value_refused(error, why));
        return ExitCode::from(mount_code::USAGE);
    }
    // A closed standard output or error is no reason for another message.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(mount_code::USAGE),
    }
}

/// What a parser of values said, which names the option only where it knows it.
fn value_refused(error: &clap::Error, why: &dyn std::error::Error) -> String {
    let option = error.get(ContextKind::InvalidArg).map(ToString::to_string);
    let option = option.unwrap_or_default();
    let word = option.split_whitespace().next().unwrap_or_default();
    let why = why.to_string();
    if why.contains(word) {
        why
    } else {
        format!("{word}: {why}")
    }
}

fn alias_of(args: &[OsString]) -> Option<Alias> {
    let name = args.first().and_then(|path| Path::new(path).file_name());
    let alias = ALIASES
        .iter()
        .find(|(alias, _)| name == Some(OsStr::new(alias)))
        .map(|(_, alias)| *alias);
    alias.or_else(|| is_fuse_form(args).then_some(Alias::MountHelper))
}

/// For `mount -t fuse.extmap`, mount.fuse3(8) runs `extmap IMAGE DIR -o OPTS`.
/// An image named like a command is taken for the command.
fn is_fuse_form(args: &[OsString]) -> bool {
    let [_, image, dir, flag, _] = args else {
        return false;
    };
    let is_option = |arg: &OsString| arg.as_bytes().starts_with(b"-");
    flag == "-o" && !is_option(image) && !is_option(dir) && !is_command(image)
}

fn is_command(word: &OsStr) -> bool {
    use clap::CommandFactory;
    Program::command()
        .get_subcommands()
        .any(|command| word == command.get_name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn args(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Program::command().debug_assert();
        mount::HelperArgs::command().debug_assert();
        MkfsProgram::command().debug_assert();
    }

    #[test]
    fn only_what_exists_is_listed() {
        let program = Program::command();
        let names: Vec<_> = program.get_subcommands().map(|c| c.get_name()).collect();
        assert_eq!(
            names,
            [
                "info", "ls", "stat", "cat", "map", "cp", "mkfs", "mount", "umount", "status"
            ]
        );
    }

    #[test]
    fn names_of_the_program_choose_a_command() {
        let helper = Some(Alias::MountHelper);
        assert_eq!(alias_of(&args(&["/sbin/mount.extmap", "a", "b"])), helper);
        assert_eq!(alias_of(&args(&["mount.fuse.extmap", "a", "b"])), helper);
        assert_eq!(alias_of(&args(&["/usr/bin/extmap", "ls", "a"])), None);
        assert_eq!(alias_of(&args(&["/sbin/mkfs.extmap"])), Some(Alias::Mkfs));
        assert!(matches!(
            alias_of(&args(&["fsck.extmap", "-p"])),
            Some(Alias::Absent(_, 8))
        ));
        assert_eq!(alias_of(&[]), None);
    }

    #[test]
    fn the_form_of_mount_fuse3_is_known() {
        assert!(is_fuse_form(&args(&[
            "extmap",
            "a.img",
            "/mnt",
            "-o",
            "rw,dev,suid"
        ])));
        assert!(!is_fuse_form(&args(&["extmap", "mount", "a", "-o", "ro"])));
        assert!(!is_fuse_form(&args(&["extmap", "a.img", "/mnt"])));
        assert!(!is_fuse_form(&args(&["extmap", "-x", "/mnt", "-o", "ro"])));
    }
}
