//! Members with holes: where their data belongs.
//!
//! Four ways to say it, all of GNU tar ("Storing Sparse Files" in its manual):
//! in the header and blocks behind it (type `S`), and in extended headers in
//! three versions, of which 1.0 puts the map in front of the data. In all of
//! them the data of the pieces follows without the holes, each piece beginning at
//! a whole block.

use super::Parsed;
use super::archive::Archive;
use super::header::{BLOCK_BYTES, Block, GnuSparse, number};
use super::pax::unsigned;
use crate::Result;
use crate::tree::DataRange;

/// Pieces of one member, at most: 4 Mi are 100 MiB of memory.
const PIECES_MAX: usize = 4 << 20;
/// Digits of a number in a map: 2^64 has 20.
const DIGITS_MAX: usize = 20;

/// What extended headers say about holes.
#[derive(Debug, Clone, Default)]
pub(super) struct PaxSparse {
    major: Option<u64>,
    minor: Option<u64>,
    /// The member's name; its header has a made-up one.
    pub(super) name: Option<Vec<u8>>,
    /// Length with the holes.
    size: Option<u64>,
    /// Offset and length of pieces (versions 0.0 and 0.1).
    pieces: Option<Vec<(u64, u64)>>,
    /// An offset whose length comes in the next record (0.0).
    offset: Option<u64>,
}

/// Where a member's data is.
#[derive(Debug)]
pub(super) struct Layout {
    /// Length with the holes.
    pub(super) size_bytes: u64,
    pub(super) data: Vec<DataRange>,
}

impl PaxSparse {
    /// Takes a record; `keyword` is what follows "GNU.sparse.".
    pub(super) fn record(&mut self, keyword: &[u8], value: &[u8]) -> Parsed<()> {
        let number = || {
            unsigned(value).ok_or_else(|| {
                let keyword = String::from_utf8_lossy(keyword);
                format!("its GNU.sparse.{keyword} is not a number in range")
            })
        };
        match keyword {
            b"major" => self.major = Some(number()?),
            b"minor" => self.minor = Some(number()?),
            b"size" | b"realsize" => self.size = Some(number()?),
            b"name" if value.contains(&0) => return Err("its name contains a NUL".to_owned()),
            b"name" => self.name = Some(value.to_vec()),
            b"offset" => self.offset = Some(number()?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or_else(damaged)?;
                let pieces = self.pieces.get_or_insert_default();
                pieces.push((offset, number()?));
            }
            b"map" => self.pieces = Some(comma_list(value)?),
            _ => {}
        }
        Ok(())
    }

    /// True if the member has holes, or could have.
    pub(super) fn is_present(&self) -> bool {
        self.size.is_some() || self.major.is_some() || self.pieces.is_some()
    }

    /// The layout of a member whose stored bytes begin at `start` and are there.
    pub(super) fn layout(
        &self,
        archive: &Archive,
        start: u64,
        stored_bytes: u64,
    ) -> Result<Parsed<Layout>> {
        let Some(size_bytes) = self.size else {
            return Ok(Err(damaged()));
        };
        match (self.major.unwrap_or(0), self.minor.unwrap_or(0)) {
            (0, _) => {
                let pieces = self.pieces.clone().unwrap_or_default();
                Ok(layout(pieces, size_bytes, start, stored_bytes))
            }
            (1, 0) => {
                let mut map = Map::new(archive, start, stored_bytes);
                Ok(map.pieces()?.and_then(|pieces| {
                    let map_bytes = map.whole_blocks();
                    let left = stored_bytes.checked_sub(map_bytes).ok_or_else(damaged)?;
                    layout(pieces, size_bytes, start.saturating_add(map_bytes), left)
                }))
            }
            (major, minor) => Ok(Err(format!(
                "is a sparse file of version {major}.{minor}, which is not supported"
            ))),
        }
    }
}

impl GnuSparse {
    /// The layout of a member of type `S`, and where the next header is: blocks
    /// with further pieces may lie between its header and its data.
    pub(super) fn layout(
        &self,
        archive: &mut Archive,
        behind_header: u64,
        stored_bytes: u64,
    ) -> Result<Parsed<(Layout, u64)>> {
        let mut pieces = Vec::new();
        let mut start = behind_header;
        let mut is_extended = self.is_extended;
        let Some(()) = table(&self.pieces, &mut pieces) else {
            return Ok(Err(damaged()));
        };
        while is_extended {
            let Some(block) = archive.block(start)? else {
                return Err(archive.cut_off("in a sparse header"));
            };
            start = start.saturating_add(BLOCK_BYTES);
            let (table_bytes, flag) = split_extension(&block);
            if table(table_bytes, &mut pieces).is_none() || pieces.len() > PIECES_MAX {
                return Ok(Err(damaged()));
            }
            is_extended = flag;
        }
        let Ok(size_bytes) = u64::try_from(self.real_size) else {
            return Ok(Err(damaged()));
        };
        Ok(layout(pieces, size_bytes, start, stored_bytes).map(|layout| (layout, start)))
    }
}

/// 21 pieces of 24 bytes, and whether another block follows.
fn split_extension(block: &Block) -> (&[u8], bool) {
    let (table, rest) = block.split_at(504);
    (table, rest.first().is_some_and(|&flag| flag != 0))
}

/// Pairs of numbers of 12 bytes; an empty one ends the table.
fn table(bytes: &[u8], pieces: &mut Vec<(u64, u64)>) -> Option<()> {
    for pair in bytes.chunks_exact(24) {
        let (offset, len) = pair.split_at(12);
        if len.first().is_none_or(|&byte| byte == 0) {
            break;
        }
        let offset = u64::try_from(number(offset)?).ok()?;
        pieces.push((offset, u64::try_from(number(len)?).ok()?));
    }
    Some(())
}

/// "OFFSET,LENGTH,OFFSET,LENGTH" (version 0.1).
fn comma_list(text: &[u8]) -> Parsed<Vec<(u64, u64)>> {
    let mut numbers = text.split(|&byte| byte == b',').map(unsigned);
    let mut pieces = Vec::new();
    while let Some(offset) = numbers.next() {
        let len = numbers.next().flatten();
        pieces.push(offset.zip(len).ok_or_else(damaged)?);
    }
    Ok(pieces)
}

/// The map in front of the data (version 1.0): decimal numbers, a line each: how
/// many pieces, then offset and length of each.
struct Map<'a> {
    archive: &'a Archive,
    /// Where it begins.
    start: u64,
    /// Bytes it can have.
    stored_bytes: u64,
    /// Bytes that have been fetched, of them those of `buffer` last.
    fetched: u64,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that have been used.
    used: usize,
}

impl<'a> Map<'a> {
    const BUFFER_BYTES: u64 = 64 << 10;

    fn new(archive: &'a Archive, start: u64, stored_bytes: u64) -> Self {
        Self {
            archive,
            start,
            stored_bytes,
            fetched: 0,
            buffer: Vec::new(),
            used: 0,
        }
    }

    fn pieces(&mut self) -> Result<Parsed<Vec<(u64, u64)>>> {
        let count = self.number()?;
        let count = count.and_then(|count| usize::try_from(count).ok());
        let Some(count) = count.filter(|&count| count <= PIECES_MAX) else {
            return Ok(Err(damaged()));
        };
        let mut pieces = Vec::new();
        for _ in 0..count {
            let (offset, len) = (self.number()?, self.number()?);
            let Some(piece) = offset.zip(len) else {
                return Ok(Err(damaged()));
            };
            pieces.push(piece);
        }
        Ok(Ok(pieces))
    }

    /// The next line; `None` if it is not a number.
    fn number(&mut self) -> Result<Option<u64>> {
        let mut digits = Vec::with_capacity(DIGITS_MAX);
        loop {
            match self.byte()? {
                Some(b'\n') => return Ok(unsigned(&digits)),
                Some(digit) if digits.len() < DIGITS_MAX => digits.push(digit),
                _ => return Ok(None),
            }
        }
    }

    fn byte(&mut self) -> Result<Option<u8>> {
        if self.used == self.buffer.len() {
            let left = self.stored_bytes.saturating_sub(self.fetched);
            let len = left.min(Self::BUFFER_BYTES);
            self.buffer.resize(usize::try_from(len).unwrap_or(0), 0);
            let at = self.start.saturating_add(self.fetched);
            self.archive.read(&mut self.buffer, at)?;
            self.fetched += len;
            self.used = 0;
        }
        let byte = self.buffer.get(self.used).copied();
        self.used += usize::from(byte.is_some());
        Ok(byte)
    }

    /// Bytes of the blocks the map fills.
    fn whole_blocks(&self) -> u64 {
        let ahead = self.buffer.len() - self.used;
        let used = self.fetched - u64::try_from(ahead).unwrap_or(0);
        used.next_multiple_of(BLOCK_BYTES)
    }
}

/// Checks pieces and finds each one's place in the archive.
fn layout(
    pieces: Vec<(u64, u64)>,
    size_bytes: u64,
    start: u64,
    stored_bytes: u64,
) -> Parsed<Layout> {
    if i64::try_from(size_bytes).is_err() {
        return Err("its size is out of range".to_owned());
    }
    let mut data: Vec<DataRange> = Vec::new();
    let (mut end, mut stored): (u64, u64) = (0, 0);
    for (offset, len) in pieces {
        let piece_end = offset.checked_add(len).ok_or_else(damaged)?;
        if offset < end || piece_end > size_bytes {
            return Err(damaged());
        }
        if len == 0 {
            continue;
        }
        if !stored.is_multiple_of(BLOCK_BYTES) {
            return Err("a piece of a sparse file other than the last is not whole blocks".into());
        }
        let source_offset = start.saturating_add(stored);
        match data.last_mut() {
            Some(last) if last.offset + last.len == offset => last.len += len,
            _ => data.push(DataRange {
                offset,
                len,
                source_offset,
            }),
        }
        stored = stored.checked_add(len).ok_or_else(damaged)?;
        end = piece_end;
    }
    if stored > stored_bytes {
        return Err(damaged());
    }
    Ok(Layout { size_bytes, data })
}

fn damaged() -> String {
    "the map of its holes is damaged".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_must_rise_and_be_there() {
        let found = layout(
            vec![(0, 512), (512, 512), (4096, 3), (9000, 0)],
            9000,
            100,
            1027,
        );
        let data = found.expect("valid").data;
        let ranges: Vec<_> = data
            .iter()
            .map(|d| (d.offset, d.len, d.source_offset))
            .collect();
        assert_eq!(ranges, [(0, 1024, 100), (4096, 3, 1124)]);
        for (pieces, size, stored) in [
            (vec![(512, 512), (0, 512)], 4096, 1024),
            (vec![(0, 512), (256, 512)], 4096, 1024),
            (vec![(0, 512)], 4096, 511),
            (vec![(4000, 512)], 4096, 512),
            (vec![(u64::MAX, 2)], 4096, 512),
            (vec![(0, 100), (512, 512)], 4096, 612),
            (vec![], u64::MAX, 0),
        ] {
            assert!(
                layout(pieces.clone(), size, 0, stored).is_err(),
                "{pieces:?}"
            );
        }
    }
}
