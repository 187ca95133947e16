//! Directory hashes: legacy, half MD4 and TEA, each over signed or unsigned
//! characters (ext4 on-disk layout, "Hash Tree Directories").

use crate::format::checksum::crc32c_raw;

/// `hash_version` as it stands in a directory's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HashVersion {
    Legacy,
    HalfMd4,
    Tea,
}

/// A hash function with its parameters.
#[derive(Debug, Clone, Copy)]
pub struct Hasher {
    version: HashVersion,
    unsigned: bool,
    seed: [u32; 4],
}

const MD4_START: [u32; 4] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476];
/// The highest hash is kept free: it says "end of directory" in a cookie.
const RESERVED_HASH: u32 = 0xFFFF_FFFE;

impl Hasher {
    /// The function a directory's root names; `None` for one this program
    /// cannot compute (SipHash, which needs a key).
    ///
    /// `unsigned` is the superblock's word for versions 0 to 2; versions 3 to 5
    /// are their unsigned forms.
    pub(crate) fn new(hash_version: u8, unsigned: bool, seed: [u32; 4]) -> Option<Self> {
        let (version, unsigned) = match hash_version {
            0 => (HashVersion::Legacy, unsigned),
            1 => (HashVersion::HalfMd4, unsigned),
            2 => (HashVersion::Tea, unsigned),
            3 => (HashVersion::Legacy, true),
            4 => (HashVersion::HalfMd4, true),
            5 => (HashVersion::Tea, true),
            _ => return None,
        };
        Some(Self {
            version,
            unsigned,
            seed,
        })
    }

    /// The hash of a name; its lowest bit is 0.
    pub fn hash(&self, name: &[u8]) -> u32 {
        self.hash_and_minor(name).0
    }

    /// The hash of a name, and 32 bits more that tell names of one hash apart as a rule.
    /// Only the first is part of the format.
    pub(crate) fn hash_and_minor(&self, name: &[u8]) -> (u32, u32) {
        let [first, ..] = self.start();
        let (hash, minor) = match self.version {
            HashVersion::Legacy => (self.legacy(name), crc32c_raw(first, name)),
            HashVersion::HalfMd4 => self.half_md4(name),
            HashVersion::Tea => self.tea(name),
        };
        let hash = hash & !1;
        if hash == RESERVED_HASH {
            (hash - 2, minor)
        } else {
            (hash, minor)
        }
    }

    fn widen(&self, byte: u8) -> u32 {
        if self.unsigned {
            u32::from(byte)
        } else {
            i32::from(byte.cast_signed()).cast_unsigned()
        }
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut hash0, mut hash1) = (0x12A3_FE2Du32, 0x37AB_E8F9u32);
        for &byte in name {
            let mixed = hash0 ^ self.widen(byte).wrapping_mul(7_152_373);
            let mut hash = hash1.wrapping_add(mixed);
            if hash & 0x8000_0000 != 0 {
                hash = hash.wrapping_sub(0x7FFF_FFFF);
            }
            hash1 = hash0;
            hash0 = hash;
        }
        hash0 << 1
    }

    fn start(&self) -> [u32; 4] {
        if self.seed == [0; 4] {
            MD4_START
        } else {
            self.seed
        }
    }

    fn half_md4(&self, name: &[u8]) -> (u32, u32) {
        let mut state = self.start();
        let mut left = name;
        while !left.is_empty() {
            half_md4_transform(&mut state, &self.words::<8>(left));
            left = left.get(32..).unwrap_or(&[]);
        }
        let [_, hash, minor, _] = state;
        (hash, minor)
    }

    fn tea(&self, name: &[u8]) -> (u32, u32) {
        let mut state = self.start();
        let mut left = name;
        while !left.is_empty() {
            tea_transform(&mut state, self.words::<4>(left));
            left = left.get(16..).unwrap_or(&[]);
        }
        let [hash, minor, ..] = state;
        (hash, minor)
    }

    /// The next `4 * N` bytes as words, padded with the remaining length.
    fn words<const N: usize>(&self, name: &[u8]) -> [u32; N] {
        // The low byte of the length, four times: names have at most 255 bytes.
        let pad = (name.len() & 0xFF) as u32 * 0x0101_0101;
        let mut words = [pad; N];
        for (word, chunk) in words.iter_mut().zip(name.chunks(4)) {
            *word = chunk
                .iter()
                .fold(pad, |word, &byte| self.widen(byte).wrapping_add(word << 8));
        }
        words
    }
}

/// Three rounds of eight steps of MD4.
fn half_md4_transform(state: &mut [u32; 4], input: &[u32; 8]) {
    const K2: u32 = 0x5A82_7999;
    const K3: u32 = 0x6ED9_EBA1;
    let [i0, i1, i2, i3, i4, i5, i6, i7] = *input;
    let choose = |x: u32, y: u32, z: u32| z ^ (x & (y ^ z));
    let majority = |x: u32, y: u32, z: u32| (x & y).wrapping_add((x ^ y) & z);
    let parity = |x: u32, y: u32, z: u32| x ^ y ^ z;
    let mixed = half_md4_round(
        *state,
        [i0, i1, i2, i3, i4, i5, i6, i7],
        [3, 7, 11, 19],
        choose,
    );
    let words = [i1, i3, i5, i7, i0, i2, i4, i6].map(|word| word.wrapping_add(K2));
    let mixed = half_md4_round(mixed, words, [3, 5, 9, 13], majority);
    let words = [i3, i7, i2, i6, i1, i5, i0, i4].map(|word| word.wrapping_add(K3));
    let mixed = half_md4_round(mixed, words, [3, 9, 11, 15], parity);
    for (old, new) in state.iter_mut().zip(mixed) {
        *old = old.wrapping_add(new);
    }
}

/// One round; the names are those of RFC 1320.
fn half_md4_round(
    state: [u32; 4],
    words: [u32; 8],
    [s0, s1, s2, s3]: [u32; 4],
    mix: impl Fn(u32, u32, u32) -> u32,
) -> [u32; 4] {
    let [mut a, mut b, mut c, mut d] = state;
    let shifts = [s0, s1, s2, s3, s0, s1, s2, s3];
    for (word, shift) in words.into_iter().zip(shifts) {
        let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(word);
        (a, b, c, d) = (d, sum.rotate_left(shift), b, c);
    }
    [a, b, c, d]
}

/// Sixteen rounds of the Tiny Encryption Algorithm, the input as key.
fn tea_transform(state: &mut [u32; 4], [k0, k1, k2, k3]: [u32; 4]) {
    const DELTA: u32 = 0x9E37_79B9;
    let [mut b0, mut b1, _, _] = *state;
    let mut sum = 0u32;
    let half = |value: u32, sum: u32, left: u32, right: u32| {
        (value << 4).wrapping_add(left) ^ value.wrapping_add(sum) ^ (value >> 5).wrapping_add(right)
    };
    for _ in 0..16 {
        sum = sum.wrapping_add(DELTA);
        b0 = b0.wrapping_add(half(b1, sum, k0, k1));
        b1 = b1.wrapping_add(half(b0, sum, k2, k3));
    }
    let [s0, s1, ..] = state;
    *s0 = s0.wrapping_add(b0);
    *s1 = s1.wrapping_add(b1);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values printed by `debugfs -R "dx_hash -h VERSION [-s SEED] NAME"` of e2fsprogs 1.47.
    #[test]
    fn hashes_agree_with_debugfs() {
        let long = "a_rather_long_file_name_with_more_than_thirty_two_bytes.txt";
        let none = [0; 4];
        // 00010203-0405-0607-0809-0a0b0c0d0e0f
        let seed = [0x0302_0100, 0x0706_0504, 0x0B0A_0908, 0x0F0E_0D0C];
        for (version, seed, name, expected) in [
            (0, none, "a", 0xE74B_53E2),
            (0, none, "hello", 0x3225_2546),
            (0, seed, long, 0x8374_C500),
            (0, none, "é", 0x1108_3C86),
            (1, none, "a", 0xD5FA_7D7A),
            (1, none, "hello", 0x1746_DA32),
            (1, seed, "hello", 0xAF3D_0524),
            (1, none, long, 0xB700_63DC),
            (1, seed, long, 0x6D00_34A2),
            (1, none, "é", 0x89D4_704E),
            (1, seed, "é", 0x943D_572A),
            (2, none, "a", 0x6D0E_A4C0),
            (2, seed, "a", 0x0D96_3696),
            (2, none, "hello", 0x6F5B_B1A8),
            (2, none, long, 0x7D19_A19A),
            (2, seed, long, 0x9037_C614),
            (2, none, "é", 0x591E_9BD6),
            (2, seed, "é", 0x7D7F_22B8),
        ] {
            let hasher = Hasher::new(version, false, seed).unwrap();
            let hash = hasher.hash(name.as_bytes());
            assert_eq!(hash, expected, "version {version} of {name}");
        }
    }

    #[test]
    fn unsigned_versions_differ_only_for_high_bytes() {
        for version in 0..3 {
            let signed = Hasher::new(version, false, [0; 4]).unwrap();
            let unsigned = Hasher::new(version + 3, false, [0; 4]).unwrap();
            assert_eq!(signed.hash(b"plain"), unsigned.hash(b"plain"));
            assert_ne!(signed.hash("é".as_bytes()), unsigned.hash("é".as_bytes()));
        }
    }

    #[test]
    fn siphash_cannot_be_computed() {
        assert!(Hasher::new(6, false, [0; 4]).is_none());
    }
}
