//! Which kernel is simulated, and how rough it is.

use std::time::Duration;

/// The two kernels the protocol's document describes (section 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// "Spring 2026".
    S,
    /// The latest text found: more is validated.
    L,
}

/// A kernel's behaviour. Start from [`Personality::of`]; the fields are switches for tests
/// that want one quirk alone.
#[derive(Debug, Clone)]
pub struct Personality {
    /// Whose checks are made.
    pub variant: Variant,
    /// `WANT_IOMAP_END` is lost (S, 4.7).
    pub loses_want_end: bool,
    /// An error answered to the IOEND of writeback is lost (S, 4.8).
    pub loses_writeback_errors: bool,
    /// `newsize` becomes the disk size even if it is smaller (S, 4.8).
    pub takes_newsize_as_is: bool,
    /// Ranges of `INVAL_MAPPINGS` may wrap (S, 5.4).
    pub unchecked_inval: bool,
    /// A backing device is never let go before unmount (S, 2.3).
    pub never_closes_backing: bool,
    /// `new_addr` of IOEND counts 512-byte sectors (both, 4.8).
    pub sector_new_addr: bool,
    /// A GETATTR makes the kernel take its own size for the one on disk, so that a later IOEND
    /// may lack APPEND or not come (section 13, seen on a real kernel).
    pub getattr_loses_append: bool,
    /// A pure overwrite drops its cached mapping (5.7; a real kernel was seen not to).
    pub overwrites_drop_mappings: bool,
}

impl Personality {
    /// All that is true of a variant.
    #[must_use]
    pub fn of(variant: Variant) -> Self {
        let s = variant == Variant::S;
        Self {
            variant,
            loses_want_end: s,
            loses_writeback_errors: s,
            takes_newsize_as_is: s,
            unchecked_inval: s,
            never_closes_backing: s,
            sector_new_addr: true,
            getattr_loses_append: true,
            overwrites_drop_mappings: false,
        }
    }
}

/// Misfortune, in parts of a thousand and by a seed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chaos {
    /// Of the random numbers.
    pub seed: u64,
    /// How often a cached mapping vanishes between RETRY_CACHE and the second look.
    pub evict_permille: u32,
    /// How often a signal is pending at that moment, so that the miss ends in EINTR.
    pub interrupt_permille: u32,
    /// Longest time between a reply and its use.
    pub delay_max: Duration,
}
