//! What is printed, and under which name.

use super::*;

#[test]
fn by_the_other_name() -> Result<()> {
    if !skip::allowed(TOOLS) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let alias = scratch.path("mkfs.extmap");
    std::os::unix::fs::symlink(program::extmap_path()?, &alias)?;
    let image = scratch.path("image");
    let words = [
        "-q".as_ref(),
        "-L".as_ref(),
        "alias".as_ref(),
        image.as_os_str(),
        "8M".as_ref(),
    ];
    let ended = program::run(alias.as_os_str(), words, program::TIMEOUT)?;
    ensure!(ended.success(), "{ended}");
    fsck(&image)?;
    ensure!(Dump::of(&image)?.field("Filesystem volume name") == "alias");
    Ok(())
}

/// The report's numbers are dumpe2fs's.
#[test]
fn as_json() -> Result<()> {
    if !skip::allowed(TOOLS) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.path("image");
    let ended = Mkfs::under_test()
        .fixed()
        .arg("--json")
        .arg(&image)
        .arg("33M")
        .make()?;
    ensure!(ended.stderr.is_empty(), "{ended}");
    let json: serde_json::Value = serde_json::from_slice(&ended.stdout)?;
    let text = json.to_string();
    let dump = Dump::of(&image)?;
    for field in [
        "Block count",
        "Block size",
        "Inode count",
        "Inode size",
        "Blocks per group",
    ] {
        let number = dump.number(field)?;
        ensure!(
            text.contains(&format!(":{number}")),
            "no {field} {number}: {text}"
        );
    }
    for feature in dump.field("Filesystem features").split_whitespace() {
        ensure!(text.contains(feature), "no feature {feature}: {text}");
    }
    ensure!(
        text.contains(dump.field("Filesystem UUID")),
        "no UUID: {text}"
    );
    ensure!(text.contains("written"), "no bytes written: {text}");
    Ok(())
}

#[test]
fn quietly_and_verbosely() -> Result<()> {
    if !skip::allowed(TOOLS) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let run = |name: &str, options: &[&str]| {
        let call = Mkfs::under_test().args(options).arg(scratch.path(name));
        call.arg("8M").make()
    };
    let (quiet, usual, verbose) = (
        run("quiet", &["-q"])?,
        run("usual", &[])?,
        run("verbose", &["-v"])?,
    );
    ensure!(
        quiet.stdout.is_empty() && quiet.stderr.is_empty(),
        "{quiet}"
    );
    ensure!(usual.stderr.is_empty(), "{usual}");
    // Not a terminal: no bar that moves.
    for ended in [&usual, &verbose] {
        ensure!(!ended.text().contains(['\r', '\u{8}', '\u{1b}']), "{ended}");
        ensure!(!ended.stderr.contains(['\r', '\u{8}', '\u{1b}']), "{ended}");
    }
    ensure!(verbose.stdout.len() > usual.stdout.len(), "{verbose}");
    Ok(())
}

#[test]
fn version() -> Result<()> {
    let ended = Mkfs::under_test().arg("-V").run()?;
    ensure!(ended.success(), "{ended}");
    let text = format!("{}{}", ended.text(), ended.stderr);
    ensure!(text.contains(|c: char| c.is_ascii_digit()), "{ended}");
    Ok(())
}

/// The archive on standard input is refused like any other source.
#[test]
fn of_a_refusal() -> Result<()> {
    if !skip::allowed(TOOLS) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let packed = scratch.file("a", &archive::archive(&[Member::file("../x", b"")]))?;
    let image = scratch.path("image");
    let call = Mkfs::under_test()
        .args(["--json", "-d", "-"])
        .stdin_file(&packed)?;
    let said = refusal::refused(call.arg(&image).arg("8M"), &image, &["../x"])?;
    ensure!(said.len() < 300, "not one sentence: {said}");
    Ok(())
}
