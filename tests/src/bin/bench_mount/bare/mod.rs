//! The bare FUSE loop: a server that does nothing but the protocol.
//!
//! What it reaches is the limit of the plain FUSE path for any server with extmap's
//! settings: the same kind of mount (`fuseblk`, permissions checked by the kernel), the same
//! INIT flags and sizes, the same cache times, opens without a message, as many threads, each
//! with a descriptor of its own. Names and small files lie in memory, large files each in
//! their part of one sparse file. There is no journal, nothing is ever synced, and what was
//! stored is gone when it ends.
//!
//! It runs as a process of its own: `bench-mount --bare-server IMAGE DIR`.

mod content;
mod data;
mod directory;
mod listing;
mod mount;
mod nodes;
mod requests;
mod setattr;
// The structures of the protocol are not public in fuse-frontend, and no business of who
// uses it; here they are the same source.
#[allow(dead_code, unused_imports)]
#[path = "../../../../../fuse-frontend/src/wire/mod.rs"]
mod wire;
mod worker;

use std::os::fd::AsFd;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, anyhow};
use parking_lot::Mutex;

use content::Store;
use nodes::Nodes;

/// As many as extmap has for writing on two cores.
const THREADS: usize = 4;
/// Largest READ, WRITE and directory listing, in bytes.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// What the threads share.
#[derive(Debug)]
struct Server {
    nodes: Mutex<Nodes>,
    store: Store,
}

/// Empties the image, mounts, and serves until the file system is unmounted.
pub(crate) fn serve(args: &[String]) -> Result<()> {
    let [image, dir] = args else {
        return Err(anyhow!("wanted: IMAGE DIR"));
    };
    let (image, dir) = (Path::new(image), Path::new(dir));
    let server = Server {
        store: Store::new(image).with_context(|| image.display().to_string())?,
        nodes: Mutex::new(Nodes::new()),
    };
    let mount = mount::Mount::new(image, dir)?;
    let channels = (0..THREADS)
        .map(|_| mount.channel())
        .collect::<Result<Vec<_>>>()?;
    thread::scope(|scope| {
        let run = |channel| {
            let server = &server;
            scope.spawn(move || worker::run(server, AsFd::as_fd(&channel)))
        };
        let workers: Vec<_> = channels.into_iter().map(run).collect();
        workers.into_iter().try_for_each(|worker| {
            let outcome = worker.join();
            outcome.map_err(|_| anyhow!("a thread of the bare server panicked"))?
        })
    })
}
