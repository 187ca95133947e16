//! The checksum all of ext4's metadata shares.

/// CRC-32C as the kernel computes it: `seed` is the running value and there is
/// no inversion at either end.
pub(crate) fn crc32c_raw(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}
