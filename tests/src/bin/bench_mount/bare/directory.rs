//! A directory: names, and the order they are listed in.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

/// Cookies of "." and "..", which are not stored.
pub(super) const DOTS: u64 = 2;

/// Names of nodes.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) parent: u64,
    names: HashMap<Arc<[u8]>, Entry>,
    /// In the order they came; a cookie is never used again.
    listing: BTreeMap<u64, (Arc<[u8]>, u64)>,
    last_cookie: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    node: u64,
    cookie: u64,
}

impl Directory {
    /// Without names.
    pub(super) fn new(parent: u64) -> Self {
        Self {
            parent,
            names: HashMap::new(),
            listing: BTreeMap::new(),
            last_cookie: DOTS,
        }
    }

    /// The node of this name.
    pub(super) fn find(&self, name: &[u8]) -> Option<u64> {
        self.names.get(name).map(|entry| entry.node)
    }

    /// Whether there are no names.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Gives a node this name, which nothing else has.
    pub(super) fn add(&mut self, name: &[u8], node: u64) {
        let name: Arc<[u8]> = name.into();
        self.last_cookie += 1;
        let cookie = self.last_cookie;
        self.listing.insert(cookie, (Arc::clone(&name), node));
        self.names.insert(name, Entry { node, cookie });
    }

    /// Takes the name away; returns what had it.
    pub(super) fn remove(&mut self, name: &[u8]) -> Option<u64> {
        let entry = self.names.remove(name)?;
        self.listing.remove(&entry.cookie);
        Some(entry.node)
    }

    /// Cookie, name and node of each entry behind a cookie.
    pub(super) fn after(&self, cookie: u64) -> impl Iterator<Item = (u64, &[u8], u64)> {
        let range = (Bound::Excluded(cookie), Bound::Unbounded);
        let entries = self.listing.range(range);
        entries.map(|(&cookie, (name, node))| (cookie, &**name, *node))
    }
}
