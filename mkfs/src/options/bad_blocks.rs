//! The list of broken blocks: what `-l FILE` holds.

use std::collections::BTreeSet;
use std::str::FromStr;

use fs_core::FsBlock;

use super::number;
use crate::{Error, Result};

/// Broken blocks, in the file system's block size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BadBlocks(BTreeSet<u64>);

impl FromStr for BadBlocks {
    type Err = Error;

    /// Reads badblocks(8)'s output: a number a line.
    fn from_str(text: &str) -> Result<Self> {
        let block = |(index, line): (usize, &str)| {
            number::integer(line.trim()).ok_or_else(|| {
                Error::Option(format!(
                    "line {} of the bad block list is {line:?}, not a block number",
                    index + 1
                ))
            })
        };
        let lines = text.lines().enumerate();
        lines
            .filter(|(_, line)| !line.trim().is_empty())
            .map(block)
            .collect::<Result<_>>()
            .map(Self)
    }
}

impl BadBlocks {
    /// The blocks, sorted, each once.
    ///
    /// # Errors
    /// `Option` for one outside the file system, and for one before
    /// `first_usable`: where the superblock and the descriptors must lie.
    pub(super) fn within(&self, first_usable: u64, blocks: u64) -> Result<Vec<FsBlock>> {
        match self.0.last() {
            Some(&last) if last >= blocks => {
                return Err(Error::Option(format!(
                    "the bad block {last} is outside of the file system of {blocks} blocks"
                )));
            }
            _ => {}
        }
        match self.0.first() {
            Some(&first) if first < first_usable => Err(Error::Option(format!(
                "the bad block {first} lies where the superblock and the group descriptors must be (before block {first_usable}), so no file system can be made"
            ))),
            _ => Ok(self.0.iter().copied().map(FsBlock).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_sorted_and_checked() {
        let list: BadBlocks = "70\n 60 \n\n70\n".parse().unwrap();
        assert_eq!(list.within(5, 71).unwrap(), [FsBlock(60), FsBlock(70)]);
        assert!(list.within(5, 70).is_err());
        assert!(list.within(61, 71).is_err());
        let message = "1\nx\n".parse::<BadBlocks>().unwrap_err().to_string();
        assert!(message.contains("line 2"), "{message}");
    }
}
