//! What a copy could not do: complaints made on the way, and a note at the end.

use std::collections::BTreeMap;

use crate::failure::{complain, sentence};

/// What happened over all sources of a call.
#[derive(Debug, Default)]
pub(super) struct Report {
    failures: u64,
    refused: RefusedXattrs,
}

impl Report {
    /// True if something was not copied.
    pub(super) fn failed(&self) -> bool {
        self.failures > 0
    }

    /// Reports what is wrong with the file at `place`, and counts it.
    pub(super) fn complain(&mut self, place: &str, error: &anyhow::Error) {
        self.failures += 1;
        complain(&format!("{place}: {}", sentence(error)));
    }

    /// Where refused attributes are counted.
    pub(super) fn refused(&mut self) -> &mut RefusedXattrs {
        &mut self.refused
    }

    /// Says what was copied without something.
    pub(super) fn print_notes(&self) {
        if let Some(sentence) = self.refused.sentence() {
            // Not an error: everything else of the files is there.
            complain(&sentence);
        }
    }
}

/// Attributes that could not be set: names, and on how many files.
#[derive(Debug, Default)]
pub(super) struct RefusedXattrs {
    names: BTreeMap<Vec<u8>, u64>,
}

impl RefusedXattrs {
    /// Counts one more file that goes without this attribute.
    pub(super) fn add(&mut self, name: Vec<u8>) {
        *self.names.entry(name).or_default() += 1;
    }

    /// One sentence, if there is anything to say.
    fn sentence(&self) -> Option<String> {
        let listed: Vec<_> = self
            .names
            .iter()
            .map(|(name, files)| format!("{} ({files})", String::from_utf8_lossy(name)))
            .collect();
        let what = "extended attributes could not be set here, with the number of files";
        (!listed.is_empty()).then(|| format!("{what}: {}", listed.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_one_sentence() {
        let mut refused = RefusedXattrs::default();
        assert_eq!(refused.sentence(), None);
        refused.add(b"trusted.a".to_vec());
        refused.add(b"trusted.a".to_vec());
        assert!(
            refused
                .sentence()
                .expect("one")
                .ends_with(": trusted.a (2)")
        );
    }
}
