//! Maps changed by chosen and by random steps, judged by a model and by e2fsck.

mod around;
mod bench;
mod extents;
mod hostile;
mod indirect;
mod random;
