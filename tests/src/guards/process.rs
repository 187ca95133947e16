//! Processes: started ones are ended, others are only looked at.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

/// A child that is killed and reaped when dropped.
#[derive(Debug)]
pub struct ChildGuard(pub Child);

impl Drop for ChildGuard {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

/// The processes whose command line contains every one of `words` as a whole
/// argument.
pub fn find_processes(words: &[&Path]) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let args: Vec<&[u8]> = cmdline.split(|&byte| byte == 0).collect();
            words
                .iter()
                .all(|word| args.contains(&word.as_os_str().as_encoded_bytes()))
        })
        .collect()
}

/// Whether the process exists and is no zombie.
pub fn pid_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit(')').next().map(|rest| !rest.starts_with(" Z")))
        .unwrap_or(false)
}

/// A field of `/proc/PID/status` that is counted in KiB (`VmHWM`, `RssAnon`).
pub fn status_kib(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find(|line| line.split(':').next() == Some(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// `EXTMAP_TEST_PATIENCE`, a factor on limits of time, 1 if it is not set: for machines much
/// slower than those the limits were chosen for, such as emulated ones.
pub fn patience() -> u32 {
    let asked = std::env::var("EXTMAP_TEST_PATIENCE").ok();
    asked.and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

/// Polls until `done` or until `limit`, times [`patience`], has passed; whether it was done.
pub fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let limit = limit.saturating_mul(patience());
    let start = Instant::now();
    loop {
        if done() {
            return true;
        }
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
