//! The kernel's ext4 reads what was written, and goes on writing.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;

use super::{Random, Subject};
use crate::testing::assert_clean;

/// Unmounts when dropped.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(image: &Path, at: &'a Path) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-o", "loop"])
            .args([image, at])
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at)),
            other => {
                skipping::record(&format!("the kernel does not mount the image: {other:?}"));
                None
            }
        }
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).output();
    }
}

#[test]
fn the_kernel_lists_finds_and_changes_the_same_names() {
    for (features, names) in [
        ("inline_data", 4),
        ("inline_data", 9),
        ("metadata_csum", 1500),
    ] {
        let options = ["-t", "ext4", "-b", "1024", "-O", features];
        let Some(mut subject) = Subject::new(&options, "16M") else {
            return;
        };
        let mut random = Random::new(41);
        for number in 0..names {
            subject.add(&random.name(number)).unwrap();
        }
        let wanted: BTreeSet<Vec<u8>> = subject.model.keys().cloned().collect();
        let image = subject.close();
        let directory = tempfile::tempdir().unwrap();
        let (file, at) = (directory.path().join("image"), directory.path().join("at"));
        std::fs::write(&file, image).unwrap();
        std::fs::create_dir(&at).unwrap();
        let Some(mounted) = Mounted::new(&file, &at) else {
            return;
        };
        let names: BTreeSet<Vec<u8>> = std::fs::read_dir(at.join("d"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_vec())
            .collect();
        assert!(names == wanted);
        for (number, name) in wanted.iter().enumerate() {
            let name = std::ffi::OsString::from_vec(name.clone());
            assert!(at.join("d").join(&name).symlink_metadata().is_ok());
            if number % 3 == 0 {
                std::fs::remove_file(at.join("d").join(&name)).unwrap();
            }
            std::fs::write(at.join("d").join(format!("kernel{number:0>50}")), "").unwrap();
        }
        drop(mounted);
        assert_clean(&std::fs::read(&file).unwrap());
    }
}
