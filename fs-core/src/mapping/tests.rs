//! Maps changed at random, judged by a model and by e2fsck.
