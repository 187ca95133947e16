//! Which stanzas of the profile apply, and what they say.
//!
//! They are, in rising precedence: `[defaults]`, the file system type (`-t`),
//! the usage types (`-T`, else one by size), and hurd for that creator.

use std::str::FromStr;

use super::number;
use super::profile::{Profile, Stanza};
use crate::{Error, Result};

/// Relations this program acts on.
const KNOWN: [&str; 21] = [
    "fs_type",
    "base_features",
    "features",
    "default_features",
    "default_mntopts",
    "blocksize",
    "inode_size",
    "inode_ratio",
    "reserved_ratio",
    "hash_alg",
    "errors",
    "lazy_itable_init",
    "lazy_journal_init",
    "discard",
    "flex_bg_size",
    "num_backup_sb",
    "packed_meta_blocks",
    "journal_location",
    "options",
    "enable_periodic_fsck",
    "auto_64-bit_support",
];
/// Relations that change what mke2fs does or says around making a file system,
/// not what it makes.
const WITHOUT_EFFECT: [&str; 3] = ["undo_dir", "force_undo", "warn_y2038_dates"];

/// `-T`: what the file system is for. Later types win over earlier ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageTypes(Vec<String>);

impl FromStr for UsageTypes {
    type Err = Error;

    /// Reads a comma list. Whether the types exist is found out in the profile.
    fn from_str(list: &str) -> Result<Self> {
        let names = list.split(',').filter(|name| !name.is_empty());
        Ok(Self(names.map(str::to_owned).collect()))
    }
}

/// The usage type mke2fs takes for a size when none is asked for.
fn usage_by_size(bytes: u64) -> &'static str {
    const MIB: u64 = 1 << 20;
    const TIB: u64 = 1 << 40;
    match bytes {
        bytes if bytes < 3 * MIB => "floppy",
        bytes if bytes < 512 * MIB => "small",
        bytes if bytes < 4 * TIB => "default",
        bytes if bytes < 16 * TIB => "big",
        _ => "huge",
    }
}

/// What decides which stanzas apply.
pub(super) struct Purpose<'a> {
    pub(super) fs_type: Option<&'a str>,
    pub(super) usage: &'a UsageTypes,
    pub(super) size_bytes: u64,
    pub(super) hurd: bool,
}

/// The stanzas that apply, in rising precedence.
pub(super) struct Stanzas<'a> {
    defaults: Option<&'a Stanza>,
    types: Vec<&'a Stanza>,
}

impl<'a> Stanzas<'a> {
    /// Picks the stanzas.
    ///
    /// # Errors
    /// `Option` for a type the profile does not define, and for what is in a
    /// stanza that applies and not supported.
    pub(super) fn select(profile: &'a Profile, purpose: &Purpose<'_>) -> Result<Self> {
        check_sections(profile)?;
        let defaults = profile.section("defaults");
        let by_default = defaults.and_then(|stanza| stanza.relations.get("fs_type"));
        let fs_type = match purpose.fs_type {
            Some(asked) => asked,
            None if purpose.hurd => "ext2",
            None => by_default.map_or("ext4", String::as_str),
        };
        let mut types = Vec::new();
        match profile.fs_type(fs_type) {
            Some(stanza) => types.push(stanza),
            // It is what is left without anything that a type adds.
            None if fs_type == "ext2" => {}
            None => return Err(undefined(profile, "file system type (-t)", fs_type)),
        }
        let by_size = [usage_by_size(purpose.size_bytes).to_owned()];
        let asked = &purpose.usage.0;
        for name in if asked.is_empty() {
            &by_size
        } else {
            asked.as_slice()
        } {
            match profile.fs_type(name) {
                Some(stanza) => types.push(stanza),
                // A profile need not treat a size, or an ordinary use, specially.
                None if asked.is_empty() || name == "default" => {}
                None => return Err(undefined(profile, "usage type (-T)", name)),
            }
        }
        if purpose.hurd {
            types.extend(profile.fs_type("hurd"));
        }
        for stanza in defaults.iter().chain(&types) {
            check_relations(stanza)?;
        }
        Ok(Self { defaults, types })
    }

    /// What the last stanza that says anything about `relation` says.
    pub(super) fn last(&self, relation: &str) -> Option<&'a str> {
        let types = self.types.iter().rev();
        types
            .chain(self.defaults.iter())
            .find_map(|stanza| stanza.relations.get(relation))
            .map(String::as_str)
    }

    /// What each type's stanza says about `relation`, in order; not the defaults.
    pub(super) fn each(&self, relation: &str) -> impl Iterator<Item = &'a str> {
        self.types
            .iter()
            .filter_map(move |stanza| stanza.relations.get(relation).map(String::as_str))
    }

    /// A number that is not negative.
    pub(super) fn number(&self, relation: &str) -> Result<Option<u64>> {
        self.last(relation)
            .map(|text| number::integer(text).ok_or_else(|| unusable(relation, text)))
            .transpose()
    }

    /// A number with a fraction.
    pub(super) fn fraction(&self, relation: &str) -> Result<Option<f64>> {
        self.last(relation)
            .map(|text| text.parse().map_err(|_| unusable(relation, text)))
            .transpose()
    }

    /// A truth value, in the words mke2fs knows.
    pub(super) fn truth(&self, relation: &str) -> Result<Option<bool>> {
        let Some(text) = self.last(relation) else {
            return Ok(None);
        };
        match text.to_ascii_lowercase().as_str() {
            "y" | "yes" | "true" | "t" | "1" | "on" => Ok(Some(true)),
            "n" | "no" | "false" | "nil" | "0" | "off" => Ok(Some(false)),
            _ => Err(unusable(relation, text)),
        }
    }
}

pub(super) fn unusable(relation: &str, text: &str) -> Error {
    Error::Option(format!(
        "the profile says {relation} = {text}, which makes no sense"
    ))
}

fn undefined(profile: &Profile, what: &str, name: &str) -> Error {
    let known: Vec<&str> = profile
        .section("fs_types")
        .map(|types| types.stanzas.keys().map(String::as_str).collect())
        .unwrap_or_default();
    Error::Option(format!(
        "the {what} {name:?} is not defined; the profile defines: {}",
        known.join(", ")
    ))
}

fn check_sections(profile: &Profile) -> Result<()> {
    // "options" says how mke2fs asks questions and syncs.
    match profile
        .sections()
        .find(|name| !["defaults", "fs_types", "options"].contains(name))
    {
        None => Ok(()),
        Some(name) => Err(Error::Option(format!(
            "the profile has a section [{name}], which is not supported; supported are [defaults] and [fs_types]"
        ))),
    }
}

fn check_relations(stanza: &Stanza) -> Result<()> {
    let names = stanza.relations.keys().chain(stanza.stanzas.keys());
    let known = |name: &str| KNOWN.contains(&name) || WITHOUT_EFFECT.contains(&name);
    match names.into_iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => Err(Error::Option(format!(
            "the profile says something about {name:?}, which is not supported; supported are: {}",
            KNOWN.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purpose(usage: &UsageTypes, size_bytes: u64) -> Purpose<'_> {
        Purpose {
            fs_type: None,
            usage,
            size_bytes,
            hurd: false,
        }
    }

    #[test]
    fn the_size_picks_the_usage_type() {
        let profile = Profile::built_in().unwrap();
        for (size, block, ratio) in [
            (3 << 20, "1024", "4096"),
            ((3 << 20) - 1, "1024", "8192"),
            (512 << 20, "4096", "16384"),
            (4 << 40, "4096", "32768"),
            (16 << 40, "4096", "65536"),
        ] {
            let usage = UsageTypes::default();
            let stanzas = Stanzas::select(&profile, &purpose(&usage, size)).unwrap();
            assert_eq!(stanzas.last("blocksize"), Some(block), "{size}");
            assert_eq!(stanzas.last("inode_ratio"), Some(ratio), "{size}");
        }
    }

    #[test]
    fn later_types_win_and_unknown_ones_are_refused() {
        let profile = Profile::built_in().unwrap();
        let usage = "news,small,big".parse().unwrap();
        let stanzas = Stanzas::select(&profile, &purpose(&usage, 1 << 30)).unwrap();
        assert_eq!(stanzas.last("inode_ratio"), Some("32768"));
        assert_eq!(stanzas.last("blocksize"), Some("1024"));
        let usage = "default,warez".parse().unwrap();
        let Err(error) = Stanzas::select(&profile, &purpose(&usage, 1 << 30)) else {
            panic!("warez is no usage type");
        };
        assert!(error.to_string().contains("warez"), "{error}");
        assert!(error.to_string().contains("largefile4"), "{error}");
    }

    #[test]
    fn what_a_profile_cannot_have_is_named() {
        for (text, word) in [
            ("[devices]\n/dev/a = {\n}\n", "devices"),
            (
                "[defaults]\nmake_hugefiles = true\nfs_type = ext2\n",
                "make_hugefiles",
            ),
            (
                "[fs_types]\next4 = {\ncluster_size = 65536\n}\n",
                "cluster_size",
            ),
            ("[defaults]\nfs_type = ext5\n", "ext5"),
            ("[defaults]\nblocksize = 4096\n", "ext4"),
        ] {
            let profile: Profile = text.parse().unwrap();
            let usage = UsageTypes::default();
            let Err(error) = Stanzas::select(&profile, &purpose(&usage, 1 << 30)) else {
                panic!("{text:?} is accepted");
            };
            assert!(error.to_string().contains(word), "{text:?}: {error}");
        }
    }

    #[test]
    fn words_for_truth() {
        let text = "[defaults]\ndiscard = Yes\nlazy_itable_init = nil\nerrors = maybe\n";
        let text = format!("{text}[fs_types]\next4 = {{\n}}\n");
        let profile: Profile = text.parse().unwrap();
        let usage = UsageTypes::default();
        let stanzas = Stanzas::select(&profile, &purpose(&usage, 1 << 30)).unwrap();
        assert_eq!(stanzas.truth("discard").unwrap(), Some(true));
        assert_eq!(stanzas.truth("lazy_itable_init").unwrap(), Some(false));
        assert_eq!(stanzas.truth("packed_meta_blocks").unwrap(), None);
        assert!(stanzas.truth("errors").is_err());
        assert!(stanzas.number("errors").is_err());
    }
}
