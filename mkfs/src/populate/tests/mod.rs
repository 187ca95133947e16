//! Populations put into volumes that mke2fs made, judged by e2fsck and by the
//! kernel's mount.
#![allow(clippy::expect_used, clippy::indexing_slicing)] // Helpers of tests only.

mod encoders;
mod host;
mod kernel;
mod matrix;
mod refusals;
mod shapes;
mod trees;
