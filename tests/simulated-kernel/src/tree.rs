//! One mapping tree of an inode: records that do not overlap (5.1, 5.3, 5.8).

use std::collections::BTreeMap;

use crate::mapping::Mapping;

/// Limit of a tree's records in bytes unless CONFIG says otherwise.
pub const TREE_BYTES_DEFAULT: u32 = 262_144;
/// Bytes one record counts for.
const RECORD_BYTES: u64 = 32;

/// A tree of records, by file position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MappingTree {
    records: BTreeMap<u64, Mapping>,
}

impl MappingTree {
    /// The record that contains `pos`.
    #[must_use]
    pub fn lookup(&self, pos: u64) -> Option<Mapping> {
        let (_, record) = self.records.range(..=pos).next_back()?;
        record.covers(pos).then_some(*record)
    }

    /// All records, in order.
    pub fn records(&self) -> impl Iterator<Item = &Mapping> {
        self.records.values()
    }

    /// What the records count for against the limit.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.records.len() as u64 * RECORD_BYTES
    }

    /// Empties the tree; whether there was anything.
    pub fn clear(&mut self) -> bool {
        let had = !self.records.is_empty();
        self.records.clear();
        had
    }

    /// Removes `offset..end`, splitting records at the edges; whether anything was removed.
    pub fn remove(&mut self, offset: u64, end: u64) -> bool {
        let first = self.records.range(..offset).next_back();
        let mut touched: Vec<Mapping> = first
            .map(|(_, record)| *record)
            .into_iter()
            .filter(|record| record.end() > offset)
            .collect();
        if offset < end {
            touched.extend(self.records.range(offset..end).map(|(_, record)| *record));
        } else {
            touched.clear();
        }
        for record in &touched {
            self.records.remove(&record.offset);
            if record.offset < offset {
                self.put(record.part(record.offset, offset));
            }
            if record.end() > end {
                self.put(record.part(end, record.end()));
            }
        }
        !touched.is_empty()
    }

    /// Puts `new` in the place of whatever it overlaps, and merges it with its neighbours.
    /// A tree that is over `limit_bytes` is emptied before; whether that happened.
    pub fn upsert(&mut self, new: Mapping, limit_bytes: u64) -> bool {
        self.remove(new.offset, new.end());
        let dropped = self.bytes() > limit_bytes && self.clear();
        let mut merged = new;
        if let Some((_, left)) = self.records.range(..new.offset).next_back()
            && left.merges_with(&merged)
        {
            let left = *left;
            self.records.remove(&left.offset);
            merged = Mapping {
                length: left.length + merged.length,
                ..left
            };
        }
        if let Some(right) = self.records.get(&new.end()).copied()
            && merged.merges_with(&right)
        {
            self.records.remove(&right.offset);
            merged.length += right.length;
        }
        self.put(merged);
        dropped
    }

    fn put(&mut self, record: Mapping) {
        self.records.insert(record.offset, record);
    }
}
