//! The members of an archive, one after the other.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::archive::Archive;
use super::header::{self, BLOCK_BYTES, Header, text};
use super::member::{self, Member, Type};
use super::pax::{self, Pax};
use super::sparse::Layout;
use crate::tree::{ContentSource, DataRange, FileContent};
use crate::{Error, Result};

/// Characters of a member's name in a message, at most.
const SHOWN_MAX: usize = 200;
/// Bytes of a too long extended header that are passed over for the sake of its
/// member's name, at most.
const PASSED_BYTES_MAX: u64 = 64 << 20;

/// Reads an archive from its beginning to its end.
pub(super) struct Members {
    archive: Archive,
    /// Where the next header is.
    at: u64,
    /// What global headers said so far.
    globals: Pax,
}

/// What came before a member's header and belongs to it.
#[derive(Default)]
struct Before {
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    /// The first thing that is wrong with it.
    fault: Option<Fault>,
}

/// What is wrong with an extended header. It is told when the name of its member is
/// known, which comes later.
struct Fault {
    /// Where the extended header is.
    at: u64,
    why: String,
}

/// What a message is about.
enum Subject<'a> {
    Member(&'a [u8]),
    /// An extended header and where it is; its own name is made up.
    Extension(u64),
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(path) => write!(f, "the member {}", shown(path)),
            Self::Extension(at) => write!(f, "the extended header at byte {at}"),
        }
    }
}

impl Members {
    pub(super) fn new(archive: Archive) -> Self {
        Self {
            archive,
            at: 0,
            globals: Pax::default(),
        }
    }

    /// The next member; `None` behind the last.
    ///
    /// # Errors
    /// `Source` if the archive cannot be read; `BadSource` for what is damaged or
    /// not supported.
    pub(super) fn next(&mut self) -> Result<Option<Member>> {
        let mut before = Before::default();
        loop {
            let start = self.at;
            let header = match self.header() {
                Ok(header) => header,
                Err(Error::BadSource { .. }) if before.fault.is_some() => None,
                Err(error) => return Err(error),
            };
            let Some(header) = header else {
                return match before.fault {
                    Some(Fault { at, why }) => {
                        let subject = Subject::Extension(at);
                        Err(self.archive.bad(format!("the member of {subject}: {why}")))
                    }
                    None if before.is_empty() => Ok(None),
                    None => Err(self.archive.bad("ends behind an extended header")),
                };
            };
            match header.typeflag {
                // 'X' is what Solaris wrote before there was a standard.
                b'x' | b'X' | b'L' | b'K' => self.describe(&header, start, &mut before)?,
                b'g' => {
                    let records = self.extension(&header, start)?;
                    let applied = records.and_then(|records| self.globals.apply_global(&records));
                    applied.map_err(|why| self.bad(&Subject::Extension(start), &why))?;
                }
                // A volume's label: a header and nothing else.
                b'V' if before.is_empty() => {}
                _ => return self.member(&header, before).map(Some),
            }
        }
    }

    /// Takes a header that describes the next member, and what it says.
    fn describe(&mut self, header: &Header, start: u64, before: &mut Before) -> Result<()> {
        let is_second = match header.typeflag {
            b'L' => before.long_name.is_some(),
            b'K' => before.long_link.is_some(),
            _ => before.pax.is_some(),
        };
        let content = self.extension(header, start)?;
        let taken = match content {
            _ if is_second => Err("has two extended headers of one kind".to_owned()),
            Ok(content) => before.take(header.typeflag, &content, &self.globals),
            Err(why) => Err(why),
        };
        if let Err(why) = taken {
            before.fault.get_or_insert(Fault { at: start, why });
        }
        Ok(())
    }

    /// The header at the present place, which then lies behind it; `None` at the
    /// mark that ends the archive.
    fn header(&mut self) -> Result<Option<Header>> {
        let Some(block) = self.archive.block(self.at)? else {
            return Err(self
                .archive
                .cut_off("before its end-of-archive mark (two blocks of zeros)"));
        };
        if header::is_zero(&block) {
            let next = self.archive.block(self.at.saturating_add(BLOCK_BYTES))?;
            if next.is_some_and(|next| !header::is_zero(&next)) {
                let why = format!("goes on behind a lone block of zeros at byte {}", self.at);
                return Err(self.archive.bad(why));
            }
            self.archive.finish(self.at)?;
            return Ok(None);
        }
        if !header::has_valid_checksum(&block) {
            return Err(self.archive.bad(match self.at {
                0 => "is not a tar archive".to_owned(),
                at => format!("has a damaged header at byte {at}"),
            }));
        }
        let header = Header::parse(&block).map_err(|why| {
            let subject = match block.get(156) {
                Some(b'x' | b'X' | b'g' | b'L' | b'K') => Subject::Extension(self.at),
                _ => Subject::Member(text(block.get(..100).unwrap_or(&[]))),
            };
            self.bad(&subject, &why)
        })?;
        self.at = self.at.saturating_add(BLOCK_BYTES);
        Ok(Some(header))
    }

    /// The content of a header that describes others and begins at `start`.
    fn extension(&mut self, header: &Header, start: u64) -> Result<super::Parsed<Vec<u8>>> {
        let subject = Subject::Extension(start);
        let size = u64::try_from(header.size).ok();
        let Some(size) = size.filter(|&size| size <= PASSED_BYTES_MAX) else {
            let why = format!("has {} bytes, which is more than 1 MiB", header.size);
            return Err(self.bad(&subject, &why));
        };
        let content_start = self.at;
        self.pass(&subject, size)?;
        if size > pax::HEADER_BYTES_MAX {
            let why = format!("has an extended header of {size} bytes, which is more than 1 MiB");
            return Ok(Err(why));
        }
        let mut content = vec![0; usize::try_from(size).unwrap_or(0)];
        self.archive.read(&mut content, content_start)?;
        Ok(Ok(content))
    }

    /// Steps over content, which must be there with its padding.
    fn pass(&mut self, subject: &Subject<'_>, size: u64) -> Result<()> {
        let end = size
            .checked_next_multiple_of(BLOCK_BYTES)
            .and_then(|size| self.at.checked_add(size))
            .filter(|&end| i64::try_from(end).is_ok());
        let Some(end) = end else {
            return Err(self.bad(subject, "its size is out of range"));
        };
        if !self.archive.reaches(end)? {
            let place = format!("in the content of {subject}");
            return Err(self.archive.cut_off(&place));
        }
        self.at = end;
        Ok(())
    }

    fn member(&mut self, header: &Header, before: Before) -> Result<Member> {
        let fault = before.fault;
        let mut pax = before.pax.unwrap_or_else(|| self.globals.clone());
        let link = pax.linkpath.take().or(before.long_link);
        let path = pax.sparse.name.take().or(pax.path.take());
        let path = path
            .or(before.long_name)
            .unwrap_or_else(|| header.name.clone());
        if let Some(Fault { why, .. }) = fault {
            return Err(self.bad_member(&path, &why));
        }
        let what = Type::of(header.typeflag, &path);
        let what = self.within(&path, what)?;
        let kind = if what.has_content() {
            let content = self.content(what, header, &pax, &path)?;
            match what {
                Type::DumpedDirectory => member::MemberKind::Directory,
                _ => member::file(content),
            }
        } else {
            let link = link.as_deref().unwrap_or(&header.linkname);
            self.within(&path, member::kind(what, header, &pax, link))?
        };
        let attributes = self.within(&path, member::attributes(what, header, &pax))?;
        Ok(Member {
            path,
            kind,
            attributes,
        })
    }

    /// Finds where the content of a member lies, and steps over it.
    fn content(
        &mut self,
        what: Type,
        header: &Header,
        pax: &Pax,
        path: &[u8],
    ) -> Result<FileContent> {
        let size = pax.size.or_else(|| u64::try_from(header.size).ok());
        let Some(stored_bytes) = size else {
            return Err(self.bad_member(path, "its size is out of range"));
        };
        let layout = match (&header.gnu_sparse, what) {
            (Some(sparse), Type::GnuSparse) => {
                let layout = sparse.layout(&mut self.archive, self.at, stored_bytes)?;
                let (layout, start) = self.within(path, layout)?;
                self.at = start;
                self.pass(&Subject::Member(path), stored_bytes)?;
                layout
            }
            (_, Type::GnuSparse) => {
                let why = "is a sparse file in a form that is not supported (GNU tar's are)";
                return Err(self.bad_member(path, why));
            }
            _ => {
                let start = self.at;
                self.pass(&Subject::Member(path), stored_bytes)?;
                if pax.sparse.is_present() {
                    let layout = pax.sparse.layout(&self.archive, start, stored_bytes)?;
                    self.within(path, layout)?
                } else {
                    solid(start, stored_bytes)
                }
            }
        };
        Ok(FileContent {
            size_bytes: layout.size_bytes,
            data: layout.data,
            source: ContentSource::Shared {
                file: Arc::clone(&self.archive.file),
                archive: Arc::clone(&self.archive.name),
                member: Path::new(OsStr::from_bytes(path)).into(),
            },
        })
    }

    /// Says of which member something is wrong.
    fn within<T>(&self, path: &[u8], parsed: super::Parsed<T>) -> Result<T> {
        parsed.map_err(|why| self.bad_member(path, &why))
    }

    /// The error for a member.
    pub(super) fn bad_member(&self, path: &[u8], why: &str) -> Error {
        self.bad(&Subject::Member(path), why)
    }

    fn bad(&self, subject: &Subject<'_>, why: &str) -> Error {
        self.archive.bad(format!("{subject}: {why}"))
    }
}

impl Before {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }

    /// Takes the content of a header of a type that describes the next member.
    fn take(&mut self, typeflag: u8, content: &[u8], globals: &Pax) -> super::Parsed<()> {
        match typeflag {
            b'L' => self.long_name = Some(text(content).to_vec()),
            b'K' => self.long_link = Some(text(content).to_vec()),
            _ => {
                let pax = self.pax.insert(globals.clone());
                return pax.apply(content).inspect_err(|_| {
                    // What is behind the fault may be the name the message needs.
                    pax.path = pax::path_in(content).or(pax.path.take());
                });
            }
        }
        Ok(())
    }
}

fn solid(start: u64, size_bytes: u64) -> Layout {
    let data = match size_bytes {
        0 => Vec::new(),
        len => vec![DataRange {
            offset: 0,
            len,
            source_offset: start,
        }],
    };
    Layout { size_bytes, data }
}

/// A member's name for a message: a single short line.
pub(super) fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let mut shown: String = text
        .chars()
        .take(SHOWN_MAX)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}
