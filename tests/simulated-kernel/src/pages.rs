//! The page cache of a file; a folio is one block.

use std::collections::BTreeMap;

/// One folio.
#[derive(Debug, Clone)]
pub(crate) struct Folio {
    pub(crate) bytes: Vec<u8>,
    pub(crate) dirty: bool,
}

/// The folios of a file, by their number.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    pub(crate) folios: BTreeMap<u64, Folio>,
}

impl Pages {
    /// The numbers of dirty folios in a range of numbers.
    pub(crate) fn dirty(&self, first: u64, end: u64) -> Vec<u64> {
        match first < end {
            true => {
                let range = self.folios.range(first..end);
                let dirty = range.filter(|(_, folio)| folio.dirty);
                dirty.map(|(number, _)| *number).collect()
            }
            false => Vec::new(),
        }
    }

    /// Clean folios are dropped.
    pub(crate) fn drop_clean(&mut self) {
        self.folios.retain(|_, folio| folio.dirty);
    }

    /// Folios of a range of numbers are dropped, clean or not.
    pub(crate) fn drop_range(&mut self, first: u64, end: u64) {
        self.folios
            .retain(|number, _| *number < first || *number >= end);
    }
}
