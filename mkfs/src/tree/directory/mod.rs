//! A tree from a directory.
//!
//! The directory is crossed with descriptors: each directory is opened beneath
//! an open one and its entries are looked at through it, so that nobody can turn
//! the way aside by exchanging a directory for a symbolic link, and paths may be
//! longer than PATH_MAX. Directories are jobs of their own for a pool of threads;
//! no job waits for another, so depth costs memory only. Other file systems that
//! are mounted inside are taken in, as mke2fs -d does.
//!
//! What threads find lands in a draft in any order; numbering comes afterwards.

mod holes;
mod listing;
mod status;
mod xattrs;

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustix::io::Errno;

use self::listing::Listing;
use super::draft::Draft;
use super::open::{self, joined, open_directory_beneath, open_path};
use super::{Attributes, Entry, Node, NodeId, NodeKind, ScanOptions, Tree};
use crate::{Error, Progress, Result, Stage};

/// Directories that are kept open for the sake of those beneath them. Beyond it
/// the next open one above serves, at the price of a longer way.
const HELD_MAX: usize = 128;

/// Makes a tree of everything beneath a directory.
///
/// # Errors
/// `Source` with the whole path for what vanishes or cannot be read; `BadSource`
/// for what ext4 cannot hold, and for a tree that contains the image itself.
pub fn scan(path: &Path, options: &ScanOptions, progress: &dyn Progress) -> Result<Tree> {
    progress.begin(Stage::Scanning, 0);
    let root = open_path(path, open::DIRECTORY).map_err(failed(path))?;
    let scan = Scan {
        options,
        progress,
        proc_is_mounted: proc_is_mounted(&root).map_err(failed(path))?,
        reads_everything: rustix::process::geteuid().is_root(),
        draft: Mutex::new(Draft {
            nodes: vec![unfinished()],
            same: HashMap::new(),
        }),
        failure: Mutex::new(None),
        has_failed: AtomicBool::new(false),
        held: AtomicUsize::new(1),
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads.max(1))
        .build()
        .map_err(|error| Error::Source {
            path: path.to_owned(),
            source: std::io::Error::other(error),
        })?;
    let job = Job {
        base: Arc::new(Held {
            directory: root,
            path: path.to_owned(),
            held: &scan.held,
        }),
        path: path.to_owned(),
        id: NodeId::ROOT,
    };
    pool.scope(|scope| scan.run(scope, job));
    if let Some(error) = scan.failure.into_inner() {
        return Err(error);
    }
    scan.draft.into_inner().finish(path, true)
}

/// A scan while it runs.
struct Scan<'a> {
    options: &'a ScanOptions,
    progress: &'a dyn Progress,
    /// Attributes can be read through /proc.
    proc_is_mounted: bool,
    /// Nothing is denied to this process.
    reads_everything: bool,
    /// Held to add a directory's nodes, a few microseconds; the only lock that is
    /// taken while none failed.
    draft: Mutex<Draft>,
    /// The first error; held to set it.
    failure: Mutex<Option<Error>>,
    /// Set with `failure`: the jobs that are left do nothing.
    has_failed: AtomicBool,
    /// Number of `Held`.
    held: AtomicUsize,
}

/// A directory that stays open until all beneath it that need it are open.
struct Held<'a> {
    directory: OwnedFd,
    path: PathBuf,
    held: &'a AtomicUsize,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A directory that is to be looked at.
struct Job<'a> {
    /// An open directory above it, or itself (the root).
    base: Arc<Held<'a>>,
    /// From where the scan was started.
    path: PathBuf,
    /// The node that waits for it.
    id: NodeId,
}

impl Scan<'_> {
    /// Looks at a directory, then lets others look at those in it.
    fn run<'s>(&'s self, scope: &rayon::Scope<'s>, job: Job<'s>) {
        if self.has_failed.load(Ordering::Relaxed) {
            return;
        }
        match self.look(job) {
            Ok(jobs) => {
                for job in jobs {
                    scope.spawn(move |scope| self.run(scope, job));
                }
            }
            Err(error) => {
                self.failure.lock().get_or_insert(error);
                self.has_failed.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Reads a directory and adds it to the draft; returns those in it.
    fn look<'s>(&'s self, job: Job<'s>) -> Result<Vec<Job<'s>>> {
        let relative = relative(&job.path, &job.base.path);
        let directory = match relative {
            [] => job
                .base
                .directory
                .try_clone()
                .map_err(|source| Error::Source {
                    path: job.path.clone(),
                    source,
                })?,
            _ => open_directory_beneath(job.base.directory.as_fd(), relative)
                .map_err(failed(&job.path))?,
        };
        let listing = Listing::read(self, directory.as_fd(), &job.path)?;
        let entries = listing.leaves.len() + listing.directories.len();
        self.progress.advance(u64::try_from(entries).unwrap_or(0));
        let ids = self.add(
            &job,
            listing.attributes,
            listing.leaves,
            &listing.directories,
        )?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let base = self.hold(&job, directory);
        let jobs = listing.directories.iter().zip(ids).map(|(name, id)| Job {
            base: Arc::clone(&base),
            path: joined(&job.path, name),
            id,
        });
        Ok(jobs.collect())
    }

    /// Adds a directory's nodes to the draft; returns the numbers of those that
    /// wait to be looked at.
    fn add(
        &self,
        job: &Job<'_>,
        attributes: Attributes,
        leaves: Vec<listing::Leaf>,
        directories: &[Box<[u8]>],
    ) -> Result<Vec<NodeId>> {
        let too_many = || Error::BadSource {
            path: job.path.clone(),
            why: "there are more files than ext4 can number".to_owned(),
        };
        let mut entries = Vec::with_capacity(leaves.len() + directories.len());
        let mut ids = Vec::with_capacity(directories.len());
        let mut draft = self.draft.lock();
        for leaf in leaves {
            let node = draft.push(leaf.node).ok_or_else(too_many)?;
            if let Some(identity) = leaf.identity {
                draft.same.insert(node, identity);
            }
            entries.push(Entry {
                name: leaf.name,
                node,
            });
        }
        for name in directories {
            let node = draft.push(unfinished()).ok_or_else(too_many)?;
            ids.push(node);
            entries.push(Entry {
                name: name.clone(),
                node,
            });
        }
        let index = usize::try_from(job.id.0).ok();
        if let Some(node) = index.and_then(|index| draft.nodes.get_mut(index)) {
            *node = Node {
                kind: NodeKind::Directory(entries),
                attributes,
            };
        }
        Ok(ids)
    }

    /// Keeps a directory open for those in it, unless too many are.
    fn hold<'s>(&'s self, job: &Job<'s>, directory: OwnedFd) -> Arc<Held<'s>> {
        if self.held.fetch_add(1, Ordering::Relaxed) >= HELD_MAX {
            self.held.fetch_sub(1, Ordering::Relaxed);
            return Arc::clone(&job.base);
        }
        Arc::new(Held {
            directory,
            path: job.path.clone(),
            held: &self.held,
        })
    }
}

/// What stands in the draft until a directory has been looked at.
fn unfinished() -> Node {
    Node {
        kind: NodeKind::Directory(Vec::new()),
        attributes: Attributes::default(),
    }
}

/// True if /proc/self/fd leads to the directory that is open.
fn proc_is_mounted(directory: &OwnedFd) -> rustix::io::Result<bool> {
    let here = status::of_open(directory)?;
    let there = status::of_path(&xattrs::proc_path(directory.as_fd()));
    Ok(there.is_ok_and(|there| status::identity(&there) == status::identity(&here)))
}

/// What is left of a path below a directory it lies in.
fn relative<'p>(path: &'p Path, above: &Path) -> &'p [u8] {
    let path = path.as_os_str().as_bytes();
    let rest = path.get(above.as_os_str().len()..).unwrap_or_default();
    rest.strip_prefix(b"/").unwrap_or(rest)
}

/// The error of a system call for a path.
fn failed(path: &Path) -> impl Fn(Errno) -> Error {
    move |error| Error::Source {
        path: path.to_owned(),
        source: error.into(),
    }
}
