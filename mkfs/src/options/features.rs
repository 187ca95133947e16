//! Feature lists: `-O extent,^has_journal,none`.

use std::str::FromStr;

use fs_core::{CompatFeatures, Features, IncompatFeatures, RoCompatFeatures};

use crate::feature::KNOWN;
use crate::{Error, Result};

pub(super) use crate::feature::Feature;

/// Features that exist and are refused, with the reason as half a sentence.
const REFUSED: &[(&str, &str)] = &[
    ("bigalloc", READ_ONLY),
    ("quota", READ_ONLY),
    ("project", READ_ONLY),
    ("verity", READ_ONLY),
    ("casefold", READ_ONLY),
    ("encrypt", READ_ONLY),
    (
        "journal_dev",
        "extmap keeps the journal inside the file system",
    ),
    ("compression", OBSOLETE),
    ("dirdata", OBSOLETE),
    ("dir_prealloc", OBSOLETE),
    ("imagic_inodes", OBSOLETE),
    ("lazy_bg", OBSOLETE),
    ("snapshot_bitmap", OBSOLETE),
    ("replica", OBSOLETE),
    ("needs_recovery", STATE),
    ("orphan_present", STATE),
    ("read-only", STATE),
];
const READ_ONLY: &str = "extmap reads file systems that have it but makes none";
const OBSOLETE: &str = "Linux has never supported it or does no longer";
const STATE: &str = "it tells a state that a new file system is not in";

/// One element of a feature list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    /// `none`: off with all that is on so far.
    Clear,
    On(Feature),
    Off(Feature),
}

/// Features switched on and off, in the order written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeatureEdits(Vec<Edit>);

impl FeatureEdits {
    /// Adds the elements of a later list.
    pub fn extend(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    /// True if nothing is switched.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn apply(&self, features: &mut Features) {
        for edit in &self.0 {
            match *edit {
                Edit::Clear => *features = none(),
                Edit::On(feature) => set(features, feature, true),
                Edit::Off(feature) => set(features, feature, false),
            }
        }
    }

    /// True if the list, taken as a whole, switches this feature on.
    pub(super) fn asks_for(&self, feature: Feature) -> bool {
        let last = self.0.iter().rev().find_map(|edit| match edit {
            Edit::On(on) if *on == feature => Some(true),
            Edit::Off(off) if *off == feature => Some(false),
            Edit::Clear => Some(false),
            _ => None,
        });
        last == Some(true)
    }
}

impl FromStr for FeatureEdits {
    type Err = Error;

    /// Reads mke2fs's list: names in any case, set apart by commas or spaces,
    /// `^` or `-` before what goes off, `none` for all.
    fn from_str(list: &str) -> Result<Self> {
        let mut edits = Vec::new();
        for item in list.split(|c: char| c == ',' || c.is_ascii_whitespace()) {
            if item.is_empty() {
                continue;
            }
            if item.eq_ignore_ascii_case("none") {
                edits.push(Edit::Clear);
                continue;
            }
            let off = item.strip_prefix(['^', '-']);
            let name = off.unwrap_or(item.strip_prefix('+').unwrap_or(item));
            let is_it = |known: &str| known.eq_ignore_ascii_case(name);
            if let Some((_, feature)) = KNOWN.iter().find(|(known, _)| is_it(known)) {
                edits.push(match off {
                    Some(_) => Edit::Off(*feature),
                    None => Edit::On(*feature),
                });
            } else if let Some((name, reason)) = REFUSED.iter().find(|(known, _)| is_it(known)) {
                // What cannot be on is off already.
                if off.is_none() {
                    return Err(Error::Features(format!(
                        "the feature {name} cannot be asked for: {reason}"
                    )));
                }
            } else {
                return Err(Error::Features(format!(
                    "{name:?} is no feature; known are: {}",
                    known_names()
                )));
            }
        }
        Ok(Self(edits))
    }
}

fn known_names() -> String {
    let names: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// No features.
pub(super) fn none() -> Features {
    Features {
        compat: CompatFeatures::empty(),
        incompat: IncompatFeatures::empty(),
        ro_compat: RoCompatFeatures::empty(),
    }
}

pub(super) fn set(features: &mut Features, feature: Feature, on: bool) {
    match feature {
        Feature::Compat(bit) => features.compat.set(bit, on),
        Feature::Incompat(bit) => features.incompat.set(bit, on),
        Feature::RoCompat(bit) => features.ro_compat.set(bit, on),
    }
}

/// Only the features of a list, for tests.
#[cfg(test)]
pub(super) fn of_list(list: &str) -> Features {
    let mut features = none();
    list.parse::<FeatureEdits>().unwrap().apply(&mut features);
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<String> {
        let mut features = none();
        list.parse::<FeatureEdits>().unwrap().apply(&mut features);
        features.names()
    }

    #[test]
    fn features_go_on_and_off_in_order() {
        assert_eq!(names("extent,64bit ^64bit"), ["extent"]);
        assert_eq!(names("mmp,none,EXTENTS"), ["extent"]);
        assert_eq!(names("+mmp,-mmp"), [""; 0]);
        assert_eq!(names(""), [""; 0]);
        assert_eq!(names("^quota"), [""; 0]);
    }

    #[test]
    fn every_known_feature_has_the_name_fs_core_prints() {
        for (name, _) in KNOWN {
            let expected = match *name {
                "extents" => "extent",
                "uninit_groups" => "uninit_bg",
                name => name,
            };
            assert_eq!(names(name), [expected]);
        }
    }

    #[test]
    fn unknown_and_refused_features_are_named() {
        for list in [
            "bigalloc",
            "mmp,quota",
            "Casefold",
            "frobnicate",
            "^^mmp",
            "^none",
            "^",
        ] {
            let name = list.split(',').next_back().unwrap().to_lowercase();
            let message = list.parse::<FeatureEdits>().unwrap_err().to_string();
            assert!(message.contains(name.trim_start_matches('^')), "{message}");
        }
    }

    #[test]
    fn the_last_word_about_a_feature_counts() {
        let mmp = Feature::Incompat(IncompatFeatures::MMP);
        for (list, asked) in [
            ("mmp", true),
            ("mmp,^mmp", false),
            ("^mmp,mmp", true),
            ("mmp,none", false),
            ("", false),
        ] {
            let edits: FeatureEdits = list.parse().unwrap();
            assert_eq!(edits.asks_for(mmp), asked, "{list}");
        }
    }
}
