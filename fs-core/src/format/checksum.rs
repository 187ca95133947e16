//! The checksum functions of the format.

/// CRC-32C as ext4 and jbd2 use it: reflected, the seed taken as it is and the
/// result not inverted (ext4 on-disk layout, "Checksums").
pub(crate) fn crc32c_raw(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// CRC-16 (reflected polynomial 0xA001) of group descriptors under `uninit_bg`.
pub(crate) fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(seed, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xA001
            } else {
                crc >> 1
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_of_the_standard_check_string() {
        // The standard check value 0xE3069283 is seeded with all ones and inverted.
        assert_eq!(!crc32c_raw(!0, b"123456789"), 0xE306_9283);
    }

    #[test]
    fn crc32c_can_be_continued() {
        let whole = crc32c_raw(!0, b"123456789");
        assert_eq!(crc32c_raw(crc32c_raw(!0, b"1234"), b"56789"), whole);
    }

    #[test]
    fn crc16_of_the_standard_check_string() {
        // CRC-16/MODBUS: the same polynomial and seed as the format's.
        assert_eq!(crc16(0xFFFF, b"123456789"), 0x4B37);
    }
}
