//! Extent trees, built whole from the bottom.
//!
//! The nodes stand level by level, leaves first, in `Mapping::nodes`, all but
//! the last of a level full: nobody inserts into them before Linux does, and it
//! splits what is full.

use fs_core::{FileBlock, FsBlock, InodeNumber, MappedExtent, encode};

use crate::Result;
use crate::populate::allocator::Allocator;
use crate::populate::mapping::{Dealer, FileRange, Mapping, miscounted, start_of, written};
use crate::populate::rules::Rules;
use crate::space::Space;

/// Bytes of the root, in the inode.
const ROOT_BYTES: usize = 60;

/// Nodes of each level below the root, leaves first.
fn levels(extents: usize, per_node: usize) -> Vec<usize> {
    let root = encode::extent_capacity(ROOT_BYTES);
    let mut levels = Vec::new();
    let mut children = extents;
    while children > root {
        children = children.div_ceil(per_node);
        levels.push(children);
    }
    levels
}

/// Takes blocks for `ranges` and the nodes their extents need.
pub(super) fn place(
    rules: Rules<'_>,
    ranges: &[FileRange],
    allocator: &mut Allocator,
    space: &mut Space,
) -> Result<Mapping> {
    let unit = rules.cluster_blocks();
    let clusters = whole_clusters(ranges, unit);
    let count: u64 = clusters.iter().map(|range| range.len_blocks / unit).sum();
    let mut dealer = Dealer::new(allocator.clusters(space, count)?);
    let mut places = Vec::new();
    for range in &clusters {
        let mut at = range.start;
        while at < range.end() {
            let run = dealer.deal(range.end() - at).ok_or_else(miscounted)?;
            places.push(written(at, run.start.0, run.len_blocks));
            at += run.len_blocks;
        }
    }
    let extents = cut(&places, ranges);
    let per_node = encode::extent_capacity(rules.block_len());
    let node_count: usize = levels(extents.len(), per_node).iter().sum();
    let nodes: Vec<FsBlock> = allocator
        .clusters(space, node_count as u64)?
        .iter()
        // A node has a cluster of its own.
        .flat_map(|run| (run.start.0..run.end()).step_by(unit as usize))
        .map(FsBlock)
        .collect();
    Ok(Mapping {
        extents: extents.into(),
        nodes: nodes.into(),
        taken_blocks: (count + node_count as u64) * unit,
    })
}

/// The ranges rounded out to clusters, neighbours joined.
fn whole_clusters(ranges: &[FileRange], unit: u64) -> Vec<FileRange> {
    let mut clusters: Vec<FileRange> = Vec::new();
    for range in ranges {
        let start = range.start - range.start % unit;
        let end = range.end().next_multiple_of(unit);
        match clusters.last_mut() {
            Some(last) if start <= last.end() => last.len_blocks = end - last.start,
            _ => clusters.push(FileRange {
                start,
                len_blocks: end - start,
            }),
        }
    }
    clusters
}

/// The parts of `places` that hold data, in pieces no longer than the format allows.
fn cut(places: &[MappedExtent], ranges: &[FileRange]) -> Vec<MappedExtent> {
    let mut extents = Vec::new();
    let mut ranges = ranges.iter().copied().peekable();
    for place in places {
        let (first, end) = (place.file_block.0, place.file_block.0 + place.len_blocks);
        while let Some(range) = ranges.peek() {
            let (mut at, stop) = (range.start.max(first), range.end().min(end));
            while at < stop {
                let len_blocks = (stop - at).min(encode::WRITTEN_LEN_MAX);
                extents.push(written(at, start_of(place) + (at - first), len_blocks));
                at += len_blocks;
            }
            if range.end() > end {
                break;
            }
            ranges.next();
        }
    }
    extents
}

/// The root, and the nodes to `emit`.
pub(super) fn encode(
    rules: Rules<'_>,
    inode: InodeNumber,
    mapping: &Mapping,
    emit: &mut dyn FnMut(FsBlock, Vec<u8>) -> Result<()>,
) -> Result<[u8; ROOT_BYTES]> {
    let mut root = [0; ROOT_BYTES];
    let per_node = encode::extent_capacity(rules.block_len());
    let counts = levels(mapping.extents.len(), per_node);
    if counts.is_empty() {
        encode::encode_leaf(&mapping.extents, &mut root)?;
        return Ok(root);
    }
    let mut nodes = mapping.nodes.iter().copied();
    let mut finish = |block, mut bytes: Vec<u8>| {
        if let Some(seed) = rules.seed(inode) {
            encode::set_extent_checksum(seed, &mut bytes);
        }
        emit(block, bytes)
    };
    let mut children: Vec<(FileBlock, FsBlock)> = Vec::new();
    for chunk in mapping.extents.chunks(per_node) {
        let (block, mut bytes) = (nodes.next().ok_or_else(miscounted)?, node(rules));
        encode::encode_leaf(chunk, &mut bytes)?;
        finish(block, bytes)?;
        children.extend(chunk.first().map(|first| (first.file_block, block)));
    }
    let mut depth = 1;
    for _ in counts.iter().skip(1) {
        let mut parents = Vec::new();
        for chunk in children.chunks(per_node) {
            let (block, mut bytes) = (nodes.next().ok_or_else(miscounted)?, node(rules));
            encode::encode_index(depth, chunk, &mut bytes)?;
            finish(block, bytes)?;
            parents.extend(chunk.first().map(|(first, _)| (*first, block)));
        }
        children = parents;
        depth += 1;
    }
    encode::encode_index(depth, &children, &mut root)?;
    Ok(root)
}

fn node(rules: Rules<'_>) -> Vec<u8> {
    vec![0; rules.block_len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(ranges: &[(u64, u64)]) -> Vec<FileRange> {
        let range = |&(start, len_blocks)| FileRange { start, len_blocks };
        ranges.iter().map(range).collect()
    }

    #[test]
    fn levels_are_counted_from_the_leaves() {
        assert_eq!(levels(4, 84), []);
        assert_eq!(levels(5, 84), [1]);
        assert_eq!(levels(84 * 4, 84), [4]);
        assert_eq!(levels(84 * 4 + 1, 84), [5, 1]);
    }

    #[test]
    fn long_places_are_cut_and_holes_left_out() {
        let places = [written(0, 1000, 40_000), written(40_000, 90_000, 16)];
        let extents = cut(&places, &ranges(&[(1, 2), (16, 39_990), (40_010, 1)]));
        assert_eq!(
            extents,
            [
                written(1, 1001, 2),
                written(16, 1016, 32_768),
                written(32_784, 33_784, 7216),
                written(40_000, 90_000, 6),
                written(40_010, 90_010, 1),
            ]
        );
    }

    #[test]
    fn clusters_are_joined() {
        let clusters = whole_clusters(&ranges(&[(1, 2), (9, 1), (17, 15), (64, 1)]), 16);
        assert_eq!(clusters, ranges(&[(0, 32), (64, 16)]));
    }
}
