//! Runs of bits in a bitmap, as the format numbers them: bit 0 is the lowest of byte 0.

/// Visits the runs of zero bits among the first `len` bits.
pub(crate) fn zero_runs(bits: &[u8], len: u32, mut visit: impl FnMut(u32, u32)) {
    let mut at = next_bit(bits, 0, len, false);
    while at < len {
        let end = next_bit(bits, at, len, true);
        visit(at, end - at);
        at = next_bit(bits, end, len, false);
    }
}

/// The first bit from `at` on that is `wanted`, or `len`. Bits that are not
/// there are ones. Whole bytes of the other kind are passed over at once.
pub(super) fn next_bit(bits: &[u8], mut at: u32, len: u32, wanted: bool) -> u32 {
    while at < len {
        let byte = bits.get(at as usize / 8).copied().unwrap_or(!0);
        let candidates = if wanted { byte } else { !byte } >> (at % 8);
        if candidates != 0 {
            return (at + candidates.trailing_zeros()).min(len);
        }
        at = (at / 8 + 1) * 8;
    }
    len
}

/// True if all bits of the run are `wanted`.
pub(super) fn all_are(bits: &[u8], start: u32, len: u32, wanted: bool) -> bool {
    let end = start.saturating_add(len);
    next_bit(bits, start, end, !wanted) >= end
}

/// The number of zeros among the first `len` bits.
pub(super) fn count_zeros(bits: &[u8], len: u32) -> u32 {
    let mut zeros = 0;
    zero_runs(bits, len, |_, len| zeros += len);
    zeros
}

/// Makes all bits of the run ones (`value`) or zeros. Bits that are not there stay so.
pub(super) fn fill(bits: &mut [u8], start: u32, len: u32, value: bool) {
    let end = start.saturating_add(len);
    let mut at = start;
    while at < end {
        let next = (at / 8 + 1).saturating_mul(8).min(end);
        let width = next - at;
        let mask = ((0xFFu16 >> (8 - width)) << (at % 8)) as u8;
        if let Some(byte) = bits.get_mut(at as usize / 8) {
            *byte = if value { *byte | mask } else { *byte & !mask };
        }
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(bits: &[u8], len: u32) -> Vec<(u32, u32)> {
        let mut runs = Vec::new();
        zero_runs(bits, len, |start, len| runs.push((start, len)));
        runs
    }

    #[test]
    fn free_runs_are_those_of_the_zero_bits() {
        assert_eq!(
            runs(&[0b1110_0011, 0, 0xFF, 0x7F], 32),
            [(2, 3), (8, 8), (31, 1)]
        );
        assert_eq!(runs(&[0, 0], 12), [(0, 12)]);
        assert_eq!(runs(&[0xFF], 8), []);
        assert_eq!(runs(&[], 8), []);
    }

    #[test]
    fn filling_changes_the_run_and_nothing_else() {
        for start in 0..20 {
            for len in 0..=(24 - start) {
                let mut bits = [0u8; 3];
                fill(&mut bits, start, len, true);
                assert!(all_are(&bits, start, len, true));
                assert!(all_are(&bits, 0, start, false));
                assert_eq!(count_zeros(&bits, 24), 24 - len);
                fill(&mut bits, start, len, false);
                assert_eq!(bits, [0; 3]);
            }
        }
    }
}
