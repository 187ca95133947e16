//! For benchmarks: requests answered without a kernel, so that the answer's cost can be told
//! from the way's.

use std::sync::Arc;

use fs_core::{InodeNumber, WritableVolume};
use zerocopy::IntoBytes;

use crate::dispatch;
use crate::error::{Error, Result};
use crate::iomap::{ConnectionCalls, Iomap};
use crate::negotiate::Agreed;
use crate::node::node_of;
use crate::options::MountOptions;
use crate::replies::{Reply, Sent};
use crate::requests::Message;
use crate::scratch::Scratch;
use crate::server::{Kind, Server};
use crate::wire::{BeginIn, InHeader, iomap_op, opcode};

/// A server that nobody has mounted.
#[derive(Debug)]
pub struct Unmounted(Server);

impl Unmounted {
    /// One that moves no content itself; notices go to `calls`.
    pub fn with_iomap(volume: WritableVolume, calls: Arc<dyn ConnectionCalls>) -> Self {
        let kind = Kind {
            is_on_block_device: false,
            iomap: Ok(Arc::new(Iomap::for_measuring(calls, volume.superblock()))),
        };
        let options = MountOptions::new("/", "measured");
        Self(Server::new(
            volume.into(),
            &options,
            Agreed::default(),
            1,
            kind,
        ))
    }

    /// What a thread answers with.
    ///
    /// # Errors
    /// Without memory.
    pub fn thread(&self) -> Result<Answerer<'_>> {
        let out_of_memory = || Error::Thread(std::io::ErrorKind::OutOfMemory.into());
        Ok(Answerer {
            server: &self.0,
            scratch: Scratch::new().ok_or_else(out_of_memory)?,
        })
    }
}

/// A thread's.
pub struct Answerer<'s> {
    server: &'s Server,
    scratch: Scratch,
}

impl Answerer<'_> {
    /// Answers a BEGIN of a direct read, or write, from the request's bytes to the reply's.
    /// False if that is an error.
    pub fn begin(&mut self, file: InodeNumber, pos: u64, count: u64, writes: bool) -> bool {
        let body = BeginIn {
            opflags: match writes {
                true => iomap_op::WRITE | iomap_op::DIRECT,
                false => iomap_op::DIRECT,
            },
            attr_ino: u64::from(file.0),
            pos,
            count,
            ..BeginIn::default()
        };
        let mut bytes = [0u8; size_of::<InHeader>() + size_of::<BeginIn>()];
        let header = InHeader {
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            opcode: opcode::IOMAP_BEGIN,
            unique: 2,
            nodeid: node_of(file),
            ..InHeader::default()
        };
        let parts = header.as_bytes().iter().chain(body.as_bytes());
        bytes
            .iter_mut()
            .zip(parts)
            .for_each(|(to, from)| *to = *from);
        let Ok(message) = Message::parse(&bytes) else {
            return false;
        };
        let mut is_answered = false;
        let send = |reply: Reply<'_>| {
            is_answered = matches!(reply, Reply::Begin(_));
            Sent {
                outcome: Ok(()),
                spare: None,
            }
        };
        let served = dispatch::serve(self.server, &message, &mut self.scratch, send);
        served.is_ok() && is_answered
    }
}
