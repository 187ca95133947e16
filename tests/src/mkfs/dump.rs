//! What dumpe2fs says of an image, and how two of them differ.

use crate::tool;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// A field in which extmap's file system may differ from mke2fs's.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// As dumpe2fs calls it.
    pub field: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// Every field in which the two may differ. `docs/format.md` has the same table.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        field: "Lifetime writes",
        reason: "each program counts what it has itself written",
    },
    Difference {
        field: "Checksum",
        reason: "the superblock's, which covers Lifetime writes",
    },
    Difference {
        field: "mmp_update_time",
        reason: "the time of making, where mke2fs takes the clock's",
    },
    Difference {
        field: "mmp_update_date",
        reason: "the time of making, where mke2fs takes the clock's",
    },
    Difference {
        field: "mmp_node_name",
        reason: "empty: which machine made it must not show",
    },
    Difference {
        field: "mmp_device_name",
        reason: "empty: under which name it was made must not show",
    },
];

/// dumpe2fs's words: the superblock's fields by name, then the group list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// Fields of the superblock and of the journal.
    pub fields: BTreeMap<String, String>,
    /// The group list, line by line.
    pub groups: Vec<String>,
}

impl Dump {
    /// Asks dumpe2fs.
    pub fn of(image: &Path) -> Result<Self> {
        let text = tool::run("dumpe2fs", &[image])?;
        let (head, groups) = match text.find("\nGroup 0:") {
            Some(at) => text.split_at(at),
            None => bail!("no groups: {text}"),
        };
        let fields = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        Ok(Self {
            fields,
            groups: groups.trim().lines().map(str::to_owned).collect(),
        })
    }

    /// A field's value, empty if there is none.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// The number a field begins with.
    pub fn number(&self, name: &str) -> Result<u64> {
        let digits = self.field(name).split_whitespace().next();
        match digits.and_then(|digits| digits.parse().ok()) {
            Some(number) => Ok(number),
            None => bail!("{name} is {:?}", self.field(name)),
        }
    }

    /// Whether the superblock lists this feature.
    pub fn has_feature(&self, name: &str) -> bool {
        self.field("Filesystem features")
            .split_whitespace()
            .any(|feature| feature == name)
    }

    /// The differences to what mke2fs made, but for [`DIFFERENCES`].
    pub fn diff(&self, peer: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let names: std::collections::BTreeSet<_> =
            self.fields.keys().chain(peer.fields.keys()).collect();
        for name in names {
            let allowed = DIFFERENCES.iter().any(|one| one.field == name);
            let (ours, theirs) = (self.fields.get(name), peer.fields.get(name));
            if !allowed && ours != theirs {
                lines.push(format!("{name}: {ours:?}, mke2fs {theirs:?}"));
            }
        }
        for (number, (ours, theirs)) in self.groups.iter().zip(&peer.groups).enumerate() {
            if ours != theirs {
                let group = self.groups[..=number]
                    .iter()
                    .rev()
                    .find(|line| line.starts_with("Group "))
                    .and_then(|line| line.split(':').next());
                lines.push(format!(
                    "{}: {ours:?}, mke2fs {theirs:?}",
                    group.unwrap_or_default()
                ));
            }
        }
        if self.groups.len() != peer.groups.len() {
            lines.push(format!(
                "{} lines in the group list, mke2fs {}",
                self.groups.len(),
                peer.groups.len()
            ));
        }
        lines
    }

    /// An error that shows the differences (the first 30) unless there is none.
    pub fn assert_same(&self, peer: &Self) -> Result<()> {
        let lines = self.diff(peer);
        if lines.is_empty() {
            return Ok(());
        }
        let mut report = format!("dumpe2fs sees {} differences to mke2fs:", lines.len());
        for line in lines.iter().take(30) {
            let _ = write!(report, "\n  {line}");
        }
        bail!("{report}");
    }
}
