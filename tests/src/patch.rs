//! Damaging images on purpose: bytes, superblock fields (with the checksum put
//! right again, so that the next check is reached), structures found by
//! debugfs.

use anyhow::{Context, Result, ensure};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The device byte of the primary superblock.
pub const SUPERBLOCK: u64 = 1024;
/// Bytes of a superblock.
pub const SUPERBLOCK_LEN: usize = 1024;

const CHECKSUM_OFFSET: usize = 0x3fc;
const MAGIC_OFFSET: usize = 0x38;
const FEATURE_RO_COMPAT: usize = 0x64;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;

/// Opens an image for changing it.
pub fn open(image: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(image)
        .with_context(|| image.display().to_string())
}

/// Inverts the byte at `offset`.
pub fn flip(image: &Path, offset: u64) -> Result<()> {
    let file = open(image)?;
    let mut byte = [0u8];
    file.read_exact_at(&mut byte, offset)?;
    byte[0] = !byte[0];
    file.write_all_at(&byte, offset)?;
    Ok(())
}

/// Writes `bytes` at `offset`.
pub fn write(image: &Path, offset: u64, bytes: &[u8]) -> Result<()> {
    open(image)?.write_all_at(bytes, offset).context("patch")
}

/// Reads `len` bytes at `offset`.
pub fn read(image: &Path, offset: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    File::open(image)?.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// Writes a field of the primary superblock and puts its checksum right.
pub fn superblock(image: &Path, field: usize, bytes: &[u8]) -> Result<()> {
    superblock_at(image, SUPERBLOCK, field, bytes)
}

/// Writes a field of the superblock at the device byte `at` and puts its
/// checksum right.
pub fn superblock_at(image: &Path, at: u64, field: usize, bytes: &[u8]) -> Result<()> {
    let mut block = read(image, at, SUPERBLOCK_LEN)?;
    ensure!(
        block[MAGIC_OFFSET..MAGIC_OFFSET + 2] == [0x53, 0xef],
        "no superblock at {at}"
    );
    let checked = word(&block, FEATURE_RO_COMPAT) & RO_COMPAT_METADATA_CSUM != 0;
    block[field..field + bytes.len()].copy_from_slice(bytes);
    if checked {
        let sum = !crc32c::crc32c(&block[..CHECKSUM_OFFSET]);
        block[CHECKSUM_OFFSET..].copy_from_slice(&sum.to_le_bytes());
    }
    write(image, at, &block)
}

/// Sets bits of a 32-bit superblock field (a feature word).
pub fn set_bits(image: &Path, field: usize, bits: u32) -> Result<()> {
    let old = word(&read(image, SUPERBLOCK, SUPERBLOCK_LEN)?, field);
    superblock(image, field, &(old | bits).to_le_bytes())
}

/// A little-endian 32-bit word.
pub fn word(bytes: &[u8], offset: usize) -> u32 {
    let mut word = [0u8; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(word)
}

/// A little-endian 16-bit word.
pub fn half(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}
