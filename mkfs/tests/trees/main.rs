//! Trees made of directories and archives, judged by the system calls and by
//! GNU tar and Python, which made the archives.
#![allow(clippy::expect_used)]

mod archives;
mod describe;
mod directories;
mod hostile;
mod source;
