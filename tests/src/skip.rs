//! Skipping in the open. A test that cannot run here says why, on standard
//! error and in the file named by `EXTMAP_SKIP_LOG`; `tests/run` prints that
//! list and subtracts it from the passed tests. With `EXTMAP_NO_SKIP=1` a skip
//! is a failure.

use std::io::Write;

/// What a test needs from the machine.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// Effective user 0, and the right to mount.
    Root,
    /// A program in `PATH`.
    Tool(&'static str),
    /// `/dev/fuse`, usable.
    Fuse,
    /// Loop devices.
    Loop,
}

impl Need {
    fn missing(self) -> Option<String> {
        match self {
            Self::Root if !rustix::process::geteuid().is_root() => {
                Some("needs root (kernel mounts on loop devices)".into())
            }
            Self::Tool(name) if !crate::tool::exists(name) => Some(format!("{name} not found")),
            Self::Fuse => std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open("/dev/fuse")
                .err()
                .map(|error| format!("/dev/fuse: {error}")),
            Self::Loop if !std::path::Path::new("/dev/loop-control").exists() => {
                Some("/dev/loop-control not found".into())
            }
            _ => None,
        }
    }
}

/// Everything a comparison of a FUSE mount with a kernel mount needs.
pub const MOUNTS: &[Need] = &[
    Need::Root,
    Need::Loop,
    Need::Fuse,
    Need::Tool("mke2fs"),
    Need::Tool("debugfs"),
];

/// True if the running test may go on; otherwise the skip has been recorded and
/// the test returns.
pub fn allowed(needs: &[Need]) -> bool {
    for need in needs {
        if let Some(reason) = need.missing() {
            record(&reason);
            return false;
        }
    }
    true
}

/// Records that the running test, or a named part of it, was not run.
pub fn record(reason: &str) {
    let name = test_name();
    let line = format!("{name}: {reason}\n");
    eprint!("skipped: {line}");
    let refused = std::env::var_os("EXTMAP_NO_SKIP").is_some_and(|value| value == "1");
    assert!(!refused, "skipping is not allowed here: {line}");
    if let Some(log) = std::env::var_os("EXTMAP_SKIP_LOG") {
        let written = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        assert!(written.is_ok(), "cannot write the skip log {log:?}");
    }
}

/// The running test with its program: `matrix::block_1k`.
fn test_name() -> String {
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(std::path::Path::file_stem);
    let program = program.unwrap_or_default().to_string_lossy().into_owned();
    let program = program.split('-').next().unwrap_or_default();
    let thread = std::thread::current();
    format!("{program}::{}", thread.name().unwrap_or("test"))
}
