//! Changing the records of a directory in place: finding a name and room for one in one
//! pass, inserting, removing, packing.
//!
//! An area is the part of a block that holds records, or one of the two pieces of a
//! directory kept in its inode. All functions expect an area whose records have been
//! checked ([`super::directory_block::check`]); on any other they change nothing or
//! something, but stay inside it and end.
//!
//! A record's length reaches to the next record, so free space is what a record has beyond
//! its name, and a removed record becomes space of the one before it. Only the first record
//! of an area can be empty for long: it names inode 0.

use std::ops::Range;

use super::directory_block::{
    DirectoryBlock, HEAD_BYTES, RECORD_BYTES_MIN, encoded_record_len, record_len,
};
use crate::types::InodeNumber;

/// What a record says, its type as the byte on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) inode: InodeNumber,
    /// 0 where the volume records no types.
    pub(crate) file_type: u8,
}

impl Record<'_> {
    /// Bytes the record takes.
    pub(crate) fn bytes(&self) -> usize {
        DirectoryBlock::record_bytes(self.name.len())
    }

    /// What [`insert`] changes at most if it puts this behind the record at `at`.
    pub(crate) fn room_from(&self, at: usize) -> Range<usize> {
        at..at + DirectoryBlock::record_bytes(usize::from(u8::MAX)) + self.bytes()
    }
}

/// Where a name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) at: usize,
    /// Where the record before it starts.
    pub(crate) previous: Option<usize>,
    /// Where the next record starts.
    pub(crate) end: usize,
    pub(crate) inode: InodeNumber,
}

impl Found {
    /// What [`remove`] and [`retarget`] change at most.
    pub(crate) fn range(&self) -> Range<usize> {
        self.previous.unwrap_or(self.at)..self.end
    }
}

/// What one pass over an area found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The name, if it stands there.
    pub(crate) found: Option<Found>,
    /// The first record whose space the name fits into, among those before `found`.
    pub(crate) room: Option<usize>,
}

/// Head of a record whose length stays inside its area.
#[derive(Debug, Clone, Copy)]
struct Head {
    inode: u32,
    len: usize,
    name_len: usize,
    file_type: u8,
}

impl Head {
    fn read(area: &[u8], at: usize) -> Option<Self> {
        let left = area.get(at..)?;
        let [i0, i1, i2, i3, l0, l1, name_len, file_type] = *left.first_chunk::<HEAD_BYTES>()?;
        let len = record_len(u16::from_le_bytes([l0, l1]), area.len());
        (RECORD_BYTES_MIN..=left.len())
            .contains(&len)
            .then_some(Self {
                inode: u32::from_le_bytes([i0, i1, i2, i3]),
                len,
                name_len: name_len.into(),
                file_type,
            })
    }

    /// Bytes its name needs.
    fn used(&self) -> usize {
        if self.inode == 0 {
            0
        } else {
            DirectoryBlock::record_bytes(self.name_len)
        }
    }
}

fn name_at(area: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    area.get(at + HEAD_BYTES..)?.get(..len)
}

/// Whether a record's name, as long as this one, is this one. Names of one directory often
/// begin alike, so their ends are compared first.
fn is_named(area: &[u8], at: usize, name: &[u8]) -> bool {
    let Some(found) = name_at(area, at, name.len()) else {
        return false;
    };
    let ends_alike = match (found.last_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(end), Some(wanted)) => u64::from_ne_bytes(*end) == u64::from_ne_bytes(*wanted),
        _ => found.last() == name.last(),
    };
    ends_alike && found == name
}

fn set_len(area: &mut [u8], at: usize, len: usize) -> Option<()> {
    let field = area.get_mut(at + 4..at + 6)?;
    field.copy_from_slice(&encoded_record_len(len).get().to_le_bytes());
    Some(())
}

/// Looks for `name`, and for room for it.
pub(crate) fn scan(area: &[u8], name: &[u8]) -> Scan {
    let wanted = DirectoryBlock::record_bytes(name.len());
    let mut room = None;
    let (mut at, mut previous) = (0, None);
    while let Some(head) = Head::read(area, at) {
        if head.name_len == name.len() && head.inode != 0 && is_named(area, at, name) {
            let inode = InodeNumber(head.inode);
            let found = Some(Found {
                at,
                previous,
                end: at + head.len,
                inode,
            });
            return Scan { found, room };
        }
        if room.is_none() && head.len.saturating_sub(head.used()) >= wanted {
            room = Some(at);
        }
        previous = Some(at);
        at += head.len;
    }
    Scan { found: None, room }
}

/// What `name` names: [`scan`] without an eye on room.
pub(crate) fn find(area: &[u8], name: &[u8]) -> Option<InodeNumber> {
    let mut at = 0;
    while let Some(head) = Head::read(area, at) {
        if head.name_len == name.len() && head.inode != 0 && is_named(area, at, name) {
            return Some(InodeNumber(head.inode));
        }
        at += head.len;
    }
    None
}

/// The records that name something.
pub(crate) fn records(area: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(head) = Head::read(area, at) {
            let start = at;
            at += head.len;
            if head.inode != 0 {
                return Some(Record {
                    name: name_at(area, start, head.name_len)?,
                    inode: InodeNumber(head.inode),
                    file_type: head.file_type,
                });
            }
        }
        None
    })
}

/// Writes a record of `len` bytes at `at`; what the name leaves free is zeroed up to the
/// next multiple of four.
fn put(area: &mut [u8], at: usize, len: usize, record: &Record<'_>) -> Option<()> {
    let name_len = u8::try_from(record.name.len()).ok()?;
    let place = area.get_mut(at..)?.get_mut(..record.bytes())?;
    let (head, rest) = place.split_first_chunk_mut::<HEAD_BYTES>()?;
    let [i0, i1, i2, i3] = record.inode.0.to_le_bytes();
    let [l0, l1] = encoded_record_len(len).get().to_le_bytes();
    *head = [i0, i1, i2, i3, l0, l1, name_len, record.file_type];
    let (name, padding) = rest.split_at_mut_checked(record.name.len())?;
    name.copy_from_slice(record.name);
    padding.fill(0);
    Some(())
}

/// Puts a record into the space of the one at `at`, which [`scan`] said has room.
/// `None`, and nothing happens, if it has not.
pub(crate) fn insert(area: &mut [u8], at: usize, record: &Record<'_>) -> Option<()> {
    let head = Head::read(area, at)?;
    let used = head.used();
    let left = head.len.checked_sub(used)?;
    if left < record.bytes() {
        return None;
    }
    if used > 0 {
        set_len(area, at, used)?;
    }
    put(area, at + used, left, record)
}

/// Removes a record that [`scan`] found: its space goes to the record before it; the first
/// of the area becomes an empty one. Nothing of the name stays.
pub(crate) fn remove(area: &mut [u8], found: &Found) -> Option<()> {
    let head = Head::read(area, found.at)?;
    let removed = found.at..found.at + head.len;
    match found.previous {
        Some(previous) => {
            set_len(area, previous, removed.end - previous)?;
            area.get_mut(removed)?.fill(0);
        }
        None => {
            area.get_mut(removed.clone())?.fill(0);
            set_len(area, removed.start, head.len)?;
        }
    }
    Some(())
}

/// Makes the record at `at` name another inode.
pub(crate) fn retarget(
    area: &mut [u8],
    at: usize,
    inode: InodeNumber,
    file_type: u8,
) -> Option<()> {
    let head = area.get_mut(at..)?.first_chunk_mut::<HEAD_BYTES>()?;
    let [i0, i1, i2, i3, _, _, _, code] = head;
    [*i0, *i1, *i2, *i3] = inode.0.to_le_bytes();
    *code = file_type;
    Some(())
}

/// Bytes the names of an area need together.
pub(crate) fn used_bytes(area: &[u8]) -> usize {
    records(area).map(|record| record.bytes()).sum()
}

/// Fills an area with these records, the last one stretched to its end, an empty one if
/// there are none. `None` if they do not fit: the area is then filled in part.
pub(crate) fn pack<'a>(
    area: &mut [u8],
    records: impl IntoIterator<Item = Record<'a>>,
) -> Option<()> {
    area.fill(0);
    let (mut last, mut used) = (0, 0);
    for record in records {
        let len = record.bytes();
        if used + len > area.len() {
            return None;
        }
        put(area, used, len, &record)?;
        last = used;
        used += len;
    }
    let len = area.len().checked_sub(last)?;
    set_len(area, last, len)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::format::directory_block::{Rules, check, entries};

    const RULES: Rules = Rules {
        inodes_count: 1000,
        has_types: true,
    };

    #[derive(Debug, Clone)]
    enum Step {
        Add(Vec<u8>, u32),
        Remove(Vec<u8>),
        Retarget(Vec<u8>, u32),
        Pack,
    }

    fn name() -> impl Strategy<Value = Vec<u8>> {
        // Few names, so that they meet; some of them long.
        (0u8..40, prop_oneof![Just(1usize), 2..20usize, Just(255)])
            .prop_map(|(letter, len)| vec![b'0' + letter % 75; len])
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (name(), 1..1000u32).prop_map(|(name, inode)| Step::Add(name, inode)),
            3 => name().prop_map(Step::Remove),
            1 => (name(), 1..1000u32).prop_map(|(name, inode)| Step::Retarget(name, inode)),
            1 => Just(Step::Pack),
        ]
    }

    fn apply(area: &mut Vec<u8>, model: &mut BTreeMap<Vec<u8>, u32>, step: &Step) {
        match step {
            Step::Add(name, inode) => {
                let scan = scan(area, name);
                assert_eq!(scan.found.is_some(), model.contains_key(name));
                let record = Record {
                    name,
                    inode: InodeNumber(*inode),
                    file_type: 1,
                };
                if let (None, Some(at)) = (scan.found, scan.room) {
                    insert(area, at, &record).unwrap();
                    model.insert(name.clone(), *inode);
                }
            }
            Step::Remove(name) => {
                let found = scan(area, name).found;
                assert_eq!(found.map(|f| f.inode.0), model.remove(name));
                if let Some(found) = found {
                    remove(area, &found).unwrap();
                }
            }
            Step::Retarget(name, inode) => {
                if let Some(found) = scan(area, name).found {
                    retarget(area, found.at, InodeNumber(*inode), 2).unwrap();
                    model.insert(name.clone(), *inode);
                }
            }
            Step::Pack => {
                let mut packed = vec![0xAA; area.len()];
                pack(&mut packed, records(area)).unwrap();
                *area = packed;
                let left = area.len() - used_bytes(area);
                let longest = vec![b'!'; 255];
                assert_eq!(scan(area, &longest).room.is_some(), left >= 264);
            }
        }
    }

    proptest! {
        #[test]
        fn areas_hold_what_a_map_holds(
            len in prop_oneof![
                Just(56usize), Just(1012), Just(1024), Just(65536 - 12), Just(65536)
            ],
            steps in prop::collection::vec(step(), 1..120),
        ) {
            let mut area = vec![0; len];
            pack(&mut area, []).unwrap();
            let mut model = BTreeMap::new();
            for step in &steps {
                apply(&mut area, &mut model, step);
                check(&"area", None, &area, RULES).unwrap();
            }
            let held: BTreeMap<_, _> = entries(&area, 0, RULES)
                .map(|entry| entry.map(|e| (e.name.to_vec(), e.inode.0)).unwrap())
                .collect();
            prop_assert_eq!(&held, &model);
            for (name, inode) in &model {
                prop_assert_eq!(find(&area, name), Some(InodeNumber(*inode)));
            }
        }

        #[test]
        fn damaged_areas_are_left_in_one_piece(
            mut area in prop::collection::vec(any::<u8>(), 0..200),
            at in 0..220usize,
            name in name(),
        ) {
            let found = scan(&area, &name);
            let record = Record { name: &name, inode: InodeNumber(1), file_type: 1 };
            let _ = insert(&mut area, at, &record);
            let _ = retarget(&mut area, at, InodeNumber(3), 1);
            let any = found.found.unwrap_or(Found {
                at, previous: Some(at / 2), end: at + 40, inode: InodeNumber(1),
            });
            let _ = remove(&mut area, &any);
            let _ = records(&area).count();
        }
    }

    #[test]
    fn a_record_of_64_kib_is_written_as_65535() {
        let mut area = vec![0; 65536];
        pack(&mut area, []).unwrap();
        assert_eq!(area[4..6], [0xFF, 0xFF]);
        let record = Record {
            name: b"a",
            inode: InodeNumber(11),
            file_type: 1,
        };
        insert(&mut area, 0, &record).unwrap();
        assert_eq!(area[4..6], [0xFF, 0xFF]);
        assert_eq!(records(&area).collect::<Vec<_>>(), [record]);
    }
}
