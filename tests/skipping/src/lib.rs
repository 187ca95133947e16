//! Skipping in the open. A test that cannot run here says why, on standard
//! error and in the file named by `EXTMAP_SKIP_LOG`; `tests/run` prints that
//! list and subtracts it from the passed tests. With `EXTMAP_NO_SKIP=1` a skip
//! is a failure.

use std::io::Write;
use std::process::Command;

/// True if these programs can be started; else the skip has been recorded.
pub fn have_programs(names: &[&str]) -> bool {
    for name in names {
        if let Err(error) = Command::new(name).arg("-V").output() {
            record(&format!("{name} cannot be run: {error}"));
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
