//! A peer on the descriptor that is not the kernel: it sends requests of any opcode, length,
//! field value and order to the server's own loops, over a socket, several at a time.
//!
//! Every request that expects an answer gets exactly one, of the right form; nothing panics,
//! nothing hangs; and whatever was asked, `e2fsck` finds a sound file system afterwards.
//!
//! `EXTMAP_HOSTILE_REQUESTS` says how many requests each kind of image gets.

mod peer;
mod requests;

use anyhow::{Context, Result, ensure};
use fs_core::{WritableVolume, WriteOptions};
use fuse_frontend::{MountOptions, Session};
use peer::Peer;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use system_tests::mkfs::judge::fsck;
use system_tests::rng::Rng;
use system_tests::scratch::Scratch;
use system_tests::skip::{self, Need};

const REQUESTS_DEFAULT: u64 = 6000;

/// Panics of any thread, also those that cost only one request.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn count_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
}

#[test]
fn any_request_is_answered_and_none_does_harm() -> Result<()> {
    if !skip::allowed(&[Need::Tool("mke2fs"), Need::Tool("e2fsck")]) {
        return Ok(());
    }
    count_panics();
    let asked = std::env::var("EXTMAP_HOSTILE_REQUESTS").ok();
    let requests = asked.map_or(Ok(REQUESTS_DEFAULT), |asked| asked.parse())?;
    let kinds: [&[&str]; 4] = [
        &["-t", "ext4", "-b", "4096"],
        &["-t", "ext4", "-b", "1024", "-O", "inline_data,ea_inode"],
        &["-t", "ext3", "-b", "1024", "-I", "128"],
        &["-t", "ext4", "-b", "4096", "-O", "^has_journal,^dir_index"],
    ];
    let mut done = BTreeSet::new();
    for (seed, kind) in (1..).zip(kinds) {
        for writeback in [true, false] {
            attack(
                kind,
                seed * 2 + u64::from(writeback),
                requests / 2,
                writeback,
                &mut done,
            )
            .with_context(|| format!("{kind:?}, writeback {writeback}"))?;
        }
    }
    // Otherwise the requests are too far from right ones to try much.
    let mut without = requests::can_succeed();
    let none = without.find(|opcode| !done.contains(opcode));
    ensure!(none.is_none(), "no request of kind {none:?} succeeded");
    Ok(())
}

fn attack(
    kind: &[&str],
    seed: u64,
    requests: u64,
    writeback: bool,
    done: &mut BTreeSet<u32>,
) -> Result<()> {
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 32 << 20, kind)?;
    let device = images::open(&image, &images::OpenOptions::default())?;
    let volume = WritableVolume::open(device, &WriteOptions::default())?;
    let options = MountOptions {
        writeback,
        ..MountOptions::new("/", "hostile")
    };
    let (mut peer, connection) = Peer::new()?;
    let server = std::thread::spawn(move || Session::over(connection, volume, &options)?.serve());
    peer.shake_hands()?;
    let mut rng = Rng::new(seed);
    let outcome = (0..requests).try_for_each(|_| peer.send_some(&mut rng));
    let sane = outcome.and_then(|()| peer.is_served());
    done.extend(peer.done());
    drop(peer);
    let ended = server.join();
    sane?;
    let panics = PANICS.load(Ordering::Relaxed);
    ensure!(panics == 0, "{panics} panics");
    match ended {
        Ok(served) => served.context("the server ended with an error")?,
        Err(_) => anyhow::bail!("the server panicked"),
    }
    fsck(&image)
}
