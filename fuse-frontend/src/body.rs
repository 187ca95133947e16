//! The parts a request's body is made of, checked.

use zerocopy::{FromBytes, Immutable, KnownLayout};

/// A body that does not fit its opcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadBody;

/// What follows the header.
#[derive(Clone, Copy)]
pub(crate) struct Body<'a>(pub(crate) &'a [u8]);

impl<'a> Body<'a> {
    /// One structure and nothing else.
    pub(crate) fn only<T: FromBytes + KnownLayout + Immutable>(self) -> Result<&'a T, BadBody> {
        T::ref_from_bytes(self.0).map_err(|_| BadBody)
    }

    /// One structure and the rest.
    pub(crate) fn first<T: FromBytes + KnownLayout + Immutable>(
        self,
    ) -> Result<(&'a T, Self), BadBody> {
        let (value, rest) = T::ref_from_prefix(self.0).map_err(|_| BadBody)?;
        Ok((value, Self(rest)))
    }

    /// One name with its NUL and nothing else.
    pub(crate) fn name(self) -> Result<&'a [u8], BadBody> {
        match self.0.split_last() {
            Some((0, name)) if !name.is_empty() && !has_forbidden_byte(name) => Ok(name),
            _ => Err(BadBody),
        }
    }

    /// Two names, one after the other, each with its NUL, and nothing else.
    pub(crate) fn two_names(self) -> Result<(&'a [u8], &'a [u8]), BadBody> {
        let (first, second) = self.until_nul()?;
        if first.is_empty() || has_forbidden_byte(first) {
            return Err(BadBody);
        }
        Ok((first, second.name()?))
    }

    /// The name of an extended attribute, which may contain a slash, and nothing else.
    pub(crate) fn xattr_name(self) -> Result<&'a [u8], BadBody> {
        match self.0.split_last() {
            Some((0, name)) if !name.is_empty() && !name.contains(&0) => Ok(name),
            _ => Err(BadBody),
        }
    }

    /// What stands before the first NUL, and what behind it.
    pub(crate) fn until_nul(self) -> Result<(&'a [u8], Self), BadBody> {
        let at = self.0.iter().position(|&byte| byte == 0).ok_or(BadBody)?;
        let (before, rest) = self.0.split_at_checked(at).ok_or(BadBody)?;
        Ok((before, Self(rest.get(1..).ok_or(BadBody)?)))
    }

    /// All of it, if it has this length.
    pub(crate) fn exactly(self, len: u32) -> Result<&'a [u8], BadBody> {
        if usize::try_from(len) != Ok(self.0.len()) {
            return Err(BadBody);
        }
        Ok(self.0)
    }
}

fn has_forbidden_byte(name: &[u8]) -> bool {
    name.iter().any(|&byte| byte == 0 || byte == b'/')
}
