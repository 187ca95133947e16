//! What debugfs finds in an image.

use std::path::Path;
use std::process::Command;

use super::*;

/// Fails unless debugfs reads all these attributes.
pub(super) fn assert_reads(image: &[u8], expected: &BTreeMap<InodeNumber, Attributes>) {
    if !skipping::have_programs(&["debugfs"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    std::fs::write(&path, image).unwrap();
    let mut requests = String::new();
    for (number, attributes) in expected {
        for (at, name) in attributes.keys().enumerate() {
            let out = directory.path().join(format!("{number}-{at}"));
            let name = String::from_utf8(name.clone()).unwrap();
            requests += &format!("ea_get -f {} <{number}> {name}\n", out.display());
        }
    }
    run(&path, &requests);
    for (number, attributes) in expected {
        for (at, (name, value)) in attributes.iter().enumerate() {
            let read = std::fs::read(directory.path().join(format!("{number}-{at}"))).unwrap();
            let expected = if name.starts_with(b"system") {
                acl_as_debugfs_has_it(value)
            } else {
                value.clone()
            };
            assert!(read == expected, "inode {number}: {}", name.escape_ascii());
        }
    }
}

/// Entries that name nobody have 0 for a number there, not -1.
fn acl_as_debugfs_has_it(value: &[u8]) -> Vec<u8> {
    let (version, entries) = value.split_at(4);
    let entries = entries.chunks(8).map(|entry| match entry {
        [tag, zero, perm, rest, 255, 255, 255, 255] => vec![*tag, *zero, *perm, *rest, 0, 0, 0, 0],
        entry => entry.to_vec(),
    });
    [version.to_vec()]
        .into_iter()
        .chain(entries)
        .flatten()
        .collect()
}

/// Runs requests, and returns what debugfs wrote.
pub(super) fn run(image: &Path, requests: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), requests).unwrap();
    let run = Command::new("debugfs")
        .arg("-w")
        .arg("-f")
        .arg(file.path())
        .arg(image)
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    String::from_utf8_lossy(&run.stdout).into_owned()
}
