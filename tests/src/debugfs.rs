//! debugfs(8): the oracle that needs no mount, and the hand that plants damage.

use crate::tool;
use anyhow::{Context, Result, bail};
use std::path::Path;

/// Runs one read-only request; its output.
pub fn read(image: &Path, request: &str) -> Result<String> {
    tool::run(
        "debugfs",
        &["-R".as_ref(), request.as_ref(), image.as_os_str()],
    )
}

/// Runs requests that change the image.
pub fn write(image: &Path, requests: &[&str]) -> Result<()> {
    for request in requests {
        let output = tool::output(
            "debugfs",
            &[
                "-w".as_ref(),
                "-R".as_ref(),
                request.as_ref(),
                image.as_os_str(),
            ],
        )?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        // debugfs exits with 0 whatever happened; after its greeting, standard
        // error is empty if all went well.
        let complaints: Vec<&str> = stderr.lines().skip(1).collect();
        if !complaints.is_empty() || !output.status.success() {
            bail!("debugfs {request}: {}", complaints.join("; "));
        }
    }
    Ok(())
}

/// Where an inode lies: the device byte of its first byte.
pub fn inode_offset(image: &Path, path: &str, block_len: u64) -> Result<u64> {
    let text = read(image, &format!("imap {path}"))?;
    let field = |name: &str| -> Option<u64> {
        let rest = text.split(name).nth(1)?;
        let word: String = rest
            .trim_start()
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric())
            .collect();
        match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => word.parse().ok(),
        }
    };
    let block = field("located at block ").with_context(|| text.clone())?;
    let offset = field("offset ").with_context(|| text.clone())?;
    Ok(block * block_len + offset)
}

/// The device block of a file's block.
pub fn bmap(image: &Path, path: &str, file_block: u64) -> Result<u64> {
    let text = read(image, &format!("bmap {path} {file_block}"))?;
    text.trim()
        .parse()
        .with_context(|| format!("bmap {path}: {text:?}"))
}

/// The number after `name` in `stats` (the superblock) or in `stat PATH`.
pub fn number_after(text: &str, name: &str) -> Result<u64> {
    let rest = text
        .split(name)
        .nth(1)
        .with_context(|| format!("{name:?} not in {text:?}"))?;
    let digits: String = rest
        .trim_start_matches([' ', ':', '\t'])
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits
        .parse()
        .with_context(|| format!("{name:?}: {digits:?}"))
}
