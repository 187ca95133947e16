//! What is in core: the inodes, and how much their mapping caches hold.

use crate::kernel::Kernel;
use crate::tree::MappingTree;

/// An inode in core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InCore {
    /// Its node.
    pub nodeid: u64,
    /// Whether the kernel does its I/O.
    pub is_iomap: bool,
    /// References the server was told of: a FORGET carries them.
    pub lookups: u64,
    /// Records in the tree of reads.
    pub read_records: usize,
    /// Records in the tree of writes; 0 if it is absent.
    pub write_records: usize,
    /// Bytes either tree counted for at most, since the inode came into core.
    pub tree_bytes_max: u64,
}

impl Kernel {
    /// All inodes in core, by node.
    #[must_use]
    pub fn in_core(&self) -> Vec<InCore> {
        let mut inodes: Vec<_> = self.shared.inodes.lock().values().cloned().collect();
        inodes.sort_by_key(|inode| inode.nodeid);
        let count = |tree: &MappingTree| tree.records().count();
        let of = |inode: std::sync::Arc<crate::inode::Inode>| {
            let lookups = inode.state.lock().lookups;
            let cache = inode.cache.lock();
            let cache = cache.as_ref();
            InCore {
                nodeid: inode.nodeid,
                is_iomap: inode.is_iomap(),
                lookups,
                read_records: cache.map_or(0, |cache| count(cache.read_tree())),
                write_records: cache.and_then(|cache| cache.write_tree()).map_or(0, count),
                tree_bytes_max: cache.map_or(0, crate::MappingCache::bytes_max),
            }
        };
        inodes.into_iter().map(of).collect()
    }

    /// Bytes either tree of a node counted for at most; 0 before its first upsert and for a
    /// node that is not in core.
    #[must_use]
    pub fn tree_bytes_max(&self, nodeid: u64) -> u64 {
        let inode = self.shared.inode(nodeid);
        inode.map_or(0, |inode| {
            let cache = inode.cache.lock();
            cache.as_ref().map_or(0, crate::MappingCache::bytes_max)
        })
    }
}
