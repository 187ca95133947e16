//! What several test programs of this crate need.
#![allow(dead_code)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use images::{BlockDevice, Mapped};

/// Bytes that tell their place: no two aligned words within 16 GiB are equal.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| ((at / 4) as u32).to_le_bytes()[at % 4])
        .collect()
}

/// Reads a range of a device into a new buffer.
pub(crate) fn read(device: &dyn BlockDevice, offset: u64, len: usize) -> images::Result<Vec<u8>> {
    let mut buf = vec![0xee; len];
    device.read_at(&mut buf, offset)?;
    Ok(buf)
}

/// Reads mapped bytes the way their users do, by a system call; here, through
/// this process's memory as a file.
pub(crate) fn read_mapping(mapped: &Mapped<'_>) -> std::io::Result<Vec<u8>> {
    let Mapped::Bytes(bytes) = mapped else {
        return Err(std::io::Error::other("not mapped"));
    };
    let mut buf = vec![0; bytes.len_bytes()];
    File::open("/proc/self/mem")?.read_exact_at(&mut buf, bytes.address() as u64)?;
    Ok(buf)
}

/// A small generator of numbers that are the same in every run (xorshift64*).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// A loop device that is detached when dropped.
pub(crate) struct Loop(pub(crate) PathBuf);

impl Loop {
    /// Attaches a file, or says why that can't be done here.
    pub(crate) fn attach(file: &Path, sector_bytes: u32) -> Result<Self, String> {
        if !Path::new("/dev/loop-control").exists() {
            return Err("there is no /dev/loop-control".to_owned());
        }
        let output = Command::new("losetup")
            .args([
                "--find",
                "--show",
                "--sector-size",
                &sector_bytes.to_string(),
            ])
            .arg(file)
            .output()
            .map_err(|error| format!("losetup cannot be run: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("losetup failed: {}", said.trim()));
        }
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Self(path.into()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup")
            .arg("--detach")
            .arg(&self.0)
            .status();
    }
}
