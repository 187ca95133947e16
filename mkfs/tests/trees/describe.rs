//! A tree as text: a line for each name, so that two can be compared and the
//! difference read.

use std::collections::{BTreeMap, HashMap, hash_map::DefaultHasher};
use std::hash::{Hash, Hasher};

use mkfs::{FileContent, NodeId, NodeKind, Tree};

/// Lines by path; the root is ".".
pub(crate) type Lines = BTreeMap<String, String>;

/// Everything about each name but access and change times and flags.
pub(crate) fn describe(tree: &Tree) -> Lines {
    let mut lines = Lines::new();
    let mut first_names = HashMap::new();
    let mut left = vec![(".".to_owned(), NodeId::ROOT)];
    while let Some((path, id)) = left.pop() {
        let node = tree.node(id).expect("entries name nodes");
        if let NodeKind::Directory(entries) = &node.kind {
            for entry in entries.iter().rev() {
                let name = entry.name.escape_ascii();
                left.push((format!("{path}/{name}"), entry.node));
            }
        }
        let first = first_names
            .entry(id)
            .or_insert_with(|| path.clone())
            .clone();
        let a = &node.attributes;
        let xattrs: Vec<_> = a
            .xattrs
            .iter()
            .map(|x| format!("{}={}", x.name.escape_ascii(), x.value.escape_ascii()))
            .collect();
        let line = format!(
            "{} {:04o} {}:{} {}.{:09} {xattrs:?} as {first}",
            kind(&node.kind),
            a.permissions,
            a.uid,
            a.gid,
            a.modified.seconds,
            a.modified.nanos
        );
        lines.insert(path, line);
    }
    lines
}

fn kind(kind: &NodeKind) -> String {
    match kind {
        NodeKind::Directory(entries) => format!("directory of {}", entries.len()),
        NodeKind::File(content) => format!("file of {}", self::content(content)),
        other => format!("{other:?}"),
    }
}

/// Size, where data is, and a hash of it.
pub(crate) fn content(content: &FileContent) -> String {
    let open = content.open().expect("content can be opened");
    let mut hasher = DefaultHasher::new();
    let mut ranges = Vec::new();
    for range in &content.data {
        let mut bytes = vec![0; range.len.try_into().expect("small")];
        open.read_exact_at(&mut bytes, range.source_offset)
            .expect("content can be read");
        bytes.hash(&mut hasher);
        ranges.push((range.offset, range.len));
    }
    format!("{} {ranges:?} #{:x}", content.size_bytes, hasher.finish())
}

/// What lies at a path.
pub(crate) fn find<'t>(tree: &'t Tree, path: &str) -> Option<&'t mkfs::Node> {
    let names = path
        .split('/')
        .filter(|name| !name.is_empty() && *name != ".");
    let id = names.into_iter().try_fold(NodeId::ROOT, |at, name| {
        let NodeKind::Directory(entries) = &tree.node(at)?.kind else {
            return None;
        };
        let entry = entries
            .iter()
            .find(|entry| *entry.name == *name.as_bytes())?;
        Some(entry.node)
    })?;
    tree.node(id)
}
