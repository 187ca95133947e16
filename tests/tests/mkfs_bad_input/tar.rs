//! Archives that are damaged or want out of the tree.

use super::*;

fn refuse_bytes(bytes: &[u8], words: &[&str]) -> Result<()> {
    if !skip::allowed(TOOLS) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let packed = scratch.file("the-archive.tar", bytes)?;
    refuse_source(&packed, words)?;
    // The same on standard input.
    let image = scratch.path("image");
    let call = Mkfs::under_test().args(["-d", "-"]).stdin_file(&packed)?;
    refused(call.arg(&image).arg("16M"), &image, &[]).map(drop)
}

fn refuse_members(members: &[Member], words: &[&str]) -> Result<()> {
    refuse_bytes(&archive::archive(members), words)
}

#[test]
fn parent_directories() -> Result<()> {
    for name in ["../out", "a/../../out", "a/..", ".."] {
        let members = [Member::directory("a"), Member::file(name, b"out")];
        refuse_members(&members, &[name]).context(name)?;
    }
    Ok(())
}

#[test]
fn absolute_paths() -> Result<()> {
    refuse_members(&[Member::file("/etc/passwd", b"x")], &["/etc/passwd"])?;
    refuse_members(&[Member::directory("//d")], &["//d"])
}

#[test]
fn hard_link_to_nothing() -> Result<()> {
    refuse_members(&[Member::hard_link("here", "not there")], &["not there"])
}

#[test]
fn hard_link_out_of_the_tree() -> Result<()> {
    refuse_members(&[Member::hard_link("here", "../there")], &["here"])?;
    refuse_members(&[Member::hard_link("here", "/etc/passwd")], &["here"])
}

#[test]
fn hard_link_to_a_directory() -> Result<()> {
    let members = [Member::directory("dir"), Member::hard_link("link", "dir")];
    refuse_members(&members, &["dir"])
}

#[test]
fn file_as_directory() -> Result<()> {
    let members = [Member::file("a", b""), Member::file("a/b", b"")];
    refuse_members(&members, &["a"])
}

#[test]
fn name_too_long() -> Result<()> {
    let name = "n".repeat(256);
    let member = Member::file("x", b"").with_pax("path", name.as_bytes());
    refuse_members(&[member], &["name"])
}

#[test]
fn symlink_without_target() -> Result<()> {
    refuse_members(&[Member::symlink("link", "")], &["link"])?;
    let target = "t".repeat(4096);
    let member = Member::symlink("link", "x").with_pax("linkpath", target.as_bytes());
    refuse_members(&[member], &["link"])
}

/// Cut short everywhere: within a header, a PAX record, a file's bytes. (Where
/// a member ends, the archive only lacks its end.)
#[test]
fn truncated() -> Result<()> {
    let whole = archive::without_end(&[
        Member::file("one", &[1; 700]),
        Member::file("two", &[2; 3000]).with_pax("mtime", b"1.5"),
    ]);
    for len in [
        1,
        100,
        511,
        600,
        1535,
        1600,
        2100,
        2600,
        3072,
        3500,
        whole.len() - 1,
    ] {
        refuse_bytes(&whole[..len], &["the-archive.tar"]).with_context(|| format!("{len}"))?;
    }
    Ok(())
}

#[test]
fn compressed_truncated() -> Result<()> {
    let tools = [Need::Tool("gzip"), Need::Tool("zstd"), Need::Tool("xz")];
    if !skip::allowed(&tools) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let whole = archive::archive(&[Member::file("noise", &Rng::new(1).bytes(200_000))]);
    let whole = scratch.file("whole.tar", &whole)?;
    for filter in ["gzip", "zstd", "xz"] {
        let output = std::process::Command::new(filter)
            .arg("-c")
            .arg(&whole)
            .output()?;
        let packed = output.stdout;
        for len in [8, 60, packed.len() / 2, packed.len() - 1] {
            refuse_bytes(&packed[..len], &[]).with_context(|| format!("{filter} {len}"))?;
        }
        let mut damaged = packed.clone();
        let middle = damaged.len() / 2;
        for byte in &mut damaged[middle..middle + 40] {
            *byte = !*byte;
        }
        refuse_bytes(&damaged, &[]).with_context(|| format!("{filter} damaged"))?;
        let mut followed = packed.clone();
        followed.extend(b"something else behind the end");
        // gzip(1) warns of what follows and goes on; nobody must crash on it.
        let packed = scratch.file("followed", &followed)?;
        let image = scratch.path(&format!("image-{filter}"));
        let call = Mkfs::under_test().filled_from(&packed).arg(&image);
        let ended = call.arg("16M").run()?;
        ensure!(
            ended.success() || ended.refusal().is_ok(),
            "{filter}: {ended}"
        );
    }
    Ok(())
}

fn with_header(change: fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = archive::archive(&[
        Member::file("before", b"fine"),
        Member::file("damaged", &[7; 600]),
    ]);
    let header = &mut bytes[1024..1536];
    change(header);
    bytes
}

#[test]
fn checksum_wrong() -> Result<()> {
    refuse_bytes(&with_header(|header| header[0] ^= 1), &["the-archive.tar"])?;
    refuse_bytes(&with_header(|header| header[148..156].fill(0)), &[])
}

#[test]
fn numbers_wrong() -> Result<()> {
    for (at, text) in [
        (124, "abcdefghijk"),
        (136, "9!9"),
        (108, "zz"),
        (124, "77777777777"),
    ] {
        let mut bytes = with_header(|_| ());
        let header = &mut bytes[1024..1536];
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
        archive::seal(header);
        refuse_bytes(&bytes, &[]).with_context(|| format!("{at} {text}"))?;
    }
    // Base 256: a negative size, and one beyond 64 bits.
    for first in [0xffu8, 0x80] {
        let mut bytes = with_header(|_| ());
        let header = &mut bytes[1024..1536];
        header[124..136].fill(0xff);
        header[124] = first;
        archive::seal(header);
        refuse_bytes(&bytes, &[]).with_context(|| format!("{first:#x}"))?;
    }
    Ok(())
}

#[test]
fn pax_records_wrong() -> Result<()> {
    for content in [
        &b"9999999 path=x\n"[..],
        b"5 path=x\n",
        b"path=x\n",
        b"0 =\n",
        b"99999999999999999999999 path=x\n",
        b"12 path=abcd",
        b"18 size=-1\n",
        b"-5 a=b\n",
    ] {
        let mut extended = Member::new("PaxHeaders/x", b'x');
        extended.content = content.to_vec();
        let members = [extended, Member::file("file", b"content")];
        refuse_members(&members, &[])
            .with_context(|| String::from_utf8_lossy(content).into_owned())?;
    }
    let member = Member::file("x", b"").with_pax("path", b"with\0nul");
    refuse_members(&[member], &[])?;
    let member = Member::file("x", b"").with_pax("mtime", b"soon");
    refuse_members(&[member], &[])?;
    let member = Member::file("x", b"").with_pax("uid", b"99999999999");
    refuse_members(&[member], &[])
}

#[test]
fn sparse_maps_wrong() -> Result<()> {
    let base = |map: &[u8], real: &[u8]| {
        Member::file("sparse", &[5; 1024])
            .with_pax("GNU.sparse.major", b"0")
            .with_pax("GNU.sparse.minor", b"1")
            .with_pax("GNU.sparse.size", real)
            .with_pax("GNU.sparse.map", map)
    };
    for (map, real) in [
        (&b"0,2048"[..], &b"4096"[..]),
        (b"0,512,100,512", b"4096"),
        (b"4096,512", b"4096"),
        (b"0,512,18446744073709551615,512", b"4096"),
        (b"0", b"4096"),
        (b"x,y", b"4096"),
        (b"0,1024", b"-1"),
    ] {
        refuse_members(&[base(map, real)], &[])
            .with_context(|| String::from_utf8_lossy(map).into_owned())?;
    }
    Ok(())
}

/// Random damage: a refusal, or an image e2fsck is content with.
#[test]
fn mutated() -> Result<()> {
    if !skip::allowed(TOOLS) || !ours_only() {
        return Ok(());
    }
    let whole = archive::archive(&[
        Member::directory("dir"),
        Member::file("dir/file", &[3; 900]).with_pax("SCHILY.xattr.user.a", b"value"),
        Member::hard_link("link", "dir/file"),
        Member::symlink("symlink", "dir"),
        Member::file("x", b"y")
            .with_pax("GNU.sparse.map", b"0,1")
            .with_pax("GNU.sparse.size", b"9"),
    ]);
    let scratch = Scratch::new()?;
    let mut rng = Rng::new(0x7a5);
    let mut refusals = 0;
    let rounds = 150;
    for round in 0..rounds {
        let mut bytes = whole.clone();
        for _ in 0..=rng.below(4) {
            let at = usize::try_from(rng.below(bytes.len() as u64))?;
            bytes[at] = rng.below(256) as u8;
        }
        if rng.below(3) > 0 {
            for header in bytes.chunks_mut(512) {
                if header.len() == 512 && header[257..262] == *b"ustar" {
                    archive::seal(header);
                }
            }
        }
        let packed = scratch.file("archive", &bytes)?;
        let image = scratch.path("image");
        let call = Mkfs::under_test().filled_from(&packed).arg(&image);
        let ended = call.arg("1M").args(["-O", "^has_journal"]).run()?;
        if ended.success() {
            fsck(&image).with_context(|| format!("round {round}"))?;
            fs::remove_file(&image)?;
        } else {
            refusal::check(Maker::Extmap, &ended, &[]).with_context(|| format!("round {round}"))?;
            ensure!(!image.exists(), "round {round}: the image is left");
            refusals += 1;
        }
    }
    ensure!(refusals > 20 && refusals < rounds, "{refusals} of {rounds}");
    Ok(())
}
