//! From an archive, by name and on standard input.

use super::*;

/// A tree as an archive holds it: no sockets; holes only if the archive has
/// them.
fn packable(scratch: &Scratch, holes: bool) -> Result<PathBuf> {
    let from = everything(scratch)?;
    fs::remove_file(from.join("nasty/kinds/socket"))?;
    if !holes {
        fs::remove_dir_all(from.join("nasty/holes"))?;
    }
    Ok(from)
}

struct Kept {
    fractions: bool,
    attributes: bool,
}

/// What an image made from an archive of `from` has to show.
fn expected(from: &Path, kept: &Kept, wanted: Wanted) -> Result<Manifest> {
    let mut tree = source::expected(from, wanted)?;
    if !kept.fractions {
        tree = tree.whole_seconds();
    }
    if !kept.attributes {
        tree = tree.without(&["xattr.*"]);
    }
    Ok(tree.without(&["attribute flags"]))
}

fn assert_packed(image: &Path, scratch: &Scratch, expected: &Manifest, kept: &Kept) -> Result<()> {
    judge::fsck(image)?;
    let wanted = Wanted {
        fine_times: kept.fractions,
        ..Wanted::usual()
    };
    let mount = KernelMount::read_only(image, &scratch.path("mounted"))?;
    let expected = if kept.fractions {
        expected.clone()
    } else {
        expected.clone().without(&["btime"])
    };
    // An archive says nothing of inode flags.
    let mut all = expected;
    for facts in all.files.values_mut() {
        let kind = facts.get("type").map_or("", String::as_str);
        if ["RegularFile", "Directory"].contains(&kind) {
            facts.insert("attribute flags".into(), "0x0".into());
        }
    }
    source::assert_filled(&all, mount.path(), wanted)?;
    mount.unmount()
}

const ALL: &[&str] = &[
    "--format=pax",
    "--sparse",
    "--acls",
    "--xattrs",
    "--xattrs-include=*",
];

const WHOLE: Kept = Kept {
    fractions: true,
    attributes: true,
};

/// Packs, fills from the archive by its name, compares.
fn check(options: &[&str], filter: &str, holes: bool, kept: &Kept) -> Result<()> {
    if !allowed() || !ours_only() || !skip::allowed(&[Need::Tool("xz"), Need::Tool("zstd")]) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let from = packable(&scratch, holes)?;
    let expected = expected(&from, kept, Wanted::usual())?;
    let (packed, image) = (scratch.path("archive"), scratch.path("image"));
    pack(&from, &packed, options, filter)?;
    let call = Mkfs::under_test().fixed().filled_from(&packed);
    call.arg(&image).arg("64M").make()?;
    assert_packed(&image, &scratch, &expected, kept)
}

#[test]
fn pax_with_attributes() -> Result<()> {
    check(ALL, "cat", true, &WHOLE)
}

/// As those pack who want equal archives of equal trees.
#[test]
fn pax_without_times_of_the_host() -> Result<()> {
    let options = [ALL, &["--pax-option=delete=atime,delete=ctime"]].concat();
    check(&options, "cat", true, &WHOLE)
}

#[test]
fn pax_sparse_0_1() -> Result<()> {
    let options = ["--format=pax", "--sparse", "--sparse-version=0.1"];
    let kept = Kept {
        fractions: true,
        attributes: false,
    };
    check(&options, "cat", true, &kept)
}

#[test]
fn pax_sparse_0_0() -> Result<()> {
    let options = ["--format=pax", "--sparse", "--sparse-version=0.0"];
    let kept = Kept {
        fractions: true,
        attributes: false,
    };
    check(&options, "cat", true, &kept)
}

const BARE: Kept = Kept {
    fractions: false,
    attributes: false,
};

#[test]
fn gnu() -> Result<()> {
    check(&["--format=gnu"], "cat", false, &BARE)
}

#[test]
fn gnu_sparse() -> Result<()> {
    check(&["--format=gnu", "--sparse"], "cat", true, &BARE)
}

#[test]
fn gzip() -> Result<()> {
    check(ALL, "gzip", true, &WHOLE)
}

#[test]
fn zstd() -> Result<()> {
    check(ALL, "zstd", true, &WHOLE)
}

#[test]
fn xz() -> Result<()> {
    check(ALL, "xz", true, &WHOLE)
}

/// Compressed files one after the other are one stream, as their tools hold.
#[test]
fn several_compressed_streams() -> Result<()> {
    if !allowed() || !ours_only() || !skip::allowed(&[Need::Tool("xz"), Need::Tool("zstd")]) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let whole = archive::archive(&[
        Member::directory("dir"),
        Member::file("dir/file", &Rng::new(1).bytes(70_000)),
    ]);
    let (first, second) = whole.split_at(30_000);
    for filter in ["gzip", "zstd", "xz"] {
        let mut packed = Vec::new();
        for half in [first, second] {
            let half = scratch.file("half", half)?;
            let output = Command::new(filter).arg("-c").arg(&half).output()?;
            packed.extend(output.stdout);
        }
        let packed = scratch.file("packed", &packed)?;
        let image = scratch.path(filter);
        let call = Mkfs::under_test().filled_from(&packed);
        call.arg(&image).arg("4M").make().context(filter)?;
        judge::fsck(&image)?;
        let stat = debugfs::read(&image, "stat /dir/file")?;
        ensure!(stat.contains("Size: 70000"), "{filter}: {stat}");
    }
    Ok(())
}

fn from_pipe(filter: &str, program: &str) -> Result<()> {
    if !allowed() || !ours_only() || !skip::allowed(&[Need::Tool("xz"), Need::Tool("zstd")]) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let from = packable(&scratch, true)?;
    let expected = expected(&from, &WHOLE, Wanted::usual())?;
    let (packed, image) = (scratch.path("archive"), scratch.path("image"));
    pack(&from, &packed, ALL, filter)?;
    let mut call = Mkfs::under_test().fixed().args(["-d", "-"]);
    let mut writer;
    if program == "file" {
        call = call.stdin_file(&packed)?;
    } else {
        writer = ChildGuard(
            Command::new("cat")
                .arg(&packed)
                .stdout(Stdio::piped())
                .spawn()?,
        );
        call = call.stdin_of(&mut writer.0)?;
    }
    call.arg(&image).arg("64M").make()?;
    assert_packed(&image, &scratch, &expected, &WHOLE)
}

#[test]
fn standard_input_pipe() -> Result<()> {
    from_pipe("cat", "cat")
}

#[test]
fn standard_input_file() -> Result<()> {
    from_pipe("cat", "file")
}

#[test]
fn standard_input_zstd() -> Result<()> {
    from_pipe("zstd", "cat")
}

#[test]
fn standard_input_gzip_file() -> Result<()> {
    from_pipe("gzip", "file")
}

/// An ordinary user makes an image with root's files and devices in it.
#[test]
fn owners_without_root() -> Result<()> {
    if !allowed() || !ours_only() || !skip::allowed(&[Need::Tool("setpriv")]) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let from = packable(&scratch, true)?;
    let expected = expected(&from, &WHOLE, Wanted::usual())?;
    let packed = scratch.path("archive");
    pack(&from, &packed, ALL, "cat")?;
    let dir = scratch.make_dir("theirs")?;
    std::os::unix::fs::chown(&dir, Some(1000), Some(1000))?;
    let image = dir.join("image");
    let call = Mkfs::under_test().fixed().through([
        "setpriv",
        "--reuid=1000",
        "--regid=1000",
        "--clear-groups",
    ]);
    call.filled_from(&packed).arg(&image).arg("64M").make()?;
    assert_packed(&image, &scratch, &expected, &WHOLE)
}

#[test]
fn empty() -> Result<()> {
    if !allowed() || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let packed = scratch.file("archive", &archive::archive(&[]))?;
    let image = scratch.path("image");
    let call = Mkfs::under_test().filled_from(&packed);
    call.arg(&image).arg("8M").make()?;
    judge::live_with(&image, &scratch.path("mounted"), |_| Ok(())).map(drop)
}

/// What tar(1) does not write, but others do.
#[test]
fn made_by_hand() -> Result<()> {
    if !allowed() || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let mut prefixed = Member::file("tail", b"prefixed").header();
    prefixed[345..349].copy_from_slice(b"head");
    archive::seal(&mut prefixed);
    let long = format!("long/{}", "n".repeat(255));
    let mut bytes = archive::without_end(&[
        Member::file("implied/parents/file", b"no directory before"),
        Member::file("./dot/./inside", b"dots"),
        Member::directory("slash//"),
        Member::file("twice", b"the first"),
        Member::file("twice", b"the second wins"),
        Member::hard_link("implied/link", "implied/parents/file"),
        Member::symlink("symlink", "../outside is fine for a symlink"),
        Member::file("x", b"long").with_pax("path", long.as_bytes()),
        Member::file("dated", b"")
            .with_pax("mtime", b"-1.25")
            .with_pax("uid", b"4294967294")
            .with_pax("comment", b"ignored")
            .with_pax("SCHILY.xattr.user.k", b"v=1\n\0"),
        Member {
            uid: 0o7_654_321,
            gid: 12,
            mode: 0o106755,
            ..Member::file("owned", b"owned")
        },
        Member {
            device: (5, 1),
            ..Member::new("console", b'3')
        },
        // Written by old tools: no type flag.
        Member::new("old", 0),
    ]);
    bytes.extend(prefixed);
    bytes.extend(b"prefixed");
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes.extend([0; 10_240]);
    let packed = scratch.file("archive", &bytes)?;
    let image = scratch.path("image");
    let call = Mkfs::under_test().fixed().filled_from(&packed);
    call.arg(&image).arg("8M").make()?;
    judge::fsck(&image)?;
    let seen = judge::kernel_manifest(&image, &scratch.path("mounted"), Depth::Full)?;
    for (path, fact, value) in [
        ("./implied/parents", "type", "Directory"),
        ("./implied/parents/file", "nlink", "2"),
        ("./implied/link", "size", "19"),
        ("./dot/inside", "size", "4"),
        ("./slash", "type", "Directory"),
        ("./twice", "size", "15"),
        (
            "./symlink",
            "target",
            "\"../outside is fine for a symlink\"",
        ),
        (&format!("./{long}"), "size", "4"),
        ("./dated", "mtime", "-2.750000000"),
        ("./dated", "uid", "4294967294"),
        ("./dated", "xattr.user.k", "763d310a00"),
        ("./owned", "uid", "2054353"),
        ("./owned", "gid", "12"),
        ("./owned", "mode", "6755"),
        ("./console", "rdev", "5:1"),
        ("./console", "type", "CharacterDevice"),
        ("./old", "type", "RegularFile"),
        ("./head/tail", "size", "8"),
    ] {
        let facts = seen.files.get(Path::new(path)).context(path.to_owned())?;
        let found = facts.get(fact).map_or("nothing", String::as_str);
        ensure!(found == value, "{path}: {fact} is {found}, not {value}");
    }
    Ok(())
}
