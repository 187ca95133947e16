//! Transaction numbers, which wrap.

use std::fmt;

/// The number of a transaction (`h_sequence`). Numbers wrap after 2^32, so
/// there is an order only between ones less than 2^31 apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tid(pub(crate) u32);

impl Tid {
    /// The transaction after this one.
    pub(crate) fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// True if this transaction is younger than `other`.
    pub(crate) fn is_after(self, other: Self) -> bool {
        matches!(self.0.wrapping_sub(other.0), 1..0x8000_0000)
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::Tid;

    #[test]
    fn order_survives_the_wrap() {
        assert!(Tid(8).is_after(Tid(7)));
        assert!(!Tid(7).is_after(Tid(7)));
        assert!(!Tid(7).is_after(Tid(8)));
        assert!(Tid(3).is_after(Tid(u32::MAX - 3)));
        assert!(!Tid(u32::MAX - 3).is_after(Tid(3)));
        assert_eq!(Tid(u32::MAX).next(), Tid(0));
    }
}
