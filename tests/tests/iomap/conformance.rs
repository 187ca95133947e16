//! What a conformant server must never send, line by line as the protocol's description numbers
//! it. Each test leads the server where a careless one would break that line. The simulated
//! kernel judges what it can ([`Rig::finish`](crate::rig::Rig::finish) demands an empty list);
//! where it cannot, the test says what it looks at itself.

use anyhow::{Context, Result, ensure};
use simulated_kernel::numbers::op;
use simulated_kernel::{Errno, Kernel, Kind, Mapping, Whence};

use crate::rig::{Plan, Rig, on_both};

const ROOT: u64 = 1;
const KIB: u64 = 1024;
const EXCLUSIVE_AND_IOMAP: u32 = 0b1100;
const PUNCH: u32 = 3;

const EXT4: &[&str] = &["-t", "ext4", "-b", "4096"];
const EXT4_1K: &[&str] = &["-t", "ext4", "-b", "1024"];
const EXT3: &[&str] = &["-t", "ext3", "-b", "1024"];
const INLINE: &[&str] = &["-t", "ext4", "-b", "4096", "-O", "inline_data"];

/// Each kind of image on both kernels.
fn on(kinds: &[&[&str]], test: impl Fn(&Rig) -> Result<()>) -> Result<()> {
    on_both(|variant| {
        for kind in kinds {
            let run = || {
                let rig = Rig::new(&Plan::new(variant).mke2fs(kind).image_bytes(32 << 20))?;
                test(&rig)?;
                rig.finish()
            };
            run().with_context(|| format!("{variant:?}, {kind:?}"))?;
        }
        Ok(())
    })
}

fn pattern(len: u64) -> Vec<u8> {
    (0..len).map(|at| (at / 5) as u8 | 1).collect()
}

/// A file with a written part, a hole and a part that is only allocated, opened anew.
fn mixed(kernel: &Kernel) -> Result<u64> {
    let (entry, file) = kernel.create(ROOT, "mixed", 0o644, 2)?;
    let node = entry.nodeid;
    kernel.write_direct(node, 0, &pattern(64 * KIB))?;
    kernel.write(node, 200 * KIB + 3, &pattern(5000))?;
    // Files without extents have no such part.
    let _ = kernel.fallocate(node, file.fh, 0, 300 * KIB, 64 * KIB);
    kernel.close(file)?;
    kernel.forget(node)?;
    let node = kernel.lookup(ROOT, "mixed")?.nodeid;
    kernel.open(node, 2)?;
    kernel.read(node, 0, 400 * KIB)?;
    Ok(node)
}

fn cached(kernel: &Kernel, node: u64) -> Result<Vec<Mapping>> {
    let cache = kernel.mapping_cache(node)?.context("nothing was pushed")?;
    Ok(cache.read_tree().records().copied().collect())
}

#[test]
fn line_1_iomap_never_without_exclusive() -> Result<()> {
    on(&[EXT4], |rig| {
        let kernel = &rig.kernel;
        let entries = [
            kernel.create(ROOT, "file", 0o644, 2)?.0,
            kernel.mkdir(ROOT, "dir", 0o755)?,
            kernel.symlink(ROOT, "symlink", "file")?,
            kernel.mknod(ROOT, "fifo", 0o010_644, 0)?,
            kernel.tmpfile(ROOT, 0o600, 2)?.0,
        ];
        for entry in entries {
            let flags = entry.attr.flags;
            ensure!(
                flags & EXCLUSIVE_AND_IOMAP == EXCLUSIVE_AND_IOMAP,
                "{flags:#x}"
            );
        }
        Ok(())
    })
}

#[test]
fn line_2_flags_and_number_stay() -> Result<()> {
    on(&[EXT4, INLINE, EXT3], |rig| {
        let kernel = &rig.kernel;
        let (entry, file) = kernel.create(ROOT, "file", 0o644, 2)?;
        let same = |attr: simulated_kernel::wire::Attr| {
            (attr.flags, attr.ino) == (entry.attr.flags, entry.attr.ino)
        };
        ensure!(same(kernel.getattr(entry.nodeid)?));
        kernel.write(entry.nodeid, 0, &pattern(50 * KIB))?;
        ensure!(same(kernel.chmod(entry.nodeid, 0o100_600)?));
        kernel.close(file)?;
        ensure!(same(kernel.lookup(ROOT, "file")?.attr));
        ensure!(same(kernel.link(entry.nodeid, ROOT, "link")?.attr));
        Ok(())
    })
}

#[test]
fn line_3_no_size_is_told_that_is_not_recorded() -> Result<()> {
    on(&[EXT4, EXT3], |rig| {
        let kernel = &rig.kernel;
        let (entry, file) = kernel.create(ROOT, "file", 0o644, 2)?;
        kernel.write(entry.nodeid, 0, &pattern(20 * KIB))?;
        // Nothing has been written back: a crash would leave an empty file.
        ensure!(kernel.getattr(entry.nodeid)?.size == 0);
        kernel.fsync(entry.nodeid, file.fh)?;
        ensure!(kernel.getattr(entry.nodeid)?.size == 20 * KIB);
        for size in [12_345, 0, 70_001] {
            kernel.truncate(entry.nodeid, size)?;
            ensure!(kernel.getattr(entry.nodeid)?.size == size);
        }
        kernel.close(file)?;
        Ok(())
    })
}

#[test]
fn line_4_no_open_passes_through() -> Result<()> {
    // The simulated kernel refuses an open that was answered with such flags.
    on(&[EXT4, INLINE], |rig| {
        let (entry, file) = rig.kernel.create(ROOT, "file", 0o644, 2)?;
        rig.kernel.close(file)?;
        for flags in [0, 1, 2] {
            let file = rig.kernel.open(entry.nodeid, flags)?;
            rig.kernel.close(file)?;
        }
        Ok(())
    })
}

#[test]
fn line_5_every_regular_file_is_iomap() -> Result<()> {
    on(&[EXT4, INLINE, EXT3], |rig| {
        let kernel = &rig.kernel;
        kernel.create(ROOT, "created", 0o644, 2)?;
        kernel.mknod(ROOT, "made", 0o100_644, 0)?;
        kernel.tmpfile(ROOT, 0o600, 2)?;
        kernel.list(ROOT, true)?;
        let regular = kernel.in_core();
        let iomap = regular.iter().filter(|inode| inode.is_iomap).count();
        ensure!(iomap >= 3, "{iomap} of {}", regular.len());
        Ok(())
    })
}

#[test]
fn line_6_config_is_sound() -> Result<()> {
    // A configuration with a fault fails the mount.
    on(&[EXT4, EXT4_1K, EXT3], |rig| {
        ensure!(rig.kernel.counts().request_count(op::IOMAP_CONFIG) == 1);
        Ok(())
    })
}

#[test]
fn line_7_types_and_flags_are_known() -> Result<()> {
    on(&[EXT4, EXT3], |rig| {
        let node = mixed(&rig.kernel)?;
        for mapping in cached(&rig.kernel, node)? {
            let is_plain = matches!(mapping.kind, Kind::Hole | Kind::Mapped | Kind::Unwritten);
            // DIRTY and MERGED.
            ensure!(is_plain && mapping.flags & !0b1010 == 0, "{mapping:?}");
        }
        Ok(())
    })
}

#[test]
fn line_8_ranges_are_whole_blocks() -> Result<()> {
    on(&[EXT4_1K, EXT4, EXT3], |rig| {
        let kernel = &rig.kernel;
        let node = mixed(kernel)?;
        for pos in [1, 511, 1025, 65_537, 204_801, 399_999, 1 << 30, 1 << 40] {
            kernel.read(node, pos, 3)?;
        }
        let (entry, _file) = kernel.create(ROOT, "odd", 0o644, 2)?;
        kernel.write(entry.nodeid, 12_345, &[7; 3])?;
        let huge = kernel.write(entry.nodeid, (1 << 62) + 1, &[7; 3]);
        ensure!(huge.err() == Some(Errno::FBIG), "{huge:?}");
        for mapping in cached(kernel, node)? {
            ensure!(mapping.length > 0 && mapping.offset % KIB == 0 && mapping.length % KIB == 0);
        }
        Ok(())
    })
}

#[test]
fn line_9_places_are_named_where_there_are_any() -> Result<()> {
    on(&[EXT4, EXT3], |rig| {
        let node = mixed(&rig.kernel)?;
        let mappings = cached(&rig.kernel, node)?;
        for mapping in &mappings {
            let has_place = mapping.dev != 0 && mapping.addr != u64::MAX;
            ensure!(has_place == mapping.kind.has_place(), "{mapping:?}");
        }
        ensure!(mappings.iter().any(|mapping| mapping.kind == Kind::Hole));
        Ok(())
    })
}

#[test]
fn line_10_devices_are_registered_and_long_enough() -> Result<()> {
    on(&[EXT4, EXT3], |rig| {
        let node = mixed(&rig.kernel)?;
        for mapping in cached(&rig.kernel, node)? {
            if mapping.kind.has_place() {
                ensure!(mapping.dev == 1, "{mapping:?}");
                ensure!(
                    mapping.addr + mapping.length <= rig.device.size(),
                    "{mapping:?}"
                );
            }
        }
        Ok(())
    })
}

#[test]
fn line_11_and_12_answers_say_where_reads_come_from() -> Result<()> {
    // A BEGIN answered with PURE_OVERWRITE or NOCACHE as the mapping to read is refused.
    on(&[EXT4, INLINE, EXT3], |rig| {
        let node = mixed(&rig.kernel)?;
        ensure!(rig.kernel.counts().begin_count() > 0);
        ensure!(rig.kernel.read_direct(node, 0, 64 * KIB)? == pattern(64 * KIB));
        Ok(())
    })
}

#[test]
fn line_13_look_again_only_after_a_push_that_worked() -> Result<()> {
    on(&[EXT4, EXT3], |rig| {
        let kernel = &rig.kernel;
        let (entry, file) = kernel.create(ROOT, "file", 0o644, 2)?;
        let errnos = [
            Errno::NOMEM,
            Errno::INVAL,
            Errno::IO,
            Errno::UCLEAN,
            Errno::STALE,
        ];
        for (index, errno) in (0u64..).zip(errnos) {
            kernel.refuse_upsert(errno);
            let pos = index * 64 * KIB;
            kernel.write_direct(entry.nodeid, pos, &pattern(8 * KIB))?;
            kernel.refuse_upsert(errno);
            kernel.write(entry.nodeid, pos + 16 * KIB, &pattern(100))?;
            ensure!(kernel.read(entry.nodeid, pos, 8 * KIB)? == pattern(8 * KIB));
        }
        let refused: u64 = kernel.counts().upserts_refused.values().sum();
        ensure!(refused >= 5, "{refused} refused");
        kernel.close(file)?;
        Ok(())
    })
}

#[test]
fn line_14_mappings_hold_the_byte_asked_for() -> Result<()> {
    on(&[EXT4_1K, EXT3, INLINE], |rig| {
        let node = mixed(&rig.kernel)?;
        for step in 0..200 {
            let pos = step * 2003;
            rig.kernel.drop_pages(node)?;
            rig.kernel.read(node, pos, 1)?;
        }
        Ok(())
    })
}

#[test]
fn line_15_no_hole_for_what_is_written() -> Result<()> {
    on(&[EXT4, EXT4_1K, EXT3, INLINE], |rig| {
        let kernel = &rig.kernel;
        let (entry, file) = kernel.create(ROOT, "file", 0o644, 2)?;
        let node = entry.nodeid;
        kernel.truncate(node, 256 * KIB)?;
        // The hole is cached first.
        kernel.read(node, 0, 256 * KIB)?;
        kernel.write(node, 10 * KIB, &pattern(3000))?;
        kernel.write_direct(node, 64 * KIB, &pattern(4 * KIB))?;
        kernel.map_write(node, 128 * KIB + 5, &pattern(777))?;
        kernel.write_back(node)?;
        kernel.drop_pages(node)?;
        ensure!(kernel.read(node, 10 * KIB, 3000)? == pattern(3000));
        ensure!(kernel.read(node, 64 * KIB, 4 * KIB)? == pattern(4 * KIB));
        ensure!(kernel.read(node, 128 * KIB + 5, 777)? == pattern(777));
        kernel.close(file)?;
        Ok(())
    })
}

#[test]
fn line_16_zeroing_and_asking_allocate_nothing() -> Result<()> {
    on(&[EXT4, EXT4_1K, EXT3], |rig| {
        let kernel = &rig.kernel;
        let (entry, file) = kernel.create(ROOT, "file", 0o644, 2)?;
        let node = entry.nodeid;
        kernel.write_direct(node, 0, &pattern(4 * KIB))?;
        kernel.fsync(node, file.fh)?;
        let blocks = kernel.getattr(node)?.blocks;
        kernel.truncate(node, 900 * KIB + 7)?;
        kernel.truncate(node, 500 * KIB + 1)?;
        kernel.seek(node, 0, Whence::Hole)?;
        let _ = kernel.seek(node, 8 * KIB, Whence::Data);
        let after = kernel.getattr(node)?.blocks;
        ensure!(after <= blocks, "{after} for {blocks}");
        kernel.close(file)?;
        Ok(())
    })
}

#[test]
fn line_17_untorn_writes_only_where_the_device_can() -> Result<()> {
    on(&[EXT4], |rig| {
        let (entry, _file) = rig.kernel.create(ROOT, "file", 0o644, 2)?;
        let refused = rig.kernel.write_atomic(entry.nodeid, 0, &[1; 4096]);
        ensure!(refused.err() == Some(Errno::OPNOTSUPP));
        Ok(())
    })
}

#[test]
fn line_18_nothing_of_before_shows() -> Result<()> {
    on(&[EXT4, EXT4_1K, EXT3], |rig| {
        let kernel = &rig.kernel;
        // What was there before is somebody else's, and freed.
        let (old, file) = kernel.create(ROOT, "old", 0o644, 2)?;
        for piece in 0..80 {
            kernel.write_direct(old.nodeid, piece * 256 * KIB, &[0xEE; 256 << 10])?;
        }
        kernel.close(file)?;
        kernel.unlink(ROOT, "old")?;
        kernel.forget(old.nodeid)?;
        kernel.sync()?;
        let (new, file) = kernel.create(ROOT, "new", 0o644, 2)?;
        for piece in 0..20 {
            kernel.write(new.nodeid, piece * 512 * KIB + 700, &[1; 10])?;
        }
        let _ = kernel.fallocate(new.nodeid, file.fh, 0, 0, 10 << 20);
        kernel.write_back(new.nodeid)?;
        kernel.drop_pages(new.nodeid)?;
        let found = kernel.read(new.nodeid, 0, 10 << 20)?;
        ensure!(found.iter().all(|&byte| byte != 0xEE));
        kernel.close(file)?;
        Ok(())
    })
}

#[test]
fn line_19_answers_have_their_length_and_come_where_they_were_asked() -> Result<()> {
    on(&[EXT4, INLINE], |rig| {
        let node = mixed(&rig.kernel)?;
        rig.kernel.truncate(node, 3)?;
        rig.kernel.unlink(ROOT, "mixed")?;
        let counts = rig.kernel.counts();
        ensure!(counts.refused.is_empty(), "{:?}", counts.refused);
        Ok(())
    })
}

#[test]
fn line_20_a_failed_write_changes_no_size() -> Result<()> {
    on(&[EXT4], |rig| {
        let kernel = &rig.kernel;
        let (entry, file) = kernel.create(ROOT, "file", 0o644, 2)?;
        kernel.write_direct(entry.nodeid, 0, &pattern(128 * KIB))?;
        // Ahead of the end there are blocks by now: no metadata has to be read.
        rig.device.set_failing(true);
        let failed = kernel.write_direct(entry.nodeid, 128 * KIB, &pattern(4 * KIB));
        rig.device.set_failing(false);
        ensure!(failed.is_err());
        ensure!(kernel.getattr(entry.nodeid)?.size == 128 * KIB);
        kernel.close(file)?;
        Ok(())
    })
}

#[test]
fn line_21_completions_are_never_declined() -> Result<()> {
    on(&[EXT4], |rig| {
        let kernel = &rig.kernel;
        let (entry, file) = kernel.create(ROOT, "file", 0o644, 2)?;
        for piece in 0..10 {
            kernel.write(entry.nodeid, piece * 10_000, &[1; 9_000])?;
            kernel.write_back(entry.nodeid)?;
        }
        let counts = kernel.counts();
        ensure!(counts.request_count(op::IOMAP_IOEND) >= 10);
        ensure!(counts.request_count(op::IOMAP_END) >= 10);
        kernel.close(file)?;
        Ok(())
    })
}

#[test]
fn line_22_what_was_completed_an_fsync_covers() -> Result<()> {
    on_both(|variant| {
        let plan = Plan::new(variant);
        let rig = Rig::new(&plan)?;
        let (entry, file) = rig.kernel.create(ROOT, "file", 0o644, 2)?;
        rig.kernel
            .write_direct(entry.nodeid, 0, &pattern(64 * KIB))?;
        rig.kernel.write(entry.nodeid, 64 * KIB, &pattern(999))?;
        rig.kernel.fsync(entry.nodeid, file.fh)?;
        let (scratch, image, device) = rig.cut(|_| false);
        let rig = Rig::over(&plan, scratch, image, device)?;
        let found = rig.kernel.lookup(ROOT, "file")?;
        ensure!(found.attr.size == 64 * KIB + 999, "{}", found.attr.size);
        ensure!(rig.kernel.read(found.nodeid, 0, 64 * KIB)? == pattern(64 * KIB));
        ensure!(rig.kernel.read(found.nodeid, 64 * KIB, 999)? == pattern(999));
        rig.finish()?;
        Ok(())
    })
}

#[test]
fn line_23_nothing_is_said_of_what_the_kernel_does_not_know() -> Result<()> {
    on(&[EXT4, EXT3], |rig| {
        let kernel = &rig.kernel;
        for _ in 0..20 {
            let node = mixed(kernel)?;
            kernel.unlink(ROOT, "mixed")?;
            // It ends with this: what its blocks were is nobody's business.
            kernel.forget(node)?;
        }
        Ok(())
    })
}

#[test]
fn line_24_what_is_pushed_is_what_a_new_server_finds() -> Result<()> {
    on_both(|variant| {
        let plan = Plan::new(variant);
        let rig = Rig::new(&plan)?;
        let node = mixed(&rig.kernel)?;
        let before = cached(&rig.kernel, node)?;
        let (scratch, image, device) = rig.unmounted()?;
        let rig = Rig::over(&plan, scratch, image, device)?;
        let node = rig.kernel.lookup(ROOT, "mixed")?.nodeid;
        rig.kernel.open(node, 0)?;
        let after = cached(&rig.kernel, node)?;
        ensure!(before == after, "{before:#?}\n{after:#?}");
        rig.finish()?;
        Ok(())
    })
}

#[test]
fn line_25_ranges_taken_back_are_whole_blocks() -> Result<()> {
    on(&[EXT4, EXT4_1K, EXT3], |rig| {
        let kernel = &rig.kernel;
        let node = mixed(kernel)?;
        let file = kernel.open(node, 2)?;
        for (pos, len) in [(1, 70_000), (12_345, 1), (200_000, 50_001)] {
            kernel.fallocate(node, file.fh, PUNCH, pos, len)?;
        }
        for size in [150_001, 77, 0] {
            kernel.truncate(node, size)?;
        }
        ensure!(kernel.counts().invalidations > 0);
        kernel.close(file)?;
        Ok(())
    })
}

#[test]
fn line_26_no_pages_are_called_in() -> Result<()> {
    // A notice about pages would be among what was refused.
    on(&[EXT4], |rig| {
        let kernel = &rig.kernel;
        let node = mixed(kernel)?;
        kernel.map_write(node, 5, b"changed in memory")?;
        kernel.seek(node, 0, Whence::Hole)?;
        ensure!(kernel.counts().refused.is_empty());
        Ok(())
    })
}

#[test]
fn line_27_blocks_go_only_when_the_kernel_says_so() -> Result<()> {
    on(&[EXT4, EXT3], |rig| {
        let kernel = &rig.kernel;
        let node = mixed(kernel)?;
        kernel.unlink(ROOT, "mixed")?;
        // Others would get the blocks if they had gone.
        let (other, file) = kernel.create(ROOT, "other", 0o644, 2)?;
        kernel.write_direct(other.nodeid, 0, &[0xEE; 1 << 20])?;
        kernel.sync()?;
        kernel.drop_pages(node)?;
        ensure!(kernel.read_direct(node, 0, 64 * KIB)? == pattern(64 * KIB));
        ensure!(kernel.read(node, 200 * KIB + 3, 5000)? == pattern(5000));
        kernel.close(file)?;
        Ok(())
    })
}
