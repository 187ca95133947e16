//! What a test needs from the machine; without it the test is skipped in the open.

pub use skipping::record;

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
    /// This version of Linux or a later one, and what for.
    Linux(u32, u32, &'static str),
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
            Self::Linux(major, minor, what) if linux_version() < Some((major, minor)) => {
                Some(format!("needs Linux {major}.{minor} ({what})"))
            }
            _ => None,
        }
    }
}

/// Major and minor number of the running kernel.
fn linux_version() -> Option<(u32, u32)> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    Some((major, numbers.next()?.parse().ok()?))
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
