//! One process writes files and syncs each step.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use system_tests::rng::Rng;

use crate::Workload;

const NAMES: u64 = 12;
const FILE_BYTES_MAX: u64 = 70_000;

/// One step, ended by a sync of what it changed.
#[derive(Clone, Debug)]
enum Step {
    /// A new file in place of an old one.
    Write(String, Vec<u8>),
    /// Bytes over those at an offset, or behind the end.
    Overwrite(String, usize, Vec<u8>),
    Truncate(String, usize),
    Rename(String, String),
    Remove(String),
}

type Files = BTreeMap<String, Vec<u8>>;

/// See the module.
pub(crate) struct SyncedFiles {
    rng: Rng,
    /// What has been synced.
    synced: Files,
    /// What was under way at the end.
    begun: Option<Step>,
}

impl SyncedFiles {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed ^ 0xF11E5),
            synced: Files::new(),
            begun: None,
        }
    }

    fn draw(&mut self) -> Step {
        let rng = &mut self.rng;
        let name = |rng: &mut Rng| format!("file-{}", rng.below(NAMES));
        let len = rng.below(FILE_BYTES_MAX) as usize;
        let (one, other) = (name(rng), name(rng));
        match self.synced.get(&one) {
            Some(content) if rng.below(4) > 0 => match rng.below(5) {
                0 => Step::Truncate(one, len),
                1 if one != other => Step::Rename(one, other),
                2 => Step::Remove(one),
                _ => {
                    let at = rng.below(content.len() as u64 + 1) as usize;
                    Step::Overwrite(one, at, rng.bytes(len / 4 + 1))
                }
            },
            _ => Step::Write(one, rng.bytes(len)),
        }
    }

    fn step(&mut self, dir: &Path) -> std::io::Result<()> {
        let step = self.draw();
        self.begun = Some(step.clone());
        perform(dir, &step)?;
        self.begun = None;
        apply(&mut self.synced, step);
        Ok(())
    }
}

fn perform(dir: &Path, step: &Step) -> std::io::Result<()> {
    match step {
        Step::Write(name, bytes) => {
            let file = File::create(dir.join(name))?;
            file.write_all_at(bytes, 0)?;
            file.sync_all()?;
            File::open(dir)?.sync_all()
        }
        Step::Overwrite(name, at, bytes) => {
            let file = OpenOptions::new().write(true).open(dir.join(name))?;
            file.write_all_at(bytes, *at as u64)?;
            file.sync_data()
        }
        Step::Truncate(name, len) => {
            let file = OpenOptions::new().write(true).open(dir.join(name))?;
            file.set_len(*len as u64)?;
            file.sync_all()
        }
        Step::Rename(from, to) => {
            fs::rename(dir.join(from), dir.join(to))?;
            File::open(dir)?.sync_all()
        }
        Step::Remove(name) => {
            fs::remove_file(dir.join(name))?;
            File::open(dir)?.sync_all()
        }
    }
}

fn apply(files: &mut Files, step: Step) {
    match step {
        Step::Write(name, bytes) => {
            files.insert(name, bytes);
        }
        Step::Overwrite(name, at, bytes) => {
            if let Some(content) = files.get_mut(&name) {
                let end = at + bytes.len();
                content.resize(content.len().max(end), 0);
                content[at..end].copy_from_slice(&bytes);
            }
        }
        Step::Truncate(name, len) => {
            if let Some(content) = files.get_mut(&name) {
                content.resize(len, 0);
            }
        }
        Step::Rename(from, to) => {
            if let Some(content) = files.remove(&from) {
                files.insert(to, content);
            }
        }
        Step::Remove(name) => {
            files.remove(&name);
        }
    }
}

impl Workload for SyncedFiles {
    fn work(&mut self, dir: &Path) {
        while self.step(dir).is_ok() {}
    }

    fn check(&self, dir: &Path) -> Result<()> {
        let mut found = Files::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let content = fs::read(entry.path()).with_context(|| name.clone())?;
            found.insert(name, content);
        }
        let mut after = self.synced.clone();
        if let Some(step) = self.begun.clone() {
            apply(&mut after, step);
        }
        let under_way: Vec<&str> = match &self.begun {
            None => Vec::new(),
            Some(Step::Rename(from, to)) => vec![from, to],
            Some(
                Step::Write(name, _)
                | Step::Overwrite(name, ..)
                | Step::Truncate(name, _)
                | Step::Remove(name),
            ) => vec![name],
        };
        let names: std::collections::BTreeSet<&String> = self
            .synced
            .keys()
            .chain(after.keys())
            .chain(found.keys())
            .collect();
        for name in names {
            let (old, new, now) = (self.synced.get(name), after.get(name), found.get(name));
            if now == old || now == new {
                continue;
            }
            if !under_way.contains(&name.as_str()) {
                bail!("{name}: {} instead of {}", size(now), size(old));
            }
            ensure!(
                is_half_way(old, now, new, &self.begun),
                "{name}: {} during {}",
                size(now),
                describe(self.begun.as_ref())
            );
        }
        if let Some(Step::Rename(from, to)) = &self.begun {
            let is_whole = (found.get(from) == self.synced.get(from)
                && found.get(to) == self.synced.get(to))
                || (found.get(from) == after.get(from) && found.get(to) == after.get(to));
            ensure!(is_whole, "a rename is there by half");
        }
        Ok(())
    }
}

fn size(content: Option<&Vec<u8>>) -> String {
    content.map_or("nothing".into(), |bytes| format!("{} bytes", bytes.len()))
}

fn describe(step: Option<&Step>) -> String {
    match step {
        None => "nothing".into(),
        Some(Step::Write(_, bytes)) => format!("a write of {} bytes", bytes.len()),
        Some(Step::Overwrite(_, at, bytes)) => format!("{} bytes over {at}", bytes.len()),
        Some(other) => format!("{other:?}"),
    }
}

/// What a step that was not ended may leave of its file: bytes of before, bytes of after,
/// or zeros; of a file written anew nothing at first.
fn is_half_way(
    old: Option<&Vec<u8>>,
    now: Option<&Vec<u8>>,
    new: Option<&Vec<u8>>,
    step: &Option<Step>,
) -> bool {
    let (Some(now), Some(new)) = (now, new) else {
        return false;
    };
    let nothing = Vec::new();
    let is_anew = matches!(step, Some(Step::Write(..)));
    let old = if is_anew {
        &nothing
    } else {
        old.unwrap_or(&nothing)
    };
    let longest = old.len().max(new.len());
    now.len() <= longest
        && now.iter().enumerate().all(|(at, &byte)| {
            byte == 0 || old.get(at) == Some(&byte) || new.get(at) == Some(&byte)
        })
}
