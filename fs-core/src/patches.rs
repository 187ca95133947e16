//! What a fast-commit log says beyond whole inodes: mappings and names that
//! the structures on the device do not have yet. Empty for every volume whose
//! journal is clean.

use std::collections::{HashMap, HashSet};

use crate::run::MappedExtent;
use crate::types::InodeNumber;

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
    /// Names without a record, in the order they came.
    pub(crate) added: Vec<(Vec<u8>, InodeNumber)>,
}

impl Patches {
    /// The whole mapping of an inode, sorted, holes left out, if it was patched.
    pub(crate) fn extents(&self, inode: InodeNumber) -> Option<&[MappedExtent]> {
        self.extents.get(&inode).map(Vec::as_slice)
    }

    /// Replaces the mapping of an inode.
    pub(crate) fn set_extents(&mut self, inode: InodeNumber, extents: Vec<MappedExtent>) {
        self.extents.insert(inode, extents);
    }

    /// The changes of a directory's names, if there are any.
    pub(crate) fn names(&self, directory: InodeNumber) -> Option<&NamePatch> {
        self.names.get(&directory)
    }

    /// Makes `directory` a new one with just "." and "..".
    pub(crate) fn new_directory(&mut self, directory: InodeNumber, parent: InodeNumber) {
        let patch = NamePatch {
            is_new: true,
            hidden: HashSet::new(),
            added: vec![(b".".to_vec(), directory), (b"..".to_vec(), parent)],
        };
        self.names.insert(directory, patch);
    }

    /// Makes `name` name `inode`, whatever it named before.
    pub(crate) fn add_name(&mut self, directory: InodeNumber, name: &[u8], inode: InodeNumber) {
        self.remove_name(directory, name);
        let patch = self.names.entry(directory).or_default();
        patch.added.push((name.to_vec(), inode));
    }

    /// Makes `name` name nothing.
    pub(crate) fn remove_name(&mut self, directory: InodeNumber, name: &[u8]) {
        let patch = self.names.entry(directory).or_default();
        patch.added.retain(|(added, _)| added != name);
        patch.hidden.insert(name.to_vec());
    }
}
