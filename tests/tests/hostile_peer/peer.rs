//! The other end of a connection.

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
    sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size},
};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::os::fd::OwnedFd;
use system_tests::rng::Rng;

use crate::requests::{self, GETATTR, INIT, Request};

/// How long any request may take.
const PATIENCE: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};
/// Requests under way at a time.
const AT_A_TIME: u64 = 6;
const BUFFER_BYTES: usize = 1 << 20;
const OUT_HEADER_BYTES: usize = 16;
/// Capabilities a kernel of protocol 7.45 offers: all it knows.
const ALL_FLAGS: u32 = u32::MAX;

/// See the module.
pub(crate) struct Peer {
    socket: OwnedFd,
    unique: u64,
    /// Requests without an answer, by what names them.
    open: HashMap<u64, Request>,
    /// Opcodes that had a good answer.
    done: BTreeSet<u32>,
    /// What was sent last.
    last: VecDeque<(u64, String)>,
    /// Nodes the server has told of.
    nodes: Vec<u64>,
}

impl Peer {
    /// The peer, and the server's end.
    pub(crate) fn new() -> Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        for end in [&ours, &theirs] {
            set_socket_send_buffer_size(end, BUFFER_BYTES)?;
            set_socket_recv_buffer_size(end, BUFFER_BYTES)?;
        }
        let peer = Self {
            socket: ours,
            unique: 0,
            open: HashMap::new(),
            done: BTreeSet::new(),
            last: VecDeque::new(),
            nodes: vec![1, 2, 11, 12, 13],
        };
        Ok((peer, theirs))
    }

    /// INIT as a kernel sends it.
    pub(crate) fn shake_hands(&mut self) -> Result<()> {
        let words = [7, 45, 1 << 20, ALL_FLAGS, u32::MAX >> 1];
        let mut body: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        body.resize(64, 0);
        self.send(Request::new(INIT, 0, body))?;
        self.collect()
    }

    /// Sends requests that are hostile, or just odd, and takes their answers.
    pub(crate) fn send_some(&mut self, rng: &mut Rng) -> Result<()> {
        for _ in 0..=rng.below(AT_A_TIME) {
            let request = requests::any(rng, &self.nodes);
            self.send(request)?;
        }
        self.collect()
    }

    /// After all that, an honest question gets an honest answer.
    pub(crate) fn is_served(&mut self) -> Result<()> {
        self.send(Request::new(GETATTR, 1, vec![0; 16]))?;
        self.collect()
    }

    /// Opcodes that had a good answer.
    pub(crate) fn done(&self) -> impl Iterator<Item = u32> {
        self.done.iter().copied()
    }

    fn send(&mut self, mut request: Request) -> Result<()> {
        self.unique += 2;
        let message = request.message(self.unique);
        self.last.push_back((self.unique, format!("{request:?}")));
        if self.last.len() > 16 {
            self.last.pop_front();
        }
        if request.is_answered() {
            self.open.insert(self.unique, request);
        }
        send(&self.socket, &message, SendFlags::empty()).context("the server is gone")?;
        Ok(())
    }

    fn collect(&mut self) -> Result<()> {
        let mut buffer = vec![0; 2 * BUFFER_BYTES];
        while !self.open.is_empty() {
            let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
            if poll(&mut ready, Some(&PATIENCE))? == 0 {
                bail!("no answer to {:?}", self.open.values().collect::<Vec<_>>());
            }
            let (len, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            ensure!(len > 0, "the server went away");
            self.take(&buffer[..len])?;
        }
        Ok(())
    }

    fn take(&mut self, reply: &[u8]) -> Result<()> {
        ensure!(
            reply.len() >= OUT_HEADER_BYTES,
            "a reply of {} bytes",
            reply.len()
        );
        let len = word(reply, 0);
        let error = word(reply, 4).cast_signed();
        let unique = u64::from(word(reply, 8)) | u64::from(word(reply, 12)) << 32;
        ensure!(
            len as usize == reply.len(),
            "{} bytes say they are {len}",
            reply.len()
        );
        if unique == 0 {
            ensure!(error > 0, "a notification of kind {error}");
            return Ok(());
        }
        let request = self
            .open
            .remove(&unique)
            .with_context(|| format!("{unique} is not open; sent: {:?}", self.last))?;
        ensure!((-4095..=0).contains(&error), "{request:?}: error {error}");
        let body = &reply[OUT_HEADER_BYTES..];
        ensure!(
            error == 0 || body.is_empty(),
            "{request:?}: {error}, and a body"
        );
        ensure!(
            error != -512 && error != -11,
            "{request:?}: an errno for the kernel alone: {error}"
        );
        if error == 0 {
            self.done.insert(request.opcode);
            request.check_answer(body)?;
            if request.gives_a_node() && self.nodes.len() < 200 {
                self.nodes
                    .push(u64::from(word(body, 0)) | u64::from(word(body, 4)) << 32);
            }
        }
        if request.opcode == INIT && request.is_first {
            ensure!(error == 0 && word(body, 0) == 7, "INIT was refused");
        }
        Ok(())
    }
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    let four = bytes.get(offset..offset + 4);
    four.and_then(|four| four.try_into().ok())
        .map_or(0, u32::from_ne_bytes)
}
