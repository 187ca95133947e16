//! How an archive is compressed, told by its first bytes and never by its name.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use zstd::stream::read::Decoder;

use super::Parsed;
use super::joined::{Joined, Piece};

/// The largest window a zstd stream may ask for, as a power of two: what the
/// program zstd grants unless told otherwise.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// The most memory an xz stream may ask for; `xz -9` asks for 65 MiB.
const XZ_MEMORY_BYTES_MAX: u64 = 256 << 20;

/// A form of compression that is supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames.
    Zstd,
    /// The .xz file format, any number of streams.
    Xz,
}

const KNOWN: [(&[u8], Compression); 3] = [
    (b"\x1f\x8b", Compression::Gzip),
    (b"\x28\xb5\x2f\xfd", Compression::Zstd),
    (b"\xfd7zXZ\0", Compression::Xz),
];

const UNSUPPORTED: [(&[u8], &str); 6] = [
    (b"BZh", "bzip2"),
    (b"LZIP", "lzip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x1f\x9d", "compress"),
    (b"\x5d\0\0", "lzma"),
    (b"\x89LZO", "lzop"),
];

/// Recognises compressed data; `None` for what is not compressed.
///
/// # Errors
/// A form that is known but not supported, by its name.
pub(super) fn recognise(start: &[u8]) -> Parsed<Option<Compression>> {
    if let Some(&(_, form)) = KNOWN.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Ok(Some(form));
    }
    // A zstd stream may begin with a frame to be skipped, as pzstd's do.
    if let [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] = start {
        return Ok(Some(Compression::Zstd));
    }
    match UNSUPPORTED
        .iter()
        .find(|(magic, _)| start.starts_with(magic))
    {
        Some((_, name)) => Err(format!(
            "is compressed with {name}, which is not supported (gzip, zstd and xz are)"
        )),
        None => Ok(None),
    }
}

impl Compression {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
        }
    }

    /// The stream, decompressed.
    pub(super) fn decoder(self, stream: impl BufRead + 'static) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::Gzip => Box::new(Joined::<_, GzDecoder<_>>::new(stream)),
            Self::Zstd => Box::new(Joined::<_, Decoder<'static, _>>::new(stream)),
            Self::Xz => {
                let decoder = liblzma::stream::Stream::new_stream_decoder(
                    XZ_MEMORY_BYTES_MAX,
                    liblzma::stream::CONCATENATED,
                )?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(stream, decoder))
            }
        })
    }
}

impl<R: BufRead> Piece<R> for GzDecoder<R> {
    fn start(stream: R) -> io::Result<Self> {
        Ok(Self::new(stream))
    }

    fn into_stream(self) -> R {
        self.into_inner()
    }
}

impl<R: BufRead> Piece<R> for Decoder<'static, R> {
    fn start(stream: R) -> io::Result<Self> {
        let mut decoder = Self::with_buffer(stream)?.single_frame();
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        Ok(decoder)
    }

    fn into_stream(self) -> R {
        self.into_inner()
    }
}
