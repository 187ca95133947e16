//! What the tests of `extmap mkfs` share: calling it, or mke2fs in its place; the
//! judges of an image; the option sets of the matrix; sources to fill from.

pub mod archive;
pub mod dump;
pub mod judge;
pub mod maker;
pub mod options;
pub mod property;
pub mod refusal;
pub mod source;

pub use maker::{Maker, Mkfs};

use crate::skip::Need;

/// Everything a test that mounts what it made needs.
pub const JUDGES: &[Need] = &[
    Need::Root,
    Need::Loop,
    Need::Tool("mke2fs"),
    Need::Tool("e2fsck"),
    Need::Tool("dumpe2fs"),
    Need::Tool("debugfs"),
];

/// What a test needs that only looks at the image's bytes and asks e2fsck.
pub const TOOLS: &[Need] = &[
    Need::Tool("mke2fs"),
    Need::Tool("e2fsck"),
    Need::Tool("dumpe2fs"),
    Need::Tool("debugfs"),
];
