//! The commands that look into an image without mounting it, judged by dumpe2fs,
//! filefrag and the tree itself.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use system_tests::guards::KernelMount;
use system_tests::manifest::Manifest;
use system_tests::matrix::Recipe;
use system_tests::program::{self, Ended};
use system_tests::scratch::{Scratch, file_hash};
use system_tests::{skip, tool};

fn extmap(args: &[&OsStr]) -> Result<Ended> {
    let ended = program::extmap(args)?;
    ensure!(ended.success(), "extmap {args:?}: {ended}");
    ensure!(
        ended.stderr.is_empty(),
        "extmap {args:?} complains: {ended}"
    );
    Ok(ended)
}

/// Every scalar of a JSON value, as text.
fn scalars(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| scalars(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| scalars(field, found)),
        Value::String(text) => drop(found.insert(text.clone())),
        other => drop(found.insert(other.to_string())),
    }
}

fn arrays(value: &Value, lengths: &mut Vec<usize>) {
    match value {
        Value::Array(items) => {
            lengths.push(items.len());
            items.iter().for_each(|item| arrays(item, lengths));
        }
        Value::Object(fields) => fields.values().for_each(|field| arrays(field, lengths)),
        _ => {}
    }
}

/// `Group 0: (Blocks 0-8191) ...`, not `Group descriptor size: 64`.
fn is_group(line: &str) -> bool {
    line.strip_prefix("Group ")
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn info_of(name: &str) -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let (image, _) = Recipe::named(name)?.build(&scratch)?;
    let judged = tool::run("dumpe2fs", &[image.as_os_str()])?;
    let field = |name: &str| -> Result<String> {
        let line = judged.lines().find(|line| line.starts_with(name));
        let (_, value) = line
            .and_then(|line| line.split_once(':'))
            .context(name.to_owned())?;
        Ok(value.trim().to_owned())
    };
    let text = extmap(&["info".as_ref(), image.as_ref()])?.text();
    let json = extmap(&["info".as_ref(), image.as_ref(), "--json".as_ref()])?.text();
    let json: Value = serde_json::from_str(&json).context("info --json")?;
    let mut values = BTreeSet::new();
    scalars(&json, &mut values);
    for name in [
        "Filesystem UUID",
        "Inode count",
        "Block count",
        "Free blocks",
        "Free inodes",
        "Block size",
        "Inode size",
    ] {
        let value = field(name)?;
        ensure!(text.contains(&value), "info: {name} {value} not in {text}");
        ensure!(
            values.contains(&value),
            "info --json: {name} {value} not in {json}"
        );
    }
    for feature in field("Filesystem features")?.split_whitespace() {
        let alias = if feature == "extent" {
            "extents"
        } else {
            feature
        };
        let known = values.contains(feature) || values.contains(alias);
        ensure!(known, "feature {feature} not in {json}");
        ensure!(text.contains(feature), "feature {feature} not in {text}");
    }
    let groups = judged.lines().filter(|line| is_group(line)).count();
    let mut lengths = Vec::new();
    arrays(&json, &mut lengths);
    ensure!(
        lengths.contains(&groups),
        "{groups} groups; arrays of {lengths:?}"
    );
    for line in judged
        .lines()
        .filter(|line| line.trim_start().starts_with("Inode table at "))
    {
        let at = line.trim_start().trim_start_matches("Inode table at ");
        let at: String = at.chars().take_while(char::is_ascii_digit).collect();
        ensure!(values.contains(&at), "inode table at {at} not in the JSON");
    }
    Ok(())
}

#[test]
fn info_4k() -> Result<()> {
    info_of("block_4k")
}

#[test]
fn info_1k() -> Result<()> {
    info_of("block_1k")
}

#[test]
fn info_meta_bg() -> Result<()> {
    info_of("meta_bg_32bit")
}

#[test]
fn info_bigalloc() -> Result<()> {
    info_of("bigalloc")
}

#[test]
fn info_ext2() -> Result<()> {
    info_of("ext2")
}

/// An image, and the kernel's mount of it to compare with.
fn both(name: &str) -> Result<(Scratch, PathBuf, KernelMount)> {
    let scratch = Scratch::new()?;
    let (image, _) = Recipe::named(name)?.build(&scratch)?;
    let kernel = KernelMount::read_only(&image, &scratch.path("kernel"))?;
    Ok((scratch, image, kernel))
}

#[test]
fn ls_lists_every_name() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let (_scratch, image, kernel) = both("block_1k")?;
    for dir in [
        "/",
        "/links",
        "/special/deleted",
        "/special/small",
        "/modes",
    ] {
        let wanted: BTreeSet<Vec<u8>> = std::fs::read_dir(kernel.path().join(&dir[1..]))?
            .map(|entry| Ok(entry?.file_name().as_bytes().to_vec()))
            .collect::<Result<_>>()?;
        let listed = extmap(&["ls".as_ref(), image.as_ref(), dir.as_ref()])?;
        let lines = listed.stdout.split(|&byte| byte == b'\n');
        let seen: BTreeSet<Vec<u8>> = lines
            .filter(|line| !line.is_empty() && *line != b"." && *line != b"..")
            .map(<[u8]>::to_vec)
            .collect();
        let printable = |names: &BTreeSet<Vec<u8>>| -> BTreeSet<Vec<u8>> {
            let plain = |name: &&Vec<u8>| name.iter().all(|byte| (32..127).contains(byte));
            names.iter().filter(plain).cloned().collect()
        };
        ensure!(printable(&wanted) == printable(&seen), "{dir}: {listed}");
        let long = extmap(&["ls".as_ref(), "-l".as_ref(), image.as_ref(), dir.as_ref()])?;
        let count = long
            .text()
            .lines()
            .filter(|line| !line.starts_with("total"))
            .count();
        ensure!(
            count >= wanted.len(),
            "{dir}: {count} lines for {} names",
            wanted.len()
        );
    }
    Ok(())
}

#[test]
fn stat_shows_what_the_kernel_shows() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let (_scratch, image, kernel) = both("block_4k")?;
    let tree = Manifest::of(kernel.path())?;
    for path in [
        "sizes/0700001",
        "links/one",
        "nodes/c4095-1048575",
        "owners/305419896",
        "special/fragments",
        "names",
    ] {
        let facts = &tree.files[&Path::new(".").join(path)];
        let text = extmap(&["stat".as_ref(), image.as_ref(), format!("/{path}").as_ref()])?.text();
        let numbers: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        for fact in ["ino", "uid", "gid", "nlink", "size"] {
            let value = facts.get(fact).context(fact)?;
            ensure!(
                numbers.contains(value.as_str()),
                "{path}: {fact} {value} not in {text}"
            );
        }
        let mode = facts.get("mode").context("mode")?;
        ensure!(
            text.contains(mode.as_str()),
            "{path}: mode {mode} not in {text}"
        );
    }
    Ok(())
}

#[test]
fn cat_gives_the_bytes() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    for recipe in ["inline_data", "no_extents_1k", "block_4k"] {
        let (_scratch, image, kernel) = both(recipe)?;
        let mut paths: Vec<PathBuf> = std::fs::read_dir(kernel.path().join("sizes"))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        let odd = OsStr::from_bytes(b"names/\xff\xfe\x80 not utf-8");
        for name in [
            "special/fragments",
            "special/sparse/holes",
            "special/small/f61",
            "links/two",
        ] {
            paths.push(kernel.path().join(name));
        }
        paths.push(kernel.path().join(odd));
        for path in paths {
            let inside = Path::new("/").join(path.strip_prefix(kernel.path())?);
            let seen = extmap(&["cat".as_ref(), image.as_ref(), inside.as_ref()])?;
            ensure!(
                seen.stdout == std::fs::read(&path)?,
                "{recipe}: {}",
                inside.display()
            );
        }
    }
    Ok(())
}

/// The kernel's extents (FIEMAP) in bytes: logical, physical, length.
fn extents(path: &Path) -> Result<Vec<[u64; 3]>> {
    let text = tool::run(
        "filefrag",
        &["-v".as_ref(), "-b1".as_ref(), path.as_os_str()],
    )?;
    let mut extents = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line
            .split(|c: char| !c.is_ascii_digit())
            .filter(|w| !w.is_empty())
            .collect();
        let is_row = line.trim_start().starts_with(|c: char| c.is_ascii_digit());
        if is_row && line.contains("..") && words.len() >= 6 {
            extents.push([words[1].parse()?, words[3].parse()?, words[5].parse()?]);
        }
    }
    Ok(extents)
}

#[test]
fn map_shows_the_extents() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) || !skip::allowed(&[skip::Need::Tool("filefrag")]) {
        return Ok(());
    }
    for recipe in ["block_1k", "block_4k"] {
        let (_scratch, image, kernel) = both(recipe)?;
        for path in [
            "sizes/0700001",
            "special/fragments",
            "special/sparse/holes",
            "special/sparse/far",
        ] {
            let wanted = extents(&kernel.path().join(path))?;
            ensure!(!wanted.is_empty(), "filefrag shows no extent of {path}");
            let inside = format!("/{path}");
            let text = extmap(&["map".as_ref(), image.as_ref(), inside.as_ref()])?.text();
            let json = extmap(&[
                "map".as_ref(),
                image.as_ref(),
                inside.as_ref(),
                "--json".as_ref(),
            ])?
            .text();
            let json: Value = serde_json::from_str(&json).context("map --json")?;
            let mut values = BTreeSet::new();
            scalars(&json, &mut values);
            let rows: Vec<BTreeSet<u64>> = text
                .lines()
                .map(|line| {
                    let words = line.split(|c: char| !c.is_ascii_digit());
                    words.filter_map(|word| word.parse().ok()).collect()
                })
                .collect();
            for extent in wanted {
                let shown = rows
                    .iter()
                    .any(|row| extent.iter().all(|number| row.contains(number)));
                ensure!(shown, "{recipe}: {path}: {extent:?} not in {text}");
                let known = extent
                    .iter()
                    .all(|number| values.contains(&number.to_string()));
                ensure!(known, "{recipe}: {path}: {extent:?} not in {json}");
            }
        }
    }
    Ok(())
}

#[test]
fn cp_takes_the_tree_out() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    for recipe in ["block_4k", "ext3", "inline_data", "block_64k"] {
        let scratch = Scratch::new()?;
        let (image, source) = Recipe::named(recipe)?.build(&scratch)?;
        let before = file_hash(&image)?;
        for part in [
            "sizes",
            "links",
            "names",
            "nested",
            "attributes",
            "owners",
            "modes",
        ] {
            let target = scratch.path(part);
            let mut from = image.clone().into_os_string();
            from.push(format!(":/{part}"));
            extmap(&["cp".as_ref(), "-r".as_ref(), &from, target.as_ref()])?;
            let facts = &[
                "type", "hash", "target", "mode", "size", "uid", "gid", "mtime", "xattr.*",
            ];
            let compared = |path: &Path| -> Result<Manifest> {
                Ok(Manifest::of(path)?
                    .keep(facts)
                    .whole_seconds()
                    .without_in_directories(&["size", "mtime"]))
            };
            let wanted = compared(&source.join(part))?;
            wanted
                .assert_same(&compared(&target)?, "the source", "the copy")
                .with_context(|| format!("{recipe}: {part}"))?;
        }
        let mut from = image.clone().into_os_string();
        from.push(":/sizes/0004097");
        let target = scratch.path("one file");
        extmap(&["cp".as_ref(), &from, target.as_ref()])?;
        ensure!(
            std::fs::read(&target)? == std::fs::read(source.join("sizes/0004097"))?,
            "one file"
        );
        ensure!(before == file_hash(&image)?, "cp changed the image");
    }
    Ok(())
}

#[test]
fn errors_name_the_path() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let (image, _) = Recipe::named("block_4k")?.build(&scratch)?;
    for command in ["cat", "ls", "stat", "map"] {
        let ended = program::extmap([OsStr::new(command), image.as_ref(), "/no/such".as_ref()])?;
        let said = ended.refusal()?;
        ensure!(said.contains("/no/such"), "{command}: {said}");
    }
    program::extmap([OsStr::new("cat"), image.as_ref(), "/sizes".as_ref()])?.refusal()?;
    program::extmap(["no-such-command"])?
        .status
        .context("hangs")?;
    Ok(())
}
