//! Who may look at an inode, and who may change it.
//!
//! An operation takes the locks of all inodes it needs at once, before it begins a change;
//! they are ordered by stripe, so that two operations never wait for each other in a circle.
//! Inodes share a fixed number of locks: memory is bounded, and two inodes that meet in one
//! are merely slower.

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::types::InodeNumber;

const STRIPES: u32 = 4096;

/// See the module. A lock guards all of an inode: attributes, mapping, names or content.
#[derive(Debug)]
pub(crate) struct InodeLocks {
    stripes: Box<[RwLock<()>]>,
}

/// Locks of several inodes, held for changing them.
#[derive(Debug)]
pub(crate) struct Exclusive<'v> {
    guards: Vec<(usize, RwLockWriteGuard<'v, ()>)>,
}

impl InodeLocks {
    pub(crate) fn new() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| RwLock::new(())).collect(),
        }
    }

    fn stripe(inode: InodeNumber) -> usize {
        // Inodes of one directory are neighbours, and directories often begin at multiples of
        // a power of two: multiplied by the golden ratio both get different locks, and such
        // as do not lie side by side.
        (inode.0.wrapping_mul(0x9E37_79B9) >> (u32::BITS - STRIPES.ilog2())) as usize
    }

    /// For reading one inode.
    pub(crate) fn shared(&self, inode: InodeNumber) -> Option<RwLockReadGuard<'_, ()>> {
        self.stripes.get(Self::stripe(inode)).map(RwLock::read)
    }

    /// For changing these inodes.
    pub(crate) fn exclusive(&self, inodes: &[InodeNumber]) -> Exclusive<'_> {
        let mut wanted: Vec<usize> = inodes.iter().map(|&inode| Self::stripe(inode)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let guards = wanted
            .into_iter()
            .filter_map(|stripe| Some((stripe, self.stripes.get(stripe)?.write())));
        Exclusive {
            guards: guards.collect(),
        }
    }

    /// Takes the lock of one more inode, unless that means to wait: who holds some may not
    /// wait for another out of turn. False if it is not taken.
    pub(crate) fn extend<'v>(&'v self, held: &mut Exclusive<'v>, inode: InodeNumber) -> bool {
        let stripe = Self::stripe(inode);
        if held.guards.iter().any(|(other, _)| *other == stripe) {
            return true;
        }
        match self.stripes.get(stripe).and_then(RwLock::try_write) {
            Some(guard) => {
                held.guards.push((stripe, guard));
                true
            }
            None => false,
        }
    }
}
