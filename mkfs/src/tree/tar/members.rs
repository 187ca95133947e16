//! The members of an archive, one after the other.

use std::ffi::OsStr;
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
            let Some(header) = self.header()? else {
                if before.is_empty() {
                    return Ok(None);
                }
                return Err(self.archive.bad("ends behind an extended header"));
            };
            match header.typeflag {
                // 'X' is what Solaris wrote before there was a standard.
                b'x' | b'X' => {
                    let records = self.extension(&header, before.pax.is_some())?;
                    let mut pax = self.globals.clone();
                    self.within(&header.name, pax.apply(&records))?;
                    before.pax = Some(pax);
                }
                b'g' => {
                    let records = self.extension(&header, false)?;
                    let applied = self.globals.apply_global(&records);
                    self.within(&header.name, applied)?;
                }
                b'L' => {
                    let name = self.extension(&header, before.long_name.is_some())?;
                    before.long_name = Some(text(&name).to_vec());
                }
                b'K' => {
                    let link = self.extension(&header, before.long_link.is_some())?;
                    before.long_link = Some(text(&link).to_vec());
                }
                // A volume's label: a header and nothing else.
                b'V' if before.is_empty() => {}
                _ => return self.member(&header, before).map(Some),
            }
        }
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
            self.archive.finish()?;
            return Ok(None);
        }
        if !header::has_valid_checksum(&block) {
            return Err(self.archive.bad(match self.at {
                0 => "is not a tar archive".to_owned(),
                at => format!("has a damaged header at byte {at}"),
            }));
        }
        self.at = self.at.saturating_add(BLOCK_BYTES);
        let header = Header::parse(&block);
        let header =
            header.map_err(|why| self.bad_member(text(block.get(..100).unwrap_or(&[])), &why))?;
        Ok(Some(header))
    }

    /// The content of a header that describes the next member. There can be one
    /// of a kind.
    fn extension(&mut self, header: &Header, is_second: bool) -> Result<Vec<u8>> {
        if is_second {
            return Err(self.bad_member(&header.name, "is a second extended header of one member"));
        }
        let size = u64::try_from(header.size).ok();
        let Some(size) = size.filter(|&size| size <= pax::HEADER_BYTES_MAX) else {
            let why = format!(
                "is an extended header of {} bytes: more than 1 MiB",
                header.size
            );
            return Err(self.bad_member(&header.name, &why));
        };
        let start = self.at;
        self.pass(&header.name, size)?;
        let mut content = vec![0; usize::try_from(size).unwrap_or(0)];
        self.archive.read(&mut content, start)?;
        Ok(content)
    }

    /// Steps over content, which must be there with its padding.
    fn pass(&mut self, name: &[u8], size: u64) -> Result<()> {
        let end = size
            .checked_next_multiple_of(BLOCK_BYTES)
            .and_then(|size| self.at.checked_add(size))
            .filter(|&end| i64::try_from(end).is_ok());
        let Some(end) = end else {
            return Err(self.bad_member(name, "its size is out of range"));
        };
        if !self.archive.reaches(end)? {
            let place = format!("in the content of the member {}", shown(name));
            return Err(self.archive.cut_off(&place));
        }
        self.at = end;
        Ok(())
    }

    fn member(&mut self, header: &Header, before: Before) -> Result<Member> {
        let mut pax = before.pax.unwrap_or_else(|| self.globals.clone());
        let link = pax.linkpath.take().or(before.long_link);
        let path = pax.sparse.name.take().or(pax.path.take());
        let path = path
            .or(before.long_name)
            .unwrap_or_else(|| header.name.clone());
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
                self.pass(path, stored_bytes)?;
                layout
            }
            (_, Type::GnuSparse) => {
                let why = "is a sparse file in a form that is not supported (GNU tar's are)";
                return Err(self.bad_member(path, why));
            }
            _ => {
                let start = self.at;
                self.pass(path, stored_bytes)?;
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
        self.archive
            .bad(format!("the member {}: {why}", shown(path)))
    }
}

impl Before {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && self.long_link.is_none()
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
fn shown(path: &[u8]) -> String {
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
