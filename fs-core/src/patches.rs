//! What a fast-commit log says beyond whole inodes: mappings and names that
//! the structures on the device do not have yet. Empty for every volume whose
//! journal is clean.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::run::MappedExtent;
use crate::types::{FileBlock, InodeNumber};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Patches {
    extents: HashMap<InodeNumber, Vec<MappedExtent>>,
    names: HashMap<InodeNumber, NamePatch>,
}

/// How a directory differs from its blocks.
#[derive(Debug, Default, Clone)]
pub(crate) struct NamePatch {
    /// The directory is new: its blocks hold nothing yet.
    pub(crate) is_new: bool,
    /// Names whose records no longer count.
    pub(crate) hidden: HashSet<Vec<u8>>,
    /// Names without a record, sorted.
    pub(crate) added: Vec<(Vec<u8>, InodeNumber)>,
}

impl NamePatch {
    /// What an added name names.
    pub(crate) fn find(&self, name: &[u8]) -> Option<InodeNumber> {
        let found = self
            .added
            .binary_search_by(|(added, _)| added.as_slice().cmp(name));
        found
            .ok()
            .and_then(|at| self.added.get(at))
            .map(|(_, inode)| *inode)
    }
}

impl Patches {
    /// The whole mapping of an inode, sorted, holes left out, if it was patched.
    pub(crate) fn extents(&self, inode: InodeNumber) -> Option<&[MappedExtent]> {
        self.extents.get(&inode).map(Vec::as_slice)
    }

    /// All inodes whose mapping was patched.
    pub(crate) fn mapped(&self) -> impl Iterator<Item = (InodeNumber, &[MappedExtent])> {
        let all = self.extents.iter();
        all.map(|(inode, extents)| (*inode, extents.as_slice()))
    }

    /// All directories whose names were patched.
    pub(crate) fn named(&self) -> impl Iterator<Item = (InodeNumber, &NamePatch)> {
        self.names
            .iter()
            .map(|(directory, patch)| (*directory, patch))
    }

    /// The changes of a directory's names, if there are any.
    pub(crate) fn names(&self, directory: InodeNumber) -> Option<&NamePatch> {
        self.names.get(&directory)
    }
}

/// Patches in the making: every change costs little, however many there are.
#[derive(Debug, Default)]
pub(crate) struct PatchBuilder {
    /// By first block.
    extents: HashMap<InodeNumber, BTreeMap<FileBlock, MappedExtent>>,
    names: HashMap<InodeNumber, NameChanges>,
}

#[derive(Debug, Default)]
struct NameChanges {
    is_new: bool,
    hidden: HashSet<Vec<u8>>,
    added: BTreeMap<Vec<u8>, InodeNumber>,
}

impl PatchBuilder {
    /// True if the mapping of this inode has been set.
    pub(crate) fn has_extents(&self, inode: InodeNumber) -> bool {
        self.extents.contains_key(&inode)
    }

    /// Replaces the mapping of an inode.
    pub(crate) fn set_extents(&mut self, inode: InodeNumber, extents: Vec<MappedExtent>) {
        let by_block = extents.into_iter().map(|run| (run.file_block, run));
        self.extents.insert(inode, by_block.collect());
    }

    /// Makes `start .. end` of a mapping that has been set a hole.
    pub(crate) fn unmap(&mut self, inode: InodeNumber, start: FileBlock, end: FileBlock) {
        let runs = self.extents.entry(inode).or_default();
        // Only the last run before the range can reach into it.
        let before = runs.range(..start).next_back().map(|(_, run)| *run);
        let inside: Vec<MappedExtent> = runs.range(start..end).map(|(_, run)| *run).collect();
        for run in before.into_iter().chain(inside) {
            if run.end() <= start {
                continue;
            }
            runs.remove(&run.file_block);
            if run.file_block < start {
                let len_blocks = start.0 - run.file_block.0;
                runs.insert(run.file_block, MappedExtent { len_blocks, ..run });
            }
            if run.end() > end {
                runs.insert(end, run.starting_at(end));
            }
        }
    }

    /// Adds a run where nothing is mapped.
    pub(crate) fn insert(&mut self, inode: InodeNumber, run: MappedExtent) {
        let runs = self.extents.entry(inode).or_default();
        runs.insert(run.file_block, run);
    }

    /// Makes `directory` a new one with just "." and "..".
    pub(crate) fn new_directory(&mut self, directory: InodeNumber, parent: InodeNumber) {
        let changes = NameChanges {
            is_new: true,
            hidden: HashSet::new(),
            added: BTreeMap::from([(b".".to_vec(), directory), (b"..".to_vec(), parent)]),
        };
        self.names.insert(directory, changes);
    }

    /// Makes `name` name `inode`, whatever it named before.
    pub(crate) fn add_name(&mut self, directory: InodeNumber, name: &[u8], inode: InodeNumber) {
        let changes = self.names.entry(directory).or_default();
        changes.hidden.insert(name.to_vec());
        changes.added.insert(name.to_vec(), inode);
    }

    /// Makes `name` name nothing.
    pub(crate) fn remove_name(&mut self, directory: InodeNumber, name: &[u8]) {
        let changes = self.names.entry(directory).or_default();
        changes.hidden.insert(name.to_vec());
        changes.added.remove(name);
    }

    /// The finished patches.
    pub(crate) fn finish(self) -> Patches {
        let extents = self.extents.into_iter();
        let names = self.names.into_iter();
        Patches {
            extents: extents
                .map(|(inode, runs)| (inode, runs.into_values().collect()))
                .collect(),
            names: names
                .map(|(directory, changes)| {
                    let patch = NamePatch {
                        is_new: changes.is_new,
                        hidden: changes.hidden,
                        added: changes.added.into_iter().collect(),
                    };
                    (directory, patch)
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::ExtentState;
    use crate::types::FsBlock;

    const FILE: InodeNumber = InodeNumber(12);

    fn run(file_block: u64, len_blocks: u64, start: u64) -> MappedExtent {
        MappedExtent {
            file_block: FileBlock(file_block),
            len_blocks,
            state: ExtentState::Written(FsBlock(start)),
        }
    }

    fn after_unmap(start: u64, end: u64) -> Vec<MappedExtent> {
        let mut builder = PatchBuilder::default();
        builder.set_extents(FILE, vec![run(0, 10, 100), run(20, 10, 200)]);
        builder.unmap(FILE, FileBlock(start), FileBlock(end));
        builder.finish().extents(FILE).unwrap().to_vec()
    }

    #[test]
    fn what_is_unmapped_is_cut_out() {
        assert_eq!(after_unmap(12, 15), [run(0, 10, 100), run(20, 10, 200)]);
        assert_eq!(after_unmap(0, 10), [run(20, 10, 200)]);
        assert_eq!(
            after_unmap(3, 5),
            [run(0, 3, 100), run(5, 5, 105), run(20, 10, 200)]
        );
        assert_eq!(after_unmap(8, 22), [run(0, 8, 100), run(22, 8, 202)]);
        assert_eq!(after_unmap(0, 40), []);
        assert_eq!(after_unmap(9, 20), [run(0, 9, 100), run(20, 10, 200)]);
    }

    #[test]
    fn the_last_word_on_a_name_counts() {
        let mut builder = PatchBuilder::default();
        builder.add_name(FILE, b"a", InodeNumber(20));
        builder.add_name(FILE, b"b", InodeNumber(21));
        builder.remove_name(FILE, b"a");
        builder.add_name(FILE, b"b", InodeNumber(22));
        let patches = builder.finish();
        let patch = patches.names(FILE).unwrap();
        assert_eq!(patch.find(b"a"), None);
        assert_eq!(patch.find(b"b"), Some(InodeNumber(22)));
        assert!(patch.hidden.contains(&b"a"[..]));
    }
}
