//! Opening and closing volumes for writing, with others who use them.

mod fast_commits;
mod faults;
mod mmp;
mod tree;
