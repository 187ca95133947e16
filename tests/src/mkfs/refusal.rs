//! Refusals: one sentence, exit code 1, nothing half-made that looks valid.

use super::judge::has_magic;
use super::maker::{Maker, Mkfs};
use crate::program::Ended;
use anyhow::{Result, bail, ensure};
use std::path::Path;

/// Runs a call that must be refused, on an image that may or may not exist. The
/// sentence names each of `words` (case does not matter); no primary superblock
/// is on the image afterwards, and an image that was not there is not there.
pub fn refused(call: Mkfs, image: &Path, words: &[&str]) -> Result<String> {
    let maker = call.maker();
    let existed = image.exists();
    let valid_before = existed && has_magic(image, 0)?;
    let ended = call.run()?;
    let said = check(maker, &ended, words)?;
    if !valid_before {
        ensure!(!has_magic(image, 0)?, "a superblock is left: {ended}");
    }
    if maker == Maker::Extmap {
        ensure!(existed || !image.exists(), "the image is left: {ended}");
    }
    Ok(said)
}

/// Whether this is how a refusal looks. mke2fs, in the other's place, need only
/// fail.
pub fn check(maker: Maker, ended: &Ended, words: &[&str]) -> Result<String> {
    if maker == Maker::Mke2fs {
        ensure!(!ended.success(), "succeeds, but should refuse: {ended}");
        return Ok(ended.stderr.clone());
    }
    let said = ended.refusal()?;
    let code = ended.status.and_then(|status| status.code());
    ensure!(code == Some(1), "exit code {code:?}, not 1: {ended}");
    ensure!(
        ended.stdout.is_empty(),
        "a refusal prints to standard output: {ended}"
    );
    for word in words {
        if !said.to_lowercase().contains(&word.to_lowercase()) {
            bail!("{word:?} is not named: {said}");
        }
    }
    Ok(said.to_owned())
}
