//! Options that make no sense, alone or together.

use super::*;

#[test]
fn block_size() -> Result<()> {
    refuse_each(&[
        (&["-b", "0"], "16M", &["0"]),
        (&["-b", "512"], "16M", &["512"]),
        (&["-b", "1000"], "16M", &["1000"]),
        (&["-F", "-b", "131072"], "64M", &["131072"]),
        (&["-b", "4294967296"], "64M", &["4294967296"]),
        (&["-b", "large"], "64M", &["large"]),
    ])?;
    if !ours_only() {
        return Ok(());
    }
    refuse(&["-b", "3072"], "16M", &["3072"])
}

#[test]
fn inode_size() -> Result<()> {
    refuse_each(&[
        (&["-I", "64"], "16M", &["64"]),
        (&["-I", "300"], "16M", &["300"]),
        (&["-b", "1024", "-I", "2048"], "16M", &["2048"]),
        (&["-I", "x"], "16M", &["x"]),
    ])
}

#[test]
fn inodes() -> Result<()> {
    refuse_each(&[
        (&["-i", "100"], "16M", &["100"]),
        (&["-i", "999999999"], "16M", &["999999999"]),
        (&["-i", "x"], "16M", &["x"]),
        (&["-N", "x"], "16M", &["x"]),
        (&["-N", "4000000000"], "16M", &[]),
        (&["-N", "99999999999"], "16M", &["99999999999"]),
    ])
}

#[test]
fn groups() -> Result<()> {
    refuse_each(&[
        (&["-g", "1001"], "16M", &["1001"]),
        (&["-b", "1024", "-g", "65536"], "16M", &["65536"]),
        (&["-g", "8"], "16M", &["8"]),
        (&["-G", "3"], "16M", &["3"]),
        (&["-G", "0"], "16M", &["0"]),
        (&["-G", "16", "-O", "^flex_bg"], "16M", &["flex_bg"]),
    ])
}

#[test]
fn reserved_percentage() -> Result<()> {
    refuse_each(&[
        (&["-m", "51"], "16M", &["51"]),
        (&["-m", "-1"], "16M", &["-1"]),
        (&["-m", "x"], "16M", &["x"]),
        (&["-m", "nan"], "16M", &["nan"]),
    ])
}

#[test]
fn journal() -> Result<()> {
    refuse_each(&[
        (&["-J", "size=x"], "64M", &["x"]),
        (&["-b", "4096", "-J", "size=2"], "64M", &[]),
        (&["-J", "size=100"], "64M", &["journal"]),
        (&["-J", "colour=red"], "64M", &["colour"]),
    ])
}

#[test]
fn extended() -> Result<()> {
    refuse_each(&[
        (&["-E", "unknown=1"], "16M", &["unknown"]),
        (&["-E", "stride"], "16M", &["stride"]),
        (&["-E", "stride=x"], "16M", &["x"]),
        (&["-E", "offset=x"], "16M", &["x"]),
        (&["-E", "hash_seed=short"], "16M", &["short"]),
        (&["-E", "resize=x"], "16M", &["x"]),
        (&["-E", "resize=10"], "16M", &["10"]),
        (
            &["-E", "num_backup_sb=3", "-O", "sparse_super2"],
            "64M",
            &["3"],
        ),
        (&["-E", "root_owner=x:y"], "16M", &["x"]),
        (
            &["-E", "orphan_file_size=x", "-O", "orphan_file"],
            "64M",
            &["x"],
        ),
        (
            &["-E", "mmp_update_interval=301", "-O", "mmp"],
            "16M",
            &["301"],
        ),
    ])
}

#[test]
fn feature_unknown() -> Result<()> {
    refuse_each(&[
        (&["-O", "no_such_feature"], "16M", &["no_such_feature"]),
        (&["-O", "^no_such_feature"], "16M", &["no_such_feature"]),
        (&["-O", "compression"], "16M", &["compression"]),
    ])
}

/// The two that do not go together are both named.
#[test]
fn feature_conflicts() -> Result<()> {
    refuse_each(&[
        (
            &["-O", "meta_bg,resize_inode"],
            "64M",
            &["meta_bg", "resize_inode"],
        ),
        (
            &["-O", "resize_inode,^sparse_super"],
            "64M",
            &["resize_inode", "sparse_super"],
        ),
        (
            &["-O", "orphan_file,^has_journal"],
            "64M",
            &["orphan_file", "has_journal"],
        ),
        (
            &["-O", "metadata_csum_seed,^metadata_csum"],
            "64M",
            &["metadata_csum_seed", "metadata_csum"],
        ),
    ])?;
    if !ours_only() {
        return Ok(());
    }
    refuse_each(&[
        (
            &["-O", "fast_commit,^has_journal"],
            "64M",
            &["fast_commit", "has_journal"],
        ),
        (&["-O", "inline_data", "-I", "128"], "64M", &["inline_data"]),
        (
            &["-E", "packed_meta_blocks=1", "-O", "^flex_bg"],
            "64M",
            &["packed_meta_blocks", "flex_bg"],
        ),
    ])
}

#[test]
fn label_or_path_too_long() -> Result<()> {
    if !ours_only() {
        return Ok(());
    }
    let path = format!("/{}", "p".repeat(64));
    refuse_each(&[
        (&["-L", "seventeen bytes 17"], "16M", &["label"]),
        (
            &[
                "-L",
                "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}",
            ],
            "16M",
            &["label"],
        ),
        (&["-M", &path], "16M", &["-M"]),
    ])
}

#[test]
fn uuid() -> Result<()> {
    refuse_each(&[
        (&["-U", "junk"], "16M", &["junk"]),
        (&["-U", "11111111-2222-4333-8444-55555555555"], "16M", &[]),
    ])
}

#[test]
fn types() -> Result<()> {
    refuse_each(&[
        (&["-t", "xfs"], "16M", &["xfs"]),
        (&["-o", "no_such_system"], "16M", &["no_such_system"]),
        (&["-r", "7"], "16M", &["7"]),
        (&["-C", "1000"], "16M", &["-C"]),
    ])?;
    if !ours_only() {
        return Ok(());
    }
    refuse(&["-T", "no_such_usage"], "16M", &["no_such_usage"])
}

#[test]
fn of_our_own() -> Result<()> {
    if !ours_only() {
        return Ok(());
    }
    refuse_each(&[
        (&["--headroom", "x"], "16M", &["x"]),
        (&["--headroom", "-1"], "16M", &["-1"]),
        (&["--owner", "root"], "16M", &["root"]),
        (&["--owner", "1:2:3"], "16M", &["1:2:3"]),
        (&["--threads", "0"], "16M", &["0"]),
        (&["--threads", "x"], "16M", &["x"]),
        (
            &["--profile", "/no/such/profile"],
            "16M",
            &["/no/such/profile"],
        ),
    ])
}

#[test]
fn profile_damaged() -> Result<()> {
    if !ours_only() || !skip::allowed(TOOLS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    for text in [
        "[defaults\n",
        "blocksize = 4096\n",
        "[fs_types]\n ext4 = {\n features = has_journal\n",
        "[defaults]\n blocksize = large\n",
        "[defaults]\n base_features = nonsense\n",
    ] {
        let profile = scratch.file("profile", text.as_bytes())?;
        let image = scratch.path("image");
        let call = Mkfs::under_test().arg("--profile").arg(&profile);
        refused(call.arg(&image).arg("16M"), &image, &[]).context(text)?;
    }
    Ok(())
}

#[test]
fn unknown_or_missing_arguments() -> Result<()> {
    let scratch = Scratch::new()?;
    let image = scratch.path("image");
    for args in [&["--no-such-option"][..], &["-b"], &["-Z"]] {
        let call = Mkfs::under_test().arg(&image).arg("16M").args(args);
        let ended = call.run()?;
        ensure!(!ended.success() && !image.exists(), "{args:?}: {ended}");
    }
    ensure!(!Mkfs::under_test().run()?.success(), "no device");
    let call = Mkfs::under_test().arg(&image).args(["16M", "17M"]);
    ensure!(!call.run()?.success() && !image.exists(), "two sizes");
    Ok(())
}

#[test]
fn bad_blocks_file() -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.path("image");
    let call = Mkfs::under_test().args(["-l", "/no/such/list"]);
    refused(call.arg(&image).arg("16M"), &image, &["/no/such/list"])?;
    if !ours_only() {
        return Ok(());
    }
    for text in ["x\n", "-1\n", "99999999\n", "1\n"] {
        let list = scratch.file("list", text.as_bytes())?;
        let call = Mkfs::under_test().arg("-l").arg(&list);
        refused(call.arg(&image).arg("16M"), &image, &[]).context(text)?;
    }
    Ok(())
}
