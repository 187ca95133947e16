//! `extmap mount`, and the calls mount(8) makes: serves an image at a directory.
//!
//! ```text
//! extmap mount IMAGE DIR          the parent: waits for one answer, exits
//!  └─ extmap --answer-on-stdout   the server: opens, mounts, answers, serves
//! ```
//!
//! The one file that talks to `fuse-frontend`.

mod background;
mod opening;
mod route;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use ::mkfs::options::Size;
use anyhow::{Context, anyhow};
use clap::Parser;
use fuse_frontend::{Session, Unmounter};
use rustix::fs::{CWD, Mode, OFlags, openat, statfs};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use syslog_tracing::{Facility, Syslog};
use tracing_subscriber::EnvFilter;

use self::background::Inherited;
pub(crate) use self::background::Role;
use crate::commands::mkfs;
use crate::failure::{CommandResult, Failure, complain, mount_code};
use crate::mount_options::{Access, Caller, MountOptions};

/// Serve an image at a directory
///
/// Returns once the directory answers; the server stays in the background until
/// `extmap umount DIR`.
#[derive(Debug, clap::Args)]
pub(crate) struct MountArgs {
    /// Comma-separated options, see the manual page
    #[arg(short = 'o', value_name = "OPTS")]
    options: Vec<String>,
    /// Stay in the foreground and log to standard error (EXTMAP_LOG or RUST_LOG: filter)
    #[arg(short, long)]
    foreground: bool,
    /// First make an image of this size, if there is none (mkfs for other options)
    #[arg(long, value_name = "SIZE")]
    create: Option<Size>,
    /// Image file or block device
    image: PathBuf,
    /// Directory to mount on
    directory: PathBuf,
}

/// Mount an image, called by mount(8)
#[derive(Debug, Parser)]
#[command(name = "mount.extmap", version)]
pub(crate) struct HelperArgs {
    /// Image file or block device
    image: PathBuf,
    /// Directory to mount on
    directory: PathBuf,
    /// Ignore unknown mount options
    #[arg(short = 's')]
    sloppy: bool,
    /// Check the call, mount nothing
    #[arg(short = 'f')]
    fake: bool,
    /// Accepted for mount(8): there is no mtab to write
    #[arg(short = 'n')]
    _no_mtab: bool,
    /// Accepted for mount(8)
    #[arg(short = 'v')]
    _verbose: bool,
    /// Mount in this mount namespace
    #[arg(short = 'N', value_name = "NAMESPACE")]
    namespace: Option<PathBuf>,
    /// Accepted for mount(8): the type is known
    #[arg(short = 't', value_name = "TYPE")]
    _type: Option<String>,
    /// Comma-separated options
    #[arg(short = 'o', value_name = "OPTS")]
    options: Vec<String>,
}

/// `f_type` of a FUSE mount (Linux uapi `magic.h`).
const FUSE_SUPER_MAGIC: rustix::fs::FsWord = 0x6573_5546;

/// A call, from wherever it came.
#[derive(Debug)]
struct Request<'a> {
    image: &'a Path,
    directory: &'a Path,
    namespace: Option<&'a Path>,
    options: MountOptions,
    /// What `suid` and `dev` are if nobody says: mount(8) and mount.fuse3(8)
    /// say `nosuid` where they mean it; people who try out an image don't.
    trusting: bool,
}

/// Runs `extmap mount`; `argv` is the whole call, for the server.
pub(crate) fn run(args: &MountArgs, argv: &[OsString], role: Role) -> CommandResult {
    let options = MountOptions::parse(&args.options, Caller::Person).map_err(wrong_call)?;
    // The server is started with the same words, when the image is there.
    if let Some(size) = args
        .create
        .filter(|_| role == Role::Program && args.directory.is_dir())
    {
        if options.offset_bytes.is_some() || options.partition.is_some() {
            let sentence = "--create fills the image: leave out offset= and partition=";
            return Err(wrong_call(sentence.into()));
        }
        mkfs::create_image(&args.image, size)
            .map_err(|error| Failure::with_code(mount_code::FAILED, error))?;
    }
    let request = Request {
        image: &args.image,
        directory: &args.directory,
        namespace: None,
        options,
        trusting: false,
    };
    if args.foreground && role == Role::Program {
        start_logging("info");
        return serve(&request, role);
    }
    start_or_serve(&request, argv, role)
}

/// Runs a call of mount(8).
pub(crate) fn run_helper(args: &HelperArgs, argv: &[OsString], role: Role) -> CommandResult {
    let caller = Caller::MountHelper {
        sloppy: args.sloppy,
    };
    let options = MountOptions::parse(&args.options, caller).map_err(wrong_call)?;
    if args.fake {
        return Ok(ExitCode::SUCCESS);
    }
    // Entering another namespace changes the working directory.
    let directory = std::path::absolute(&args.directory).map_err(|error| {
        let place = args.directory.display();
        Failure::with_code(mount_code::USAGE, anyhow!("{place}: {error}"))
    })?;
    let request = Request {
        image: &args.image,
        directory: &directory,
        namespace: args.namespace.as_deref(),
        options,
        trusting: true,
    };
    start_or_serve(&request, argv, role)
}

fn wrong_call(sentence: String) -> Failure {
    Failure::with_code(mount_code::USAGE, anyhow!(sentence))
}

fn start_or_serve(request: &Request<'_>, argv: &[OsString], role: Role) -> CommandResult {
    if role == Role::Server {
        log_to_the_system();
        return serve(request, role);
    }
    if let Some(remark) = background::start_server(argv)? {
        complain(&remark);
    }
    if request.namespace.is_none() {
        check_answer(request.directory)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the mounted directory something only its server can answer.
fn check_answer(directory: &Path) -> Result<(), Failure> {
    match statfs(directory) {
        Ok(answer) if answer.f_type != FUSE_SUPER_MAGIC => {
            let error = anyhow!("the server ended right after mounting")
                .context(directory.display().to_string());
            Err(Failure::with_code(mount_code::FAILED, error))
        }
        Err(error @ (Errno::NOTCONN | Errno::CONNABORTED | Errno::IO)) => {
            let error = anyhow::Error::from(std::io::Error::from(error))
                .context("the server ended right after mounting")
                .context(directory.display().to_string());
            Err(Failure::with_code(mount_code::FAILED, error))
        }
        _ => Ok(()),
    }
}

/// Mounts, answers whoever started this, and serves until unmounted.
fn serve(request: &Request<'_>, role: Role) -> CommandResult {
    let inherited =
        Inherited::list().map_err(|error| Failure::with_code(mount_code::SYSTEM, error))?;
    let (session, remark) =
        open_session(request).map_err(|error| Failure::with_code(mount_code::FAILED, error))?;
    unmount_on_signals(session.unmounter())
        .map_err(|error| Failure::with_code(mount_code::SYSTEM, error))?;
    if role == Role::Server {
        background::answer_and_detach(inherited, remark.as_deref())
            .map_err(|error| Failure::with_code(mount_code::SYSTEM, error))?;
    } else if let Some(remark) = remark {
        complain(&remark);
    }
    let place = || request.directory.display().to_string();
    match session.serve().with_context(place) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // Who waited for an answer has got one and is gone.
        Err(error) if role == Role::Server => {
            tracing::error!("{error:#}");
            Ok(ExitCode::from(mount_code::SYSTEM))
        }
        Err(error) => Err(Failure::with_code(mount_code::SYSTEM, error)),
    }
}

/// Opens the image and mounts it; also a sentence why it is for reading only, if nobody
/// asked for that.
fn open_session(request: &Request<'_>) -> anyhow::Result<(Session, Option<String>)> {
    let opened = opening::open(request)?;
    if let Some(namespace) = request.namespace {
        enter_namespace(namespace)?;
    }
    // The frontend's errors name the directory.
    let mut options = frontend_options(request);
    options.why_read_only.clone_from(&opened.why_read_only);
    options.iomap = opened.iomap;
    let session = Session::mount(opened.volume, &options)?;
    Ok((session, opened.why_read_only))
}

/// mount(8)'s `-N`: the image is opened here, the directory lies there.
fn enter_namespace(path: &Path) -> anyhow::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let enter = || -> rustix::io::Result<()> {
        let namespace = openat(CWD, path, flags, Mode::empty())?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
    };
    enter()
        .map_err(std::io::Error::from)
        .with_context(|| format!("cannot enter the mount namespace {}", path.display()))
}

/// The frontend's options, from ours.
fn frontend_options(request: &Request<'_>) -> fuse_frontend::MountOptions {
    let options = &request.options;
    let flags = options.flags;
    // fusermount3 refuses both to everyone but root.
    let is_root = rustix::process::geteuid().is_root();
    let trusted = |flag: Option<bool>| is_root && flag.unwrap_or(request.trusting);
    fuse_frontend::MountOptions {
        mountpoint: request.directory.to_owned(),
        fs_name: options
            .fs_name
            .clone()
            .unwrap_or_else(|| default_name(request.image)),
        access: match options.access {
            Access::Owner => fuse_frontend::Access::Owner,
            Access::Root => fuse_frontend::Access::Root,
            Access::Other => fuse_frontend::Access::Other,
        },
        default_permissions: options.default_permissions,
        threads: options.threads,
        uid: options.uid,
        gid: options.gid,
        umask: options.umask,
        suid: trusted(flags.suid),
        dev: trusted(flags.dev),
        exec: flags.exec.unwrap_or(true),
        noatime: flags.atime == Some(false),
        writeback: !options.writing.writethrough,
        sync: options.writing.sync,
        // With a name of the user's own the mount table shows that and no device.
        block_source: (!options.writing.no_loop
            && options.fs_name.is_none()
            && request.namespace.is_none())
        .then(|| request.image.to_owned()),
        ask_opens: options.writing.ask_opens,
        why_read_only: None,
        iomap: fuse_frontend::IomapMode::Auto,
    }
}

/// The mount table shows the image's full path, as for a kernel mount.
fn default_name(image: &Path) -> String {
    let full = image.canonicalize();
    let name = full.as_deref().unwrap_or(image);
    name.to_string_lossy().into_owned()
}

/// A signal unmounts; the server then ends as after umount(8).
fn unmount_on_signals(unmounter: Unmounter) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("cannot receive signals")?;
    let wait = move || {
        for _ in signals.forever() {
            if let Err(error) = unmounter.unmount() {
                complain(&error.to_string());
            }
        }
    };
    thread::Builder::new()
        .name("signals".into())
        .spawn(wait)
        .context("cannot start a thread")?;
    Ok(())
}

/// Logs to the system's log, syslog(3): a server in the background has no other place. Where
/// there is none nothing is lost but the log.
fn log_to_the_system() {
    let Some(syslog) = Syslog::new(
        c"extmap",
        syslog_tracing::Options::LOG_PID,
        Facility::Daemon,
    ) else {
        return;
    };
    // The system's log has its own times and levels.
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter("info"))
        .without_time()
        .with_level(false)
        .with_ansi(false)
        .with_writer(syslog);
    let _ = subscriber.try_init();
}

/// What is logged, as EXTMAP_LOG, else RUST_LOG, else `default` says.
fn filter(default: &str) -> EnvFilter {
    let wish = ["EXTMAP_LOG", "RUST_LOG"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    wish.and_then(|wish| EnvFilter::try_new(wish).ok())
        .unwrap_or_else(|| EnvFilter::new(default))
}

/// Logs to standard error.
pub(crate) fn start_logging(default: &str) {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter(default))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // Somebody else's subscriber would do as well.
    let _ = subscriber.try_init();
}
