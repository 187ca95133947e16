//! debugfs(8): the oracle that needs no mount, and the hand that plants damage.

use crate::manifest::{Facts, Manifest};
use crate::tool;
use anyhow::{Context, Result, bail};
use std::path::Path;

/// `EXT4_INLINE_DATA_FL`.
const INLINE_DATA: u32 = 0x1000_0000;

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

/// The facts [`stat_all`] gives.
pub const STAT_FACTS: &[&str] = &[
    "mode",
    "uid",
    "gid",
    "size",
    "nlink",
    "blocks",
    "generation",
    "ctime",
    "mtime",
    "btime",
];

/// What debugfs shows of the inodes of a tree that was seen otherwise.
pub fn stat_all(image: &Path, seen: &Manifest) -> Result<Manifest> {
    let numbers: Vec<&String> = seen
        .files
        .values()
        .filter_map(|facts| facts.get("ino"))
        .collect();
    let requests: String = numbers
        .iter()
        .map(|ino| format!("stat <{ino}>\n"))
        .collect();
    let mut file = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut file, requests.as_bytes())?;
    let text = tool::run(
        "debugfs",
        &["-f".as_ref(), file.path().as_os_str(), image.as_os_str()],
    )?;
    let mut known = std::collections::HashMap::new();
    for section in text.split("debugfs: stat <").skip(1) {
        let (ino, rest) = section.split_once('>').context("debugfs stat")?;
        known.insert(
            ino.to_owned(),
            stat_facts(rest).with_context(|| rest.to_owned())?,
        );
    }
    let mut judged = Manifest::default();
    for (path, facts) in &seen.files {
        let stat = facts.get("ino").and_then(|ino| known.get(ino));
        judged
            .files
            .insert(path.clone(), stat.cloned().unwrap_or_default());
    }
    Ok(judged)
}

fn stat_facts(text: &str) -> Result<Facts> {
    let after = |name: &str| -> Result<&str> {
        let rest = text.split(name).nth(1).with_context(|| name.to_owned())?;
        rest.split_whitespace().next().context("no value")
    };
    let mode = u32::from_str_radix(after("Mode:")?, 8)?;
    let mut facts = Facts::new();
    facts.insert("mode".into(), format!("{:o}", mode & 0o7777));
    for (fact, name) in [("uid", "User:"), ("gid", "Group:")] {
        // Printed as signed.
        let id: i64 = after(name)?.parse()?;
        facts.insert(fact.into(), (id & 0xffff_ffff).to_string());
    }
    let size: u64 = after("Size:")?.parse()?;
    facts.insert("size".into(), size.to_string());
    facts.insert("nlink".into(), after("Links:")?.into());
    let mut blocks: u64 = after("Blockcount:")?.parse()?;
    let flags = u32::from_str_radix(after("Flags:")?.trim_start_matches("0x"), 16)?;
    if flags & INLINE_DATA != 0 && text.contains("Type: regular") {
        // stat(2) counts what a file holds in its inode as blocks.
        blocks += size.div_ceil(512);
    }
    facts.insert("blocks".into(), blocks.to_string());
    let generation: u32 = after("Generation:")?.parse()?;
    if text.contains("Type: regular") || text.contains("Type: directory") {
        facts.insert("generation".into(), format!("{generation:#x}"));
    }
    for (fact, name) in [
        ("ctime", " ctime:"),
        ("mtime", " mtime:"),
        ("btime", "crtime:"),
    ] {
        if let Ok(value) = after(name) {
            facts.insert(fact.into(), stat_time(value)?);
        }
    }
    Ok(facts)
}

/// `0xSECONDS:EXTRA` of debugfs.
fn stat_time(text: &str) -> Result<String> {
    let (seconds, extra) = text.split_once(':').unwrap_or((text, "0"));
    let seconds = u32::from_str_radix(seconds.trim_start_matches("0x"), 16)?;
    let extra = u32::from_str_radix(extra, 16)?;
    let seconds = i64::from(seconds.cast_signed()) + (i64::from(extra & 3) << 32);
    Ok(format!("{seconds}.{:09}", extra >> 2))
}
