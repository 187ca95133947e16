//! Whole-system tests of `extmap`: what its own code claims is judged here by
//! others, the kernel's ext4 on a loop device, e2fsprogs and fuse2fs.
//!
//! The library holds what the test files share: guards that undo what a test
//! did to the system (also when it panics), manifests of mounted trees and
//! their comparison, a deterministic generator of trees, the named image
//! recipes, and patchers that damage images.

pub mod debugfs;
pub mod dirty;
pub mod guards;
pub mod hostile;
pub mod idmap;
pub mod manifest;
pub mod matrix;
pub mod measure;
pub mod mkfs;
pub mod patch;
pub mod program;
pub mod report;
pub mod rng;
pub mod scratch;
pub mod skip;
pub mod sys;
pub mod tool;
pub mod trees;
pub mod write;
