//! Standard output: buffered, unmangled, escaped for people.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use crate::escape::escape_name;

/// Standard output as a byte stream of 64 KiB pieces (the standard library's
/// own handle flushes at every line).
#[derive(Debug)]
pub(crate) struct Output {
    stream: BufWriter<File>,
    is_terminal: bool,
}

impl Output {
    /// Opens standard output.
    pub(crate) fn open() -> io::Result<Self> {
        let stdout = io::stdout();
        let fd = stdout.as_fd().try_clone_to_owned()?;
        Ok(Self {
            is_terminal: rustix::termios::isatty(&fd),
            stream: BufWriter::with_capacity(64 * 1024, File::from(fd)),
        })
    }

    /// A name as this output shows it: escaped on a terminal, raw otherwise.
    pub(crate) fn name(&self, name: &[u8]) -> Vec<u8> {
        if self.is_terminal {
            escape_name(name).into_bytes()
        } else {
            name.to_vec()
        }
    }

    /// Writes everything; call it last, errors of a drop are lost.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush()
    }
}

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf).map_err(explain)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush().map_err(explain)
    }
}

/// Says which file failed; the kind stays, a broken pipe is told by it.
fn explain(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::Interrupted {
        return error;
    }
    io::Error::new(
        error.kind(),
        format!("cannot write to standard output: {error}"),
    )
}
