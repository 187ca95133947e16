//! Fast commits: changes since the last full commit, as operations.
//!
//! The area is written from its beginning after each full commit, one fast
//! commit after the other, each in blocks of its own and ended by a TAIL with a
//! checksum. What follows the last good TAIL is either unfinished or left from
//! an earlier time, and does not count.
//!
//! Where not even the first fast commit is good, Linux refuses the volume until
//! it is repaired. Such a commit was never acknowledged to anyone: it is left
//! out here like any later one that is not good (which Linux leaves out too).

use std::ops::Range;

use zerocopy::FromBytes;

use super::log::Log;
use super::ring::LogBlock;
use super::tid::Tid;
use crate::error::{ErrorKind, Result};
use crate::format::checksum::crc32c_raw;
use crate::format::fast_commit::{
    EXT4_FC_SUPPORTED_FEATURES, FastCommitTag, FcAddRange, FcDelRange, FcDentryInfo, FcHead,
    FcInode, FcTagLength, FcTail,
};
use crate::types::InodeNumber;

/// The smallest inode there is.
const MIN_INODE_BYTES: usize = 128;
const MAX_NAME_BYTES: usize = 255;
/// The most bytes of operations that are collected. Between two full commits
/// (5 seconds) far less comes together.
const MAX_OPERATION_BYTES: usize = 64 << 20;

/// One change. Numbers and bytes are as the log has them: that an inode exists
/// or an extent makes sense has not been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FastCommitOp {
    /// The file's blocks of this extent are mapped so, whatever they were before.
    AddRange {
        inode: InodeNumber,
        /// An `ext4_extent`.
        extent: [u8; 12],
    },
    /// The file's blocks from `first_block` on are a hole.
    DelRange {
        inode: InodeNumber,
        first_block: u32,
        len_blocks: u32,
    },
    /// A new inode and its first name.
    Create(FastCommitName),
    /// A further name.
    Link(FastCommitName),
    /// A name that is gone.
    Unlink(FastCommitName),
    /// The inode is this, but for its mapping (`i_block`, unless it holds data).
    Inode {
        inode: InodeNumber,
        /// 128 bytes up to the volume's inode size.
        raw: Box<[u8]>,
    },
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FastCommitName {
    /// The directory.
    pub(crate) parent: InodeNumber,
    /// What the name means.
    pub(crate) inode: InodeNumber,
    /// 1 ..= 255 bytes.
    pub(crate) name: Box<[u8]>,
}

/// The operations of all good fast commits.
#[derive(Debug, Default)]
pub(super) struct FastCommits {
    pub(super) operations: Vec<FastCommitOp>,
    /// Number of good fast commits.
    pub(super) commits: u32,
}

/// Reads the fast commits that follow the last full commit; `tid` is the first
/// transaction that is not complete, which is the one they run ahead of.
pub(super) fn scan(log: &Log<'_>, area: Range<u32>, tid: Tid) -> Result<FastCommits> {
    let mut scanner = Scanner {
        tid,
        has_begun: false,
        inode_bytes: usize::try_from(log.location.inode_bytes).unwrap_or(usize::MAX),
        crc: 0,
        open: Vec::new(),
        open_bytes: 0,
        good_bytes: 0,
        good: FastCommits::default(),
    };
    let mut block = log.block_buffer();
    for at in area.clone() {
        log.location.read_block(LogBlock(at), &mut block)?;
        let begins_with_head = Record::first(&block).is_some_and(|r| r.tag == FastCommitTag::Head);
        if at == area.start && !begins_with_head {
            break;
        }
        if scanner.block(&block)? == Step::Stop {
            break;
        }
    }
    if !scanner.open.is_empty() {
        let left_out = scanner.open.len();
        tracing::warn!(
            left_out,
            "the last fast commit is incomplete and does not count"
        );
    }
    Ok(scanner.good)
}

#[derive(PartialEq, Eq)]
enum Step {
    GoOn,
    Stop,
}

/// A record of a block.
struct Record<'a> {
    tag: FastCommitTag,
    value: &'a [u8],
    /// Tag, length and value.
    whole: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record `bytes` begins with, if it has a known tag and fits.
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (head, after) = FcTagLength::ref_from_prefix(bytes).ok()?;
        let tag = FastCommitTag::from_raw(head.fc_tag.get())?;
        let value = after.get(..usize::from(head.fc_len.get()))?;
        let whole = bytes.get(..size_of::<FcTagLength>().saturating_add(value.len()))?;
        Some(Self { tag, value, whole })
    }
}

struct Scanner {
    tid: Tid,
    /// There is a HEAD of this transaction.
    has_begun: bool,
    inode_bytes: usize,
    /// Of everything since the last TAIL.
    crc: u32,
    /// Operations since the last TAIL.
    open: Vec<FastCommitOp>,
    open_bytes: usize,
    good_bytes: usize,
    good: FastCommits,
}

impl Scanner {
    fn block(&mut self, block: &[u8]) -> Result<Step> {
        let mut rest = block;
        while rest.len() >= size_of::<FcTagLength>() {
            let Some(record) = Record::first(rest) else {
                return Ok(Step::Stop);
            };
            if self.record(&record)? == Step::Stop {
                return Ok(Step::Stop);
            }
            rest = rest.get(record.whole.len()..).unwrap_or(&[]);
        }
        Ok(Step::GoOn)
    }

    fn record(&mut self, record: &Record<'_>) -> Result<Step> {
        match record.tag {
            FastCommitTag::Head => {
                let Ok(head) = FcHead::ref_from_bytes(record.value) else {
                    return Ok(Step::Stop);
                };
                if head.fc_tid.get() != self.tid.0 {
                    return Ok(Step::Stop);
                }
                let unknown = head.fc_features.get() & !EXT4_FC_SUPPORTED_FEATURES;
                if unknown != 0 {
                    let what = format!("fast commit feature {unknown:#x}");
                    return Err(ErrorKind::Unsupported(what).into());
                }
                self.has_begun = true;
            }
            FastCommitTag::Tail => return Ok(self.tail(record)),
            FastCommitTag::Pad => {}
            _ => {
                let Some(operation) = operation(record, self.inode_bytes) else {
                    return Ok(Step::Stop);
                };
                self.open_bytes = self.open_bytes.saturating_add(record.whole.len());
                if self.open_bytes.saturating_add(self.good_bytes) > MAX_OPERATION_BYTES {
                    let what = format!("more than {MAX_OPERATION_BYTES} bytes of fast commits");
                    return Err(ErrorKind::Unsupported(what).into());
                }
                self.open.push(operation);
            }
        }
        self.crc = crc32c_raw(self.crc, record.whole);
        Ok(Step::GoOn)
    }

    /// The checksum goes up to the TAIL's own, `fc_tid` included.
    fn tail(&mut self, record: &Record<'_>) -> Step {
        let covered = size_of::<FcTagLength>() + std::mem::offset_of!(FcTail, fc_crc);
        let (Ok((tail, _)), Some(covered)) = (
            FcTail::ref_from_prefix(record.value),
            record.whole.get(..covered),
        ) else {
            return Step::Stop;
        };
        let crc = crc32c_raw(self.crc, covered);
        if tail.fc_tid.get() != self.tid.0 || tail.fc_crc.get() != crc {
            return Step::Stop;
        }
        self.crc = 0;
        self.good.operations.append(&mut self.open);
        self.good.commits = self.good.commits.saturating_add(1);
        self.good_bytes = self.good_bytes.saturating_add(self.open_bytes);
        self.open_bytes = 0;
        Step::GoOn
    }
}

/// The operation of a record that is one; `None` if its length is not right.
fn operation(record: &Record<'_>, inode_bytes: usize) -> Option<FastCommitOp> {
    let value = record.value;
    Some(match record.tag {
        FastCommitTag::AddRange => {
            let range = FcAddRange::ref_from_bytes(value).ok()?;
            FastCommitOp::AddRange {
                inode: InodeNumber(range.fc_ino.get()),
                extent: range.fc_ex,
            }
        }
        FastCommitTag::DelRange => {
            let range = FcDelRange::ref_from_bytes(value).ok()?;
            FastCommitOp::DelRange {
                inode: InodeNumber(range.fc_ino.get()),
                first_block: range.fc_lblk.get(),
                len_blocks: range.fc_len.get(),
            }
        }
        FastCommitTag::Creat => FastCommitOp::Create(name(value)?),
        FastCommitTag::Link => FastCommitOp::Link(name(value)?),
        FastCommitTag::Unlink => FastCommitOp::Unlink(name(value)?),
        FastCommitTag::Inode => {
            let (inode, raw) = FcInode::ref_from_prefix(value).ok()?;
            if !(MIN_INODE_BYTES..=inode_bytes).contains(&raw.len()) {
                return None;
            }
            FastCommitOp::Inode {
                inode: InodeNumber(inode.fc_ino.get()),
                raw: raw.into(),
            }
        }
        FastCommitTag::Pad | FastCommitTag::Tail | FastCommitTag::Head => return None,
    })
}

fn name(value: &[u8]) -> Option<FastCommitName> {
    let (entry, name) = FcDentryInfo::ref_from_prefix(value).ok()?;
    (1..=MAX_NAME_BYTES)
        .contains(&name.len())
        .then(|| FastCommitName {
            parent: InodeNumber(entry.fc_parent_ino.get()),
            inode: InodeNumber(entry.fc_ino.get()),
            name: name.into(),
        })
}
