//! The content of a file in memory: sparse, so that files of terabytes are possible.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// No block is smaller, so whatever moves whole blocks moves whole pages.
pub const PAGE_BYTES: u64 = 1024;

type Page = [u8; PAGE_BYTES as usize];

/// Bytes; those that never were written are zeros.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// By number. None of them is all zeros, so that equal contents are equal values.
    pages: BTreeMap<u64, Arc<Page>>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} pages)", self.pages.len())
    }
}

/// The pages a range touches, and which bytes of each.
fn parts(range: Range<u64>) -> impl Iterator<Item = (u64, Range<usize>)> {
    let first = range.start / PAGE_BYTES;
    let end = range.end.div_ceil(PAGE_BYTES);
    (first..end).map(move |page| {
        let start = page * PAGE_BYTES;
        let within = |at: u64| (at.clamp(start, start + PAGE_BYTES) - start) as usize;
        (page, within(range.start)..within(range.end))
    })
}

impl Content {
    /// Puts bytes in.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        let mut left = data;
        for (number, range) in parts(offset..offset.saturating_add(data.len() as u64)) {
            let (piece, rest) = left.split_at(range.len().min(left.len()));
            left = rest;
            let page = self
                .pages
                .entry(number)
                .or_insert_with(|| Arc::new([0; PAGE_BYTES as usize]));
            Arc::make_mut(page)[range].copy_from_slice(piece);
            if page.iter().all(|&byte| byte == 0) {
                self.pages.remove(&number);
            }
        }
    }

    /// Makes a range read as zeros; it may reach to the end of all files.
    pub fn zero(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let whole = range.start.div_ceil(PAGE_BYTES)..range.end / PAGE_BYTES;
        if whole.start < whole.end {
            let gone: Vec<u64> = self.pages.range(whole).map(|(number, _)| *number).collect();
            for number in gone {
                self.pages.remove(&number);
            }
        }
        for edge in [range.start / PAGE_BYTES, range.end / PAGE_BYTES] {
            let start = (edge * PAGE_BYTES).max(range.start);
            let end = edge
                .saturating_mul(PAGE_BYTES)
                .saturating_add(PAGE_BYTES)
                .min(range.end);
            if start < end && self.pages.contains_key(&edge) {
                self.write(start, &vec![0; (end - start) as usize]);
            }
        }
    }

    /// A copy of a range.
    pub fn read(&self, range: Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, range) in parts(range) {
            match self.pages.get(&number) {
                Some(page) => bytes.extend_from_slice(&page[range]),
                None => bytes.resize(bytes.len() + range.len(), 0),
            }
        }
        bytes
    }

    /// Takes a range of whole pages out; what follows moves down.
    pub fn collapse(&mut self, offset: u64, len: u64) {
        self.zero(offset..offset.saturating_add(len));
        self.shift(offset, |number| number.checked_sub(len / PAGE_BYTES));
    }

    /// Puts zeros of whole pages in; what follows moves up.
    pub fn insert(&mut self, offset: u64, len: u64) {
        self.shift(offset, |number| number.checked_add(len / PAGE_BYTES));
    }

    fn shift(&mut self, from: u64, place: impl Fn(u64) -> Option<u64>) {
        let moved = self.pages.split_off(&(from / PAGE_BYTES));
        for (number, page) in moved {
            if let Some(number) = place(number) {
                self.pages.insert(number, page);
            }
        }
    }

    /// Two contents exchange ranges of whole pages.
    pub fn exchange(a: &mut Self, a_offset: u64, b: &mut Self, b_offset: u64, len: u64) {
        let pages = len / PAGE_BYTES;
        let take = |content: &mut Self, offset: u64| {
            let first = offset / PAGE_BYTES;
            let mut tail = content.pages.split_off(&first);
            let mut behind = tail.split_off(&(first.saturating_add(pages)));
            content.pages.append(&mut behind);
            tail
        };
        let (from_a, from_b) = (take(a, a_offset), take(b, b_offset));
        let put = |content: &mut Self, offset: u64, other: u64, taken: BTreeMap<u64, Arc<Page>>| {
            let place = |number: u64| number - other / PAGE_BYTES + offset / PAGE_BYTES;
            let taken = taken.into_iter();
            content
                .pages
                .extend(taken.map(|(number, page)| (place(number), page)));
        };
        put(a, a_offset, b_offset, from_b);
        put(b, b_offset, a_offset, from_a);
    }

    /// Ranges that hold something else than zeros, in whole pages.
    pub fn data(&self) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for number in self.pages.keys() {
            let start = number * PAGE_BYTES;
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end += PAGE_BYTES,
                _ => ranges.push(start..start + PAGE_BYTES),
            }
        }
        ranges
    }

    /// The first byte in which two contents differ, with both of its values.
    pub fn first_difference(&self, other: &Self) -> Option<(u64, u8, u8)> {
        let zeros: Page = [0; PAGE_BYTES as usize];
        let numbers: std::collections::BTreeSet<&u64> =
            self.pages.keys().chain(other.pages.keys()).collect();
        for number in numbers {
            let page = |content: &Self| content.pages.get(number).map_or(zeros, |page| **page);
            let (a, b) = (page(self), page(other));
            if let Some(at) = (0..a.len()).find(|&at| a[at] != b[at]) {
                return Some((number * PAGE_BYTES + at as u64, a[at], b[at]));
            }
        }
        None
    }

    /// True if each byte of `self` is that of `old` or that of `new`.
    pub fn is_between(&self, old: &Self, new: &Self) -> bool {
        let zeros: Page = [0; PAGE_BYTES as usize];
        let contents = [self, old, new];
        let numbers: std::collections::BTreeSet<&u64> = contents
            .iter()
            .flat_map(|content| content.pages.keys())
            .collect();
        numbers.into_iter().all(|number| {
            let [own, old, new] =
                contents.map(|content| content.pages.get(number).map_or(zeros, |page| **page));
            (0..own.len()).all(|at| own[at] == old[at] || own[at] == new[at])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// The same against bytes in a row.
    #[test]
    fn a_content_is_what_bytes_would_be() {
        let mut rng = Rng::new(7);
        let (mut content, mut bytes) = (Content::default(), vec![0u8; 64 << 10]);
        for _ in 0..3000 {
            let offset = rng.below(60 << 10);
            let len = rng.below(4 << 10);
            let (start, end) = (offset as usize, (offset + len) as usize);
            let (page, pages) = (offset / 1024 * 1024, len / 1024 * 1024);
            match rng.below(4) {
                0 => {
                    let data = rng.bytes(len as usize);
                    content.write(offset, &data);
                    bytes[start..end].copy_from_slice(&data);
                }
                1 => {
                    content.zero(offset..offset + len);
                    bytes[start..end].fill(0);
                }
                2 => {
                    content.collapse(page, pages);
                    bytes.drain(page as usize..(page + pages) as usize);
                    bytes.resize(64 << 10, 0);
                }
                _ => {
                    content.insert(page, pages);
                    bytes.splice(
                        page as usize..page as usize,
                        std::iter::repeat_n(0, pages as usize),
                    );
                    bytes.truncate(64 << 10);
                    content.zero(64 << 10..u64::MAX);
                }
            }
            assert_eq!(content.read(0..64 << 10), bytes);
        }
        let mut other = Content::default();
        other.write(5000, &[1; 3000]);
        let before = (content.clone(), other.clone());
        Content::exchange(&mut content, 2048, &mut other, 4096, 8192);
        assert_eq!(other.read(4096..12_288), before.0.read(2048..10_240));
        assert_eq!(content.read(2048..10_240), before.1.read(4096..12_288));
        Content::exchange(&mut content, 2048, &mut other, 4096, 8192);
        assert_eq!((content, other), before);
    }
}
