//! What the kernel adds to requests that make something: the caller's groups that matter,
//! and security contexts.

use zerocopy::FromBytes;

use crate::body::{BadBody, Body};
use crate::wire::{EXT_GROUPS, ExtHeader, Secctx};

/// Extensions start at multiples of this many bytes.
const ALIGN: usize = 8;
/// The most security contexts (`FUSE_MAX_NR_SECCTX`).
const CONTEXTS_MAX: u32 = 31;

/// The extensions of one request.
#[derive(Debug, Default)]
pub(crate) struct Extensions<'a> {
    /// Numbers of groups, 4 bytes each; `None` where nothing is said.
    groups: Option<&'a [u8]>,
    /// Full names of extended attributes and their values.
    pub(crate) contexts: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Extensions<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, BadBody> {
        let mut found = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (header, _) = ExtHeader::read_from_prefix(rest).map_err(|_| BadBody)?;
            let (one, after) = split(rest, header.size)?;
            let content = one.get(size_of::<ExtHeader>()..).ok_or(BadBody)?;
            match header.kind {
                EXT_GROUPS => found.groups = Some(groups(content)?),
                0..=CONTEXTS_MAX => found.add_contexts(content, header.kind)?,
                // One of a later protocol: not asked for, not needed.
                _ => {}
            }
            rest = after;
        }
        Ok(found)
    }

    /// Whether the caller is said to be in a group. `None` where nothing is said.
    pub(crate) fn has_group(&self, gid: u32) -> Option<bool> {
        let wanted = gid.to_ne_bytes();
        let groups = self.groups?;
        Some(groups.chunks_exact(4).any(|group| group == wanted))
    }

    fn add_contexts(&mut self, content: &'a [u8], count: u32) -> Result<(), BadBody> {
        let mut rest = content;
        for _ in 0..count {
            let (head, after) = Secctx::read_from_prefix(rest).map_err(|_| BadBody)?;
            let (name, value) = Body(after).until_nul()?;
            let (value, _) = value
                .0
                .split_at_checked(usize::try_from(head.size).map_err(|_| BadBody)?)
                .ok_or(BadBody)?;
            if name.is_empty() {
                return Err(BadBody);
            }
            let len = size_of::<Secctx>() + name.len() + 1 + value.len();
            rest = rest.get(len.next_multiple_of(ALIGN)..).unwrap_or_default();
            self.contexts.push((name, value));
        }
        Ok(())
    }
}

/// The first `len` bytes, and what follows the padding behind them.
fn split(bytes: &[u8], len: u32) -> Result<(&[u8], &[u8]), BadBody> {
    let len = usize::try_from(len).map_err(|_| BadBody)?;
    if len < size_of::<ExtHeader>() {
        return Err(BadBody);
    }
    let one = bytes.get(..len).ok_or(BadBody)?;
    let after = bytes.get(len.next_multiple_of(ALIGN)..);
    Ok((one, after.unwrap_or_default()))
}

fn groups(content: &[u8]) -> Result<&[u8], BadBody> {
    let (count, rest) = u32::read_from_prefix(content).map_err(|_| BadBody)?;
    let len = usize::try_from(count).ok().and_then(|n| n.checked_mul(4));
    rest.get(..len.ok_or(BadBody)?).ok_or(BadBody)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extension(kind: u32, content: &[u8]) -> Vec<u8> {
        let size = (8 + content.len()) as u32;
        let mut bytes = [&size.to_ne_bytes()[..], &kind.to_ne_bytes(), content].concat();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn groups_and_contexts_are_found() {
        let numbers = [1u32, 100].map(u32::to_ne_bytes).concat();
        let mut bytes = extension(EXT_GROUPS, &numbers);
        let context = [
            &6u32.to_ne_bytes()[..],
            &[0; 4],
            b"security.selinux\0",
            b"label\0",
        ]
        .concat();
        bytes.extend(extension(1, &context));
        let found = Extensions::parse(&bytes).expect("extensions");
        assert_eq!(
            (found.has_group(100), found.has_group(1)),
            (Some(true), Some(false))
        );
        assert_eq!(
            found.contexts,
            [(&b"security.selinux"[..], &b"label\0"[..])]
        );
        assert_eq!(Extensions::parse(b"").expect("none").has_group(0), None);
    }

    #[test]
    fn whatever_is_there_never_panics() {
        let numbers = [1u32, 100].map(u32::to_ne_bytes).concat();
        let context = [
            &6u32.to_ne_bytes()[..],
            &[0; 4],
            b"security.selinux\0",
            b"label\0",
        ]
        .concat();
        let good = [extension(EXT_GROUPS, &numbers), extension(1, &context)].concat();
        let mut state = 0x0123_4567_89ab_cdef_u64;
        for _ in 0..200_000 {
            let mut bytes = good.clone();
            for _ in 0..3 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let at = (state % bytes.len() as u64) as usize;
                bytes[at] = (state >> 32) as u8;
            }
            bytes.truncate((state >> 40) as usize % (bytes.len() + 1));
            let _ = Extensions::parse(&bytes);
        }
    }
}
