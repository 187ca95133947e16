//! Compressed data in several pieces behind one another: members of gzip, frames
//! of zstd. What tape drives add to fill a block, zeros, may follow the last one,
//! as gzip and GNU tar allow; nothing else may.
//!
//! The decoders' own modes for several pieces take zeros for a damaged piece.

use std::io::{self, BufRead, Read};
use std::mem;

/// Zeros that may follow, at most. More are not read: they may never end.
const PADDING_BYTES_MAX: u64 = 64 << 20;

/// A decoder for one piece.
pub(super) trait Piece<R>: Read + Sized {
    /// Begins with the first byte of a piece.
    fn start(stream: R) -> io::Result<Self>;
    /// The stream, at the first byte behind a piece that has been read to its end.
    fn into_stream(self) -> R;
}

/// All pieces of a stream, decompressed.
pub(super) struct Joined<R, P> {
    state: State<R, P>,
}

enum State<R, P> {
    Between(R),
    Within(P),
    Ended,
}

impl<R: BufRead, P: Piece<R>> Joined<R, P> {
    /// Reads a stream that stands at the beginning of a piece.
    pub(super) fn new(stream: R) -> Self {
        Self {
            state: State::Between(stream),
        }
    }
}

impl<R: BufRead, P: Piece<R>> Read for Joined<R, P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Ok(0),
                State::Within(mut piece) => match piece.read(buffer) {
                    Ok(0) => self.state = State::Between(piece.into_stream()),
                    read => {
                        self.state = State::Within(piece);
                        return read;
                    }
                },
                State::Between(mut stream) => match stream.fill_buf() {
                    Ok([]) => return Ok(0),
                    Ok([0, ..]) => {
                        pass_padding(&mut stream)?;
                        return Ok(0);
                    }
                    Ok(_) => self.state = State::Within(P::start(stream)?),
                    Err(error) => {
                        self.state = State::Between(stream);
                        return Err(error);
                    }
                },
            }
        }
    }
}

/// Reads zeros to the end of a stream.
fn pass_padding(stream: &mut impl BufRead) -> io::Result<()> {
    let mut passed: u64 = 0;
    loop {
        let bytes = match stream.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.iter().any(|&byte| byte != 0) {
            let why = "something else follows the zeros behind its end";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let len = bytes.len();
        stream.consume(len);
        passed = passed.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        if passed > PADDING_BYTES_MAX {
            let why = "more than 64 MiB of zeros follow its end";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
    }
}
