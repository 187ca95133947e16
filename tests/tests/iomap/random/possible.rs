//! What a power cut may leave of an area.

use std::ops::Range;

use anyhow::{Context, Result, ensure};

use super::area::{SIZE_MAX, VALUES};

/// For each byte the values it may have, a bit each: the lowest for zero, the others for those
/// of the area's own. Before a change is made it is said here; after a sync only what is synced
/// is possible.
#[derive(Debug)]
pub(super) struct Possible {
    values: Vec<u64>,
    /// The smallest and the largest size.
    sizes: (usize, usize),
    /// Whether the name need not be there.
    may_be_gone: bool,
}

const ZERO: u64 = 1;

/// The bit of a byte of an area with this number; `None` if that is another's.
fn bit(number: usize, byte: u8) -> Option<u64> {
    if byte == 0 {
        return Some(ZERO);
    }
    let own = usize::from(byte).checked_sub(number * VALUES)?;
    (1..=VALUES).contains(&own).then(|| 1 << own)
}

impl Possible {
    /// A file that was just made.
    pub(super) fn new() -> Self {
        Self {
            values: vec![ZERO; SIZE_MAX],
            sizes: (0, 0),
            may_be_gone: true,
        }
    }

    /// All is synced.
    pub(super) fn is_certain(&mut self, number: usize, model: &[u8]) {
        let bits: [u64; 256] = std::array::from_fn(|byte| bit(number, byte as u8).unwrap_or(0));
        let end = self.sizes.1.max(model.len()).min(SIZE_MAX);
        let (inside, behind) = self.values[..end].split_at_mut(model.len());
        for (value, byte) in inside.iter_mut().zip(model) {
            *value = bits[usize::from(*byte)];
        }
        behind.fill(ZERO);
        self.sizes = (model.len(), model.len());
        self.may_be_gone = false;
    }

    pub(super) fn may_hold(&mut self, number: usize, range: Range<usize>, byte: u8) {
        let bit = bit(number, byte).unwrap_or(0);
        let range = range.start.min(SIZE_MAX)..range.end.min(SIZE_MAX);
        self.values[range]
            .iter_mut()
            .for_each(|value| *value |= bit);
    }

    /// What is cut off may come back as zeros.
    pub(super) fn may_have_size(&mut self, size: usize) {
        let end = self.sizes.1.min(SIZE_MAX);
        if size < end {
            self.values[size..end]
                .iter_mut()
                .for_each(|value| *value |= ZERO);
        }
        self.sizes = (self.sizes.0.min(size), self.sizes.1.max(size));
    }

    /// The name is removed; another file of that name may come.
    pub(super) fn may_be_gone(&mut self) {
        self.may_have_size(0);
        self.may_be_gone = true;
    }

    /// Whether a power cut may have left this.
    pub(super) fn check(&self, number: usize, found: Option<&[u8]>) -> Result<()> {
        let Some(found) = found else {
            ensure!(self.may_be_gone, "the name is gone");
            return Ok(());
        };
        let (smallest, largest) = self.sizes;
        ensure!(
            (smallest..=largest).contains(&found.len()),
            "a size of {}, not {smallest} to {largest}",
            found.len()
        );
        for (at, (&byte, &possible)) in found.iter().zip(&self.values).enumerate() {
            let bit = bit(number, byte);
            let bit = bit.with_context(|| format!("at {at} {byte:#x}, of somebody else"))?;
            ensure!(
                possible & bit != 0,
                "at {at} {byte:#x} (bit {bit:#x}), possible are {possible:#x}"
            );
        }
        Ok(())
    }
}

#[test]
fn what_is_synced_is_certain_and_what_follows_possible() {
    let mut possible = Possible::new();
    assert!(possible.check(1, None).is_ok() && possible.check(1, Some(&[])).is_ok());
    let own = |value: usize| (VALUES + value) as u8;
    possible.is_certain(1, &[own(1), own(2), 0]);
    assert!(possible.check(1, None).is_err() && possible.check(1, Some(&[])).is_err());
    assert!(possible.check(1, Some(&[own(1), own(2), 0])).is_ok());
    assert!(possible.check(1, Some(&[0, own(2), 0])).is_err());
    possible.may_hold(1, 0..1, own(3));
    assert!(possible.check(1, Some(&[own(3), own(2), 0])).is_ok());
    assert!(possible.check(1, Some(&[own(1), own(2), 0])).is_ok());
    assert!(possible.check(1, Some(&[own(1), own(3), 0])).is_err());
    possible.may_have_size(1);
    assert!(possible.check(1, Some(&[own(3)])).is_ok());
    assert!(possible.check(1, Some(&[own(3), 0, 0])).is_ok());
    // Another's value, and garbage.
    assert!(possible.check(1, Some(&[1])).is_err() && possible.check(1, Some(&[0xEE])).is_err());
}
