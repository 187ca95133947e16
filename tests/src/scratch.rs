//! A test's own directory, and images in it.

use crate::tool;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A directory that is removed with everything in it.
#[derive(Debug)]
pub struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    /// A new empty directory that other users may pass through.
    pub fn new() -> Result<Self> {
        let mut dir = tempfile::Builder::new().prefix("extmap-test-").tempdir()?;
        // For looking into a failure: the images stay when this is set.
        dir.disable_cleanup(std::env::var_os("EXTMAP_KEEP_SCRATCH").is_some());
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open)?;
        Ok(Self { dir })
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A new subdirectory.
    pub fn make_dir(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// A sparse file of `len_bytes`.
    pub fn sparse(&self, name: &str, len_bytes: u64) -> Result<PathBuf> {
        let path = self.path(name);
        File::create(&path)?.set_len(len_bytes)?;
        Ok(path)
    }

    /// A file with these bytes.
    pub fn file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.path(name);
        std::fs::write(&path, bytes)?;
        Ok(path)
    }

    /// An image of `len_bytes` made by `mke2fs -q -F ARGS IMAGE`.
    pub fn mke2fs(&self, name: &str, len_bytes: u64, args: &[&str]) -> Result<PathBuf> {
        let path = self.sparse(name, len_bytes)?;
        let mut all = vec!["-q", "-F"];
        if !args.contains(&"-t") {
            all.extend(["-t", "ext4"]);
        }
        all.extend(args);
        let text = path.to_string_lossy().into_owned();
        all.push(&text);
        tool::run("mke2fs", &all)?;
        Ok(path)
    }

    /// A sparse copy of a file.
    pub fn copy(&self, from: &Path, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        tool::run(
            "cp",
            &[
                "--sparse=always".as_ref(),
                from.as_os_str(),
                path.as_os_str(),
            ],
        )?;
        Ok(path)
    }
}

/// A hash of a file, as hex: BLAKE3, which is fast without instructions made for it.
pub fn file_hash(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        let len = file.read(&mut buffer)?;
        if len == 0 {
            return Ok(hasher.finalize().to_string());
        }
        hasher.update(&buffer[..len]);
    }
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
