//! Requests out, replies in: one socket pair for each channel.
//!
//! A request goes to a channel that has nothing unanswered. If there is none it waits a
//! moment, because a server thread may be about to become free, and then goes to the channel
//! with the fewest (a server may answer later and read on). A real device's queue is common
//! to all readers, so here a request can wait behind a busy reader though another became idle.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, recv, send, shutdown,
    socketpair, sockopt,
};
use zerocopy::{FromBytes, IntoBytes};

use crate::record::Record;
use crate::reply::judge_reply;
use crate::request::{Expect, PendingRequest, Request};
use crate::rule::Rule;
use crate::wire::{InHeader, OutHeader};

/// Longest message either way.
pub(crate) const MESSAGE_BYTES_MAX: usize = 160 * 1024;
const GRACE: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) socket: OwnedFd,
    /// Held while a message is taken and handled, so that replies that were sent before a
    /// notification can be handled before it.
    taking: Mutex<Box<[u8]>>,
}

#[derive(Debug)]
struct Pending {
    request: PendingRequest,
    expect: Expect,
    reply: Option<Result<Vec<u8>, Errno>>,
}

#[derive(Debug, Default)]
struct Queues {
    channels: Vec<Arc<Channel>>,
    unanswered: Vec<usize>,
    waiting: VecDeque<(u64, Vec<u8>)>,
    pending: HashMap<u64, Pending>,
    last_unique: u64,
    closed: bool,
}

/// All channels of a connection.
#[derive(Debug, Default)]
pub(crate) struct Transport {
    queues: Mutex<Queues>,
    changed: Condvar,
}

impl Transport {
    /// A new channel: our side's, its number, and the server's end.
    pub(crate) fn add_channel(&self) -> Result<(Arc<Channel>, usize, OwnedFd), Errno> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        for end in [&ours, &theirs] {
            sockopt::set_socket_send_buffer_size(end, 4 * MESSAGE_BYTES_MAX)?;
        }
        let channel = Arc::new(Channel {
            socket: ours,
            taking: Mutex::new(vec![0; MESSAGE_BYTES_MAX].into_boxed_slice()),
        });
        let mut queues = self.queues.lock();
        queues.channels.push(Arc::clone(&channel));
        queues.unanswered.push(0);
        let index = queues.channels.len() - 1;
        Ok((channel, index, theirs))
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn call(
        &self,
        request: &Request<'_>,
        record: &Record,
        limit: Duration,
    ) -> Result<Vec<u8>, Errno> {
        record.counter.request(request.opcode);
        let mut queues = self.queues.lock();
        let unique = queues.enqueue(request);
        let since = Instant::now();
        let wants_reply = !matches!(request.expect, Expect::Nothing);
        loop {
            if queues.closed {
                queues.forget(unique);
                return Err(Errno::NOTCONN);
            }
            queues.pump(since.elapsed() >= GRACE);
            match queues.pending.get_mut(&unique) {
                None if !wants_reply => {
                    if !queues.waiting.iter().any(|(other, _)| *other == unique) {
                        return Ok(Vec::new());
                    }
                }
                None => return Err(Errno::NOTCONN),
                Some(pending) => {
                    if let Some(reply) = pending.reply.take() {
                        queues.pending.remove(&unique);
                        return reply;
                    }
                }
            }
            let left = limit.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Err(self.give_up(queues, unique, record));
            }
            let assigned = !queues.waiting.iter().any(|(other, _)| *other == unique);
            let wait = if assigned { left } else { left.min(GRACE) };
            self.changed.wait_for(&mut queues, wait);
        }
    }

    /// Reports a request that stays unanswered, with all that is pending: the deadlock report.
    fn give_up(&self, mut queues: MutexGuard<'_, Queues>, unique: u64, record: &Record) -> Errno {
        let all = queues.pending_requests();
        queues.forget(unique);
        drop(queues);
        record.violation(
            Rule::Unanswered,
            format!("request {unique}; pending: {all:?}"),
        );
        Errno::TIMEDOUT
    }

    /// Requests without an answer.
    pub(crate) fn pending(&self) -> Vec<PendingRequest> {
        self.queues.lock().pending_requests()
    }

    /// Takes one message of a channel if there is one. `None`: nothing there;
    /// `Some(None)`: the other end is closed; a message with unique 0 is returned.
    pub(crate) fn take(
        &self,
        index: usize,
        channel: &Channel,
        record: &Record,
    ) -> Option<Option<Vec<u8>>> {
        let mut buffer = channel.taking.lock();
        let received = recv(&channel.socket, &mut buffer[..], RecvFlags::DONTWAIT);
        let len = match received {
            Ok((len, _)) => len,
            Err(Errno::AGAIN | Errno::INTR) => return None,
            Err(_) => return Some(None),
        };
        match buffer.get(..len) {
            Some(bytes) if len > 0 => Some(Some(self.handle(index, bytes, record))),
            _ => Some(None),
        }
    }

    /// Handles all replies that were written before this call.
    pub(crate) fn settle(&self, record: &Record) {
        let channels = self.queues.lock().channels.clone();
        for (index, channel) in channels.iter().enumerate() {
            while let Some(Some(_)) = self.take(index, channel, record) {}
        }
    }

    /// A reply is handed to who waits; a notification comes back.
    fn handle(&self, index: usize, bytes: &[u8], record: &Record) -> Vec<u8> {
        let Ok((header, body)) = OutHeader::ref_from_prefix(bytes) else {
            record.violation(Rule::ReplyLength, format!("{} bytes in all", bytes.len()));
            return Vec::new();
        };
        if header.unique == 0 {
            return bytes.to_vec();
        }
        let unique = header.unique;
        let mut queues = self.queues.lock();
        let Some(pending) = queues.pending.get_mut(&unique) else {
            drop(queues);
            record.violation(Rule::ReplyUnknown, format!("unique {unique}"));
            return Vec::new();
        };
        if pending.request.channel != Some(index) {
            let expected = pending.request.channel;
            drop(queues);
            let detail = format!("unique {unique} on channel {index}, not {expected:?}");
            record.violation(Rule::ReplyChannel, detail);
            return Vec::new();
        }
        let reply = judge_reply(header, body, bytes.len(), pending.expect);
        pending.reply = Some(reply.map_err(|(errno, rule)| {
            if let Some(rule) = rule {
                let opcode = pending.request.opcode;
                record.refused(rule);
                record.violation(
                    rule,
                    format!("opcode {opcode}: {header:?}, {} bytes", bytes.len()),
                );
            }
            errno
        }));
        if let Some(count) = queues.unanswered.get_mut(index) {
            *count = count.saturating_sub(1);
        }
        queues.pump(false);
        drop(queues);
        self.changed.notify_all();
        Vec::new()
    }

    /// No more requests: readers find an end of file.
    pub(crate) fn close(&self) {
        let mut queues = self.queues.lock();
        queues.closed = true;
        for channel in &queues.channels {
            let _ = shutdown(&channel.socket, Shutdown::Both);
        }
        drop(queues);
        self.changed.notify_all();
    }
}

impl Queues {
    fn enqueue(&mut self, request: &Request<'_>) -> u64 {
        self.last_unique += 2;
        let unique = self.last_unique;
        let body: usize = request.body.iter().map(|part| part.len()).sum();
        let header = InHeader {
            len: (size_of::<InHeader>() + body) as u32,
            opcode: request.opcode,
            unique,
            nodeid: request.nodeid,
            ..InHeader::default()
        };
        let mut message = header.as_bytes().to_vec();
        request
            .body
            .iter()
            .for_each(|part| message.extend_from_slice(part));
        self.waiting.push_back((unique, message));
        if !matches!(request.expect, Expect::Nothing) {
            let pending = PendingRequest {
                unique,
                opcode: request.opcode,
                nodeid: request.nodeid,
                locks: request.locks.to_vec(),
                since: Instant::now(),
                channel: None,
            };
            let pending = Pending {
                request: pending,
                expect: request.expect,
                reply: None,
            };
            self.pending.insert(unique, pending);
        }
        unique
    }

    /// Sends what can be sent; to busy channels too if `anywhere`.
    fn pump(&mut self, anywhere: bool) {
        while let Some((unique, message)) = self.waiting.front() {
            let by_count = self.unanswered.iter().enumerate();
            let Some((index, count)) = by_count.min_by_key(|(_, count)| **count) else {
                return;
            };
            if *count > 0 && !anywhere {
                return;
            }
            let Some(channel) = self.channels.get(index) else {
                return;
            };
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            if send(&channel.socket, message, flags).is_err() {
                return;
            }
            if let Some(pending) = self.pending.get_mut(unique) {
                pending.request.channel = Some(index);
                if let Some(count) = self.unanswered.get_mut(index) {
                    *count += 1;
                }
            }
            self.waiting.pop_front();
        }
    }

    fn pending_requests(&self) -> Vec<PendingRequest> {
        let unanswered = self.pending.values().filter(|entry| entry.reply.is_none());
        let mut all: Vec<_> = unanswered.map(|entry| entry.request.clone()).collect();
        all.sort_by_key(|request| request.unique);
        all
    }

    fn forget(&mut self, unique: u64) {
        self.pending.remove(&unique);
        self.waiting.retain(|(other, _)| *other != unique);
    }
}
