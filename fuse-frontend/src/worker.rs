//! One thread: read a request, answer it, again.

use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use rustix::io::Errno;

use crate::channel::{Channel, MESSAGE_BYTES_MAX};
use crate::counters::Counter;
use crate::dispatch;
use crate::errands::{self, Errand};
use crate::error::{Error, Result};
use crate::failure::Failure;
use crate::namespace;
use crate::replies::{self, Reply, Sent};
use crate::requests::{Malformed, Message};
use crate::scratch::{PageBuffer, Scratch};
use crate::server::Server;
use crate::sys::Piece;
use crate::wire::InHeader;

/// A thread's state.
pub(crate) struct Worker<'s> {
    server: &'s Server,
    counter: &'s Counter,
    channel: Arc<Channel>,
    errands: Sender<Errand>,
    scratch: Scratch,
}

impl<'s> Worker<'s> {
    /// Worker number `index`, on a channel of its own.
    pub(crate) fn new(
        server: &'s Server,
        index: usize,
        channel: Channel,
        errands: Sender<Errand>,
    ) -> Result<Self> {
        let counter = server.counters.of_thread(index);
        Ok(Self {
            server,
            counter: counter
                .ok_or_else(|| Error::Thread(std::io::ErrorKind::InvalidInput.into()))?,
            channel: Arc::new(channel),
            errands,
            scratch: Scratch::new().ok_or_else(out_of_memory)?,
        })
    }

    /// Serves until the file system is unmounted.
    pub(crate) fn run(mut self) -> Result<()> {
        if let Ok(iomap) = self.server.iomap() {
            iomap.enter_thread();
        }
        let mut buffer = PageBuffer::new(MESSAGE_BYTES_MAX).ok_or_else(out_of_memory)?;
        while let Some(bytes) = self.channel.receive(buffer.bytes_mut())? {
            self.counter.set_busy(true);
            match Message::parse(bytes) {
                Ok(message) => self.serve(&message),
                Err(Malformed::Header) => {
                    tracing::error!("{} bytes from the kernel are no request", bytes.len());
                }
                Err(Malformed::Length { unique, opcode }) => self.fail(unique, opcode, Errno::IO),
            }
            self.counter.set_busy(false);
        }
        Ok(())
    }

    /// Answers one request. A panic, which would be a bug, costs that request
    /// only: other users of the mount go on.
    fn serve(&mut self, message: &Message<'_>) {
        let header = message.header;
        self.counter.request(header.opcode);
        match catch_unwind(AssertUnwindSafe(|| self.answer(message))) {
            Ok(Some(spare)) => self.scratch.pieces = spare,
            Ok(None) => {}
            Err(_) => {
                self.server.take_back(&mut self.scratch.granted);
                tracing::error!(
                    opcode = header.opcode,
                    nodeid = header.nodeid,
                    "a request was given up: this is a bug in extmap"
                );
                self.fail(header.unique, header.opcode, Errno::IO);
            }
        }
    }

    /// Answers; returns the memory of the list of pieces if it was lent.
    fn answer(&mut self, message: &Message<'_>) -> Option<Vec<Piece<'static>>> {
        let header = message.header;
        self.scratch.granted.clear();
        self.scratch.opened = None;
        if let Some(errand) = errands::errand(self.server, message, &self.channel) {
            if self.errands.send(errand).is_err() {
                self.refuse(header.unique, Errno::IO);
            }
            return None;
        }
        let fd = self.channel.as_fd();
        let send = |reply: Reply<'_>| replies::send(fd, header.unique, reply);
        let sent = match dispatch::serve(self.server, message, &mut self.scratch, send) {
            Ok(sent) => sent,
            Err(failure) => {
                if let Failure::Volume(error) = &failure {
                    self.server.complaints.report(error);
                }
                self.server.take_back(&mut self.scratch.granted);
                self.fail(header.unique, header.opcode, failure.errno());
                return None;
            }
        };
        let Sent { outcome, spare } = sent;
        if let Err(error) = outcome {
            self.server.take_back(&mut self.scratch.granted);
            if let Some((file, handle)) = self.scratch.opened.take() {
                namespace::close(self.server, file, handle);
            }
            self.not_sent(header, &error);
        }
        spare
    }

    /// Sends an error to who waits for an answer.
    fn fail(&self, unique: u64, opcode: u32, errno: Errno) {
        if crate::requests::expects_reply(opcode) {
            self.refuse(unique, errno);
        }
    }

    /// Sends an error; that it cannot be sent means that nobody waits for it.
    fn refuse(&self, unique: u64, errno: Errno) {
        self.counter.error();
        if let Err(error) = replies::send_error(self.channel.as_fd(), unique, errno) {
            tracing::debug!(unique, "error reply not taken: {error}");
        }
    }

    fn not_sent(&self, header: &InHeader, error: &std::io::Error) {
        match Errno::from_io_error(error) {
            // Interrupted or unmounted meanwhile: nobody waits any more.
            Some(Errno::NOENT | Errno::NODEV) => {}
            errno => {
                let inode = crate::node::inode_of(header.nodeid).map_or(0, |inode| inode.0);
                let cause = match errno {
                    // The kernel could not read what the pieces point at.
                    Some(Errno::FAULT) => "the image has been cut short",
                    _ => "the kernel refused the reply",
                };
                self.server.complaints.warn(&format!(
                    "inode {inode}, request {}: {cause}: {error}",
                    header.opcode
                ));
                self.refuse(header.unique, Errno::IO);
            }
        }
    }
}

fn out_of_memory() -> Error {
    Error::Thread(std::io::ErrorKind::OutOfMemory.into())
}
