//! Replies on a foreign channel, interrupts, attributes without EXCLUSIVE, inline data.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use simulated_kernel::numbers::{attr, map, op};
use simulated_kernel::wire::{BeginOut, EntryOut, MapIo, ReadIn, WriteIn, WriteOut};
use simulated_kernel::{Chaos, Errno, Kernel, Kind, Personality, Rule, Settings, Variant};
use zerocopy::{FromBytes, IntoBytes};

use crate::toy::{BLOCK, Mounted, NODE, Options, VARIANTS};

#[test]
fn a_reply_on_another_channel() {
    let mut settings = Settings::new(Personality::of(Variant::S));
    settings.answer_limit = Duration::from_millis(300);
    let (kernel, side) = Kernel::connect(settings).unwrap();
    kernel.mount().unwrap();
    let mut fds: Vec<_> = side
        .channels
        .iter()
        .map(|channel| PollFd::new(channel, PollFlags::IN))
        .collect();
    poll(&mut fds, None::<&Timespec>).unwrap();
    let with_init = usize::from(fds[0].revents().is_empty());
    let mut request = [0; 4096];
    rustix::io::read(&side.channels[with_init], request.as_mut_slice()).unwrap();
    let mut reply = [0u8; 16];
    reply[0] = 16;
    reply[8..16].copy_from_slice(&request[8..16]);
    rustix::io::write(&side.channels[1 - with_init], &reply).unwrap();
    assert!(kernel.wait_ready().is_err());
    let rules: Vec<_> = kernel.violations().iter().map(|found| found.rule).collect();
    assert_eq!(rules[0], Rule::ReplyChannel);
}

#[test]
fn a_signal_ends_a_miss_after_retry() {
    for variant in VARIANTS {
        let mounted = Mounted::new(Options::new(variant).chaos(Chaos {
            seed: 1,
            evict_permille: 1000,
            interrupt_permille: 1000,
            ..Chaos::default()
        }));
        let outcome = mounted.kernel.write_direct(NODE, 0, &[1; 512]);
        assert_eq!(outcome, Err(Errno::INTR));
        mounted.assert_clean();
    }
}

#[test]
fn iomap_needs_exclusive() {
    let mut options = Options::new(Variant::S);
    options.tamper = Arc::new(|opcode, _, reply| {
        if opcode == op::LOOKUP {
            let (mut entry, _) = EntryOut::read_from_prefix(&reply[16..]).unwrap();
            entry.attr.flags = attr::IOMAP;
            reply.truncate(16);
            reply.extend_from_slice(entry.as_bytes());
        }
    });
    let mounted = Mounted::new(options);
    assert_eq!(mounted.rules(), [Rule::IomapNotExclusive]);
    assert_eq!(mounted.kernel.read(NODE, 0, 1), Err(Errno::OPNOTSUPP));
}

/// Answers as a server with an inline file of one block would, and notes READs.
fn inline_options(variant: Variant, reads: Arc<Mutex<Vec<(u64, u32)>>>) -> Options {
    let content = Mutex::new(vec![0; BLOCK as usize]);
    let mut options = Options::new(variant).plain();
    options.tamper = Arc::new(move |opcode, request, reply| {
        let mut content = content.lock();
        let body = match opcode {
            op::IOMAP_BEGIN => {
                let inline = MapIo {
                    length: BLOCK,
                    addr: map::NONE,
                    kind: Kind::Inline.number(),
                    ..MapIo::default()
                };
                let write = MapIo {
                    kind: Kind::PureOverwrite.number(),
                    ..inline
                };
                let reply = BeginOut {
                    read: inline,
                    write,
                };
                reply.as_bytes().to_vec()
            }
            op::READ => {
                let (read, _) = ReadIn::read_from_prefix(request).unwrap();
                reads.lock().push((read.offset, read.size));
                let start = read.offset as usize;
                content[start..start + read.size as usize].to_vec()
            }
            op::WRITE => {
                let (write, data) = WriteIn::read_from_prefix(request).unwrap();
                assert_eq!((write.fh, write.size as usize), (0, data.len()));
                let start = write.offset as usize;
                content[start..start + data.len()].copy_from_slice(data);
                let size = write.size;
                WriteOut { size, padding: 0 }.as_bytes().to_vec()
            }
            _ => return,
        };
        reply.truncate(16);
        // The toy itself knows no READ and no WRITE.
        reply[4..8].fill(0);
        reply.extend_from_slice(&body);
    });
    options
}

#[test]
fn inline_data_is_read_and_written_by_the_server() {
    for (variant, wanted) in [(Variant::S, (512, 512)), (Variant::L, (0, 4096))] {
        let reads = Arc::new(Mutex::new(Vec::new()));
        let mounted = Mounted::new(inline_options(variant, Arc::clone(&reads)));
        let kernel = &mounted.kernel;
        kernel.write(NODE, 510, b"inline").unwrap();
        kernel.truncate(NODE, 1024).unwrap();
        reads.lock().clear();
        let content = kernel.read_direct(NODE, 512, 512).unwrap();
        assert_eq!(content[..4], *b"line");
        assert_eq!(*reads.lock(), [wanted]);
        kernel.drop_pages(NODE).unwrap();
        assert_eq!(kernel.read(NODE, 510, 6).unwrap(), b"inline");
        assert_eq!(kernel.counts().request_count(op::IOMAP_IOEND), 0);
        mounted.assert_clean();
    }
}

#[test]
fn an_untorn_write_needs_its_flag() {
    for (variant, flags, errno, rules) in [
        (Variant::S, 0, None, vec![Rule::AtomicReply]),
        (Variant::L, 0, Some(Errno::IO), vec![Rule::AtomicReply]),
        (Variant::S, map::ATOMIC_BIO, None, vec![]),
        (Variant::L, map::ATOMIC_BIO, None, vec![]),
    ] {
        let mut options = Options::new(variant);
        options.tamper = Arc::new(move |opcode, _, reply| match opcode {
            op::LOOKUP => {
                let (mut entry, _) = EntryOut::read_from_prefix(&reply[16..]).unwrap();
                entry.attr.flags |= attr::ATOMIC;
                reply.truncate(16);
                reply.extend_from_slice(entry.as_bytes());
            }
            op::IOMAP_BEGIN => reply[16 + 26..16 + 28].copy_from_slice(&flags.to_ne_bytes()),
            _ => {}
        });
        let mounted = Mounted::new(options);
        let block = [1; BLOCK as usize];
        let outcome = mounted.kernel.write_atomic(NODE, 0, &block);
        assert_eq!(outcome.err(), errno);
        assert_eq!(mounted.rules(), rules);
        let half = mounted.kernel.write_atomic(NODE, 0, &block[..512]);
        assert_eq!(half, Err(Errno::INVAL));
    }
}
