//! Partition tables: sound ones, damaged ones, hostile ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::io::Cursor;
use std::process::Command;
use std::sync::Arc;

use common::{Loop, Random, pattern, read};
use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types::LINUX_FS;
use images::{BlockDevice, Error, Memory, OpenOptions, Window, open, open_partition};
use tempfile::NamedTempFile;

const MIB: u64 = 1 << 20;

fn disk(bytes: Vec<u8>) -> Arc<dyn BlockDevice> {
    Arc::new(Memory::read_only(bytes))
}

/// Offset and size of a partition.
fn place(bytes: &[u8], number: u32) -> images::Result<(u64, u64)> {
    let window: Window = open_partition(disk(bytes.to_vec()), number)?;
    Ok((window.offset_bytes(), window.size_bytes()))
}

/// The message with which a partition is refused.
fn refusal(bytes: &[u8], number: u32) -> String {
    match place(bytes, number) {
        Err(error @ Error::Partition { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

// ---- GPT ----

/// A disk of 8 MiB with entries 1, 2 and 5: 1 MiB at 1 MiB, 2 MiB at 2 MiB,
/// 2 MiB at 5 MiB.
fn gpt_disk(sector: LogicalBlockSize) -> Vec<u8> {
    let in_sectors = |mib: u64| mib * MIB / sector.as_u64();
    let places = [(1, 1), (2, 2), (5, 2)].map(|(start, len)| (in_sectors(start), in_sectors(len)));
    make_gpt(sector, in_sectors(8), places)
}

/// A disk with three partitions (first sector, sectors) in entries 1, 2 and 5.
fn make_gpt(sector: LogicalBlockSize, sectors: u64, places: [(u64, u64); 3]) -> Vec<u8> {
    let size = sector.as_usize();
    let mut bytes = Cursor::new(vec![0; sectors as usize * size]);
    let mbr = ProtectiveMBR::with_lb_size(sectors as u32 - 1);
    mbr.overwrite_lba0(&mut bytes).unwrap();
    let mut disk = GptConfig::new()
        .writable(true)
        .logical_block_size(sector)
        .create_from_device(bytes, None)
        .unwrap();
    for (number, (start, len)) in (1..).zip(places) {
        disk.add_partition_at("a", number, start, len, LINUX_FS, 0)
            .unwrap();
    }
    let mut bytes = disk.write().unwrap().into_inner();
    // The crate writes entries without gaps: the third one becomes the fifth here.
    for header_at in [size, bytes.len() - size] {
        let entries_at = u64::from_le_bytes(bytes[header_at + 72..][..8].try_into().unwrap());
        let entries_at = entries_at as usize * size;
        let entry = entries_at + 2 * 128..entries_at + 3 * 128;
        bytes.copy_within(entry.clone(), entries_at + 4 * 128);
        bytes[entry].fill(0);
        sign_table(&mut bytes, header_at, entries_at);
    }
    bytes
}

fn check_gpt_disk(bytes: &[u8]) {
    assert_eq!(place(bytes, 1).unwrap(), (MIB, MIB));
    assert_eq!(place(bytes, 2).unwrap(), (2 * MIB, 2 * MIB));
    assert_eq!(place(bytes, 5).unwrap(), (5 * MIB, 2 * MIB));
}

/// The checksum of UEFI tables (reflected, polynomial 0xedb88320).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// Makes the checksum of the header at `at` right again.
fn sign_header(bytes: &mut [u8], at: usize) {
    bytes[at + 16..at + 20].fill(0);
    let crc = crc32(&bytes[at..at + 92]);
    bytes[at + 16..at + 20].copy_from_slice(&crc.to_le_bytes());
}

/// Makes the checksum of 128 entries right again, and the header's.
fn sign_table(bytes: &mut [u8], header_at: usize, entries_at: usize) {
    let crc = crc32(&bytes[entries_at..entries_at + 128 * 128]);
    bytes[header_at + 88..header_at + 92].copy_from_slice(&crc.to_le_bytes());
    sign_header(bytes, header_at);
}

/// Overwrites the backup header, so that only the primary one counts.
fn without_backup(mut bytes: Vec<u8>) -> Vec<u8> {
    let at = bytes.len() - 512;
    bytes[at..].fill(0);
    bytes
}

#[test]
fn gpt_partitions_are_found() {
    for sector in [LogicalBlockSize::Lb512, LogicalBlockSize::Lb4096] {
        let bytes = gpt_disk(sector);
        check_gpt_disk(&bytes);
        for number in [0, 3, 6, 129, u32::MAX] {
            assert_eq!(
                refusal(&bytes, number),
                format!(
                    "partition {number}: there is no partition {number}; the disk has 1, 2 and 5"
                )
            );
        }
    }
}

#[test]
fn a_partition_is_a_device_of_its_own() {
    let mut bytes = gpt_disk(LogicalBlockSize::Lb512);
    bytes[2 << 20..4 << 20].copy_from_slice(&pattern(2 << 20));
    let file = NamedTempFile::new().unwrap();
    fs::write(&file, bytes).unwrap();
    let options = OpenOptions {
        partition: Some(2),
        ..OpenOptions::default()
    };
    let device = open(&file, &options).unwrap();
    assert_eq!(device.size_bytes(), 2 * MIB);
    assert_eq!(device.as_file().unwrap().base_offset, 2 * MIB);
    assert_eq!(
        read(&*device, 999, 5000).unwrap(),
        pattern(2 << 20)[999..5999]
    );
    assert!(read(&*device, 2 * MIB, 1).is_err());
}

#[test]
fn a_table_behind_an_offset_is_found() {
    let mut bytes = vec![0xa5; 4096];
    bytes.extend(gpt_disk(LogicalBlockSize::Lb512));
    let file = NamedTempFile::new().unwrap();
    fs::write(&file, bytes).unwrap();
    let options = OpenOptions {
        read_only: true,
        offset_bytes: Some(4096),
        partition: Some(2),
        ..OpenOptions::default()
    };
    let device = open(&file, &options).unwrap();
    assert_eq!(device.as_file().unwrap().base_offset, 2 * MIB + 4096);
}

#[test]
fn a_damaged_primary_gpt_falls_back() {
    for sector in [LogicalBlockSize::Lb512, LogicalBlockSize::Lb4096] {
        let size = sector.as_usize();
        let whole = gpt_disk(sector);
        // A bit of the header, of its entries, its signature, all of it.
        for range in [
            size + 40..size + 41,
            2 * size + 32..2 * size + 33,
            size..size + 8,
            size..6 * size,
        ] {
            let mut bytes = whole.clone();
            bytes[range].iter_mut().for_each(|byte| *byte ^= 1);
            check_gpt_disk(&bytes);
        }
        // The protective MBR is gone too.
        let mut bytes = whole.clone();
        bytes[..6 * size].fill(0);
        check_gpt_disk(&bytes);
    }
}

#[test]
fn the_backup_of_a_grown_disk_is_found_through_the_primary_header() {
    let mut bytes = gpt_disk(LogicalBlockSize::Lb512);
    bytes.resize(9 << 20, 0);
    bytes[1024] ^= 1;
    check_gpt_disk(&bytes);
}

#[test]
fn a_gpt_without_a_sound_copy_is_refused_with_reasons() {
    let mut bytes = without_backup(gpt_disk(LogicalBlockSize::Lb512));
    bytes[512 + 40] ^= 1;
    let said = refusal(&bytes, 1);
    assert!(said.contains("no usable copy of it (primary: "), "{said}");
    assert!(
        said.contains("CRC32") && said.contains("; backup: "),
        "{said}"
    );
}

/// Headers with sound checksums that ask for too much.
#[test]
fn hostile_gpt_headers_are_refused() {
    let u32s = |at: usize, value: u32| (at, value.to_le_bytes().to_vec());
    let u64s = |at: usize, value: u64| (at, value.to_le_bytes().to_vec());
    let cases = [
        (u32s(80, u32::MAX), "entries, not 1 to"),
        (u32s(80, 32 * 1024 + 1), "entries, not 1 to"),
        (u32s(80, 0), "entries, not 1 to"),
        (u32s(80, 32 * 1024), "CRC"),
        (u32s(84, 0), "entries have 0 bytes"),
        (u32s(84, 256), "entries have 256 bytes"),
        (u32s(84, u32::MAX), "bytes, not 128"),
        (u64s(72, u64::MAX), "entries are not on the disk"),
        (u64s(72, u64::MAX / 512), "entries are not on the disk"),
        (
            u64s(72, (8 << 20) / 512 - 31),
            "entries are not on the disk",
        ),
        (u64s(24, 2), "says that it stands in sector 2"),
        (u64s(24, u64::MAX), "says that it stands in sector"),
    ];
    for ((at, value), expected) in cases {
        let mut bytes = without_backup(gpt_disk(LogicalBlockSize::Lb512));
        bytes[512 + at..][..value.len()].copy_from_slice(&value);
        sign_header(&mut bytes, 512);
        let said = refusal(&bytes, 1);
        assert!(said.contains(expected), "{said}");
    }
    // An alternate header that is not on the disk, with damaged entries.
    for lba in [0, 1, u64::MAX, u64::MAX / 512] {
        let mut bytes = without_backup(gpt_disk(LogicalBlockSize::Lb512));
        bytes[512 + 32..512 + 40].copy_from_slice(&lba.to_le_bytes());
        bytes[1024] ^= 1;
        sign_header(&mut bytes, 512);
        assert!(refusal(&bytes, 1).contains("no usable copy"));
    }
}

#[test]
fn hostile_gpt_entries_are_refused() {
    let end = MIB * 8 / 512;
    for (first, last, expected) in [
        (end, end, "but the disk ends after 8388608 bytes"),
        (end - 1, end, "but the disk ends"),
        (0, u64::MAX, "its length is zero"),
        (1, u64::MAX, "but the disk ends"),
        (u64::MAX, u64::MAX, "but the disk ends"),
        (100, 99, "its length is zero"),
        (u64::MAX, 0, "its length is zero"),
    ] {
        let mut bytes = gpt_disk(LogicalBlockSize::Lb512);
        bytes[1024 + 32..1024 + 40].copy_from_slice(&first.to_le_bytes());
        bytes[1024 + 40..1024 + 48].copy_from_slice(&last.to_le_bytes());
        sign_table(&mut bytes, 512, 1024);
        let said = refusal(&bytes, 1);
        assert!(said.contains(expected), "{first} to {last}: {said}");
        assert_eq!(place(&bytes, 2).unwrap(), (2 * MIB, 2 * MIB));
    }
}

/// Whatever stands in a table, the answer is a window on the disk or an error.
#[test]
fn mutated_gpts_never_panic() {
    let mut random = Random(0x6578_746d_6170);
    let places = [(34, 2), (36, 4), (41, 1)];
    let whole = make_gpt(LogicalBlockSize::Lb512, 80, places);
    let last_sector = whole.len() - 512;
    let mut found = 0;
    for round in 0..20_000_u32 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(4) {
            let at = match random.below(4) {
                0 => 512 + random.below(92),
                1 => 1024 + random.below(5 * 128),
                2 => last_sector + random.below(92),
                _ => 446 + random.below(66),
            };
            bytes[at] = match random.below(3) {
                0 => 0xff,
                1 => bytes[at] ^ (1 << random.below(8)),
                _ => random.next() as u8,
            };
        }
        if round % 4 != 0 {
            sign_table(&mut bytes, 512, 1024);
            sign_header(&mut bytes, last_sector);
        }
        let number = random.below(7) as u32;
        if let Ok((offset, len)) = place(&bytes, number) {
            assert!(len > 0 && offset + len <= bytes.len() as u64);
            found += 1;
        }
    }
    // Neither all nor nothing, or the mutations would not reach what they should.
    assert!((1000..15_000).contains(&found), "{found} usable partitions");
}

// ---- MBR ----

/// Type, first sector and number of sectors of the four entries of a record.
type Record = [(u8, u32, u32); 4];

const NO: (u8, u32, u32) = (0, 0, 0);

/// Writes a record with its signature.
fn put_record(bytes: &mut [u8], sector: usize, record: Record) {
    let at = sector * 512;
    for (slot, (kind, first, len)) in record.into_iter().enumerate() {
        let entry = &mut bytes[at + 446 + 16 * slot..][..16];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..16].copy_from_slice(&len.to_le_bytes());
    }
    bytes[at + 510..at + 512].copy_from_slice(&[0x55, 0xaa]);
}

/// 1000 sectors: 1 and 2 primary, 4 extended from 300 on with 5 to 7, of which
/// an empty record stands between 6 and 7.
fn mbr_disk() -> Vec<u8> {
    let mut bytes = vec![0; 1000 * 512];
    let extended = (0x05, 300, 700);
    put_record(
        &mut bytes,
        0,
        [(0x83, 10, 90), (0x83, 100, 150), NO, extended],
    );
    put_record(&mut bytes, 300, [(0x83, 1, 49), (0x05, 100, 100), NO, NO]);
    put_record(&mut bytes, 400, [(0x83, 2, 98), (0x0f, 200, 100), NO, NO]);
    put_record(&mut bytes, 500, [(0x83, 5, 0), (0x85, 50, 50), NO, NO]);
    // Links count from the extended partition's start and may go backwards.
    put_record(&mut bytes, 350, [(0x83, 3, 40), NO, NO, NO]);
    bytes
}

fn check_mbr_disk(bytes: &[u8]) {
    for (number, first, len) in [
        (1, 10, 90),
        (2, 100, 150),
        (5, 301, 49),
        (6, 402, 98),
        (7, 353, 40),
    ] {
        assert_eq!(place(bytes, number).unwrap(), (first * 512, len * 512));
    }
}

#[test]
fn mbr_partitions_are_found() {
    let bytes = mbr_disk();
    check_mbr_disk(&bytes);
    for number in [0, 3, 8, u32::MAX] {
        let said = refusal(&bytes, number);
        assert!(said.ends_with("; the disk has 1, 2, 5, 6 and 7"), "{said}");
    }
    let said = refusal(&bytes, 4);
    assert!(said.contains("it is an extended partition"), "{said}");
}

#[test]
fn what_has_no_table_is_said_to_have_none() {
    let mut boot_sector = vec![0; 64 * 512];
    put_record(&mut boot_sector, 0, [(0x83, 1, 2), NO, NO, NO]);
    boot_sector[446] = 0x41;
    let mut unsigned = mbr_disk();
    unsigned[511] = 0;
    for bytes in [
        vec![],
        vec![0; 511],
        vec![0; 512],
        vec![0; 1 << 20],
        vec![0xff; 1 << 20],
        boot_sector,
        unsigned,
    ] {
        assert_eq!(
            refusal(&bytes, 1),
            "partition 1: no partition table (GPT or MBR) was found"
        );
    }
    let mut empty = vec![0; 1 << 20];
    put_record(&mut empty, 0, [NO; 4]);
    assert!(refusal(&empty, 1).ends_with("there is no partition 1; the disk has none"));
}

#[test]
fn mbr_partitions_past_the_end_are_refused() {
    let mut bytes = vec![0; 100 * 512];
    let entries = [
        (0x83, 50, 51),
        (0x83, 50, 50),
        (0x83, u32::MAX, u32::MAX),
        NO,
    ];
    put_record(&mut bytes, 0, entries);
    assert!(refusal(&bytes, 1).contains(
        "it has 51 sectors of 512 bytes from sector 50 on, but the disk ends after 51200 bytes"
    ));
    assert_eq!(place(&bytes, 2).unwrap(), (25_600, 25_600));
    assert!(refusal(&bytes, 3).contains("but the disk ends"));
}

#[test]
fn chains_that_never_end_are_left() {
    // A record that links to itself, with and without a partition in it.
    for partition in [(0x83, 1, 1), NO] {
        let mut bytes = mbr_disk();
        put_record(&mut bytes, 400, [partition, (0x05, 100, 100), NO, NO]);
        assert_eq!(place(&bytes, 5).unwrap(), (301 * 512, 49 * 512));
        assert!(refusal(&bytes, 256).contains("there is no partition 256"));
    }
    // Links off the disk and far outside end the chain.
    for link in [700, u32::MAX] {
        let mut bytes = mbr_disk();
        put_record(&mut bytes, 400, [(0x83, 2, 98), (0x05, link, 100), NO, NO]);
        assert_eq!(place(&bytes, 6).unwrap(), (402 * 512, 98 * 512));
        assert!(refusal(&bytes, 7).ends_with("1, 2, 5 and 6"));
    }
}

#[test]
fn mutated_mbrs_never_panic() {
    let mut random = Random(0x6d62_7220_7461_626c);
    let whole = mbr_disk();
    let records = [0, 300, 400, 500, 350];
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(6) {
            let at = records[random.below(records.len())] * 512 + 446 + random.below(66);
            bytes[at] = match random.below(2) {
                0 => 0xff,
                _ => random.next() as u8,
            };
        }
        if let Ok((offset, len)) = place(&bytes, random.below(9) as u32) {
            assert!(len > 0 && offset + len <= bytes.len() as u64);
        }
    }
}

// ---- Others' tables ----

/// Makes a table with sfdisk and answers what sfdisk says is there: number,
/// offset and length in bytes.
fn sfdisk(file: &NamedTempFile, script: &str) -> Option<Vec<(u32, u64, u64)>> {
    let script_file = NamedTempFile::new().unwrap();
    fs::write(&script_file, script).unwrap();
    let made = Command::new("sfdisk")
        .args(["--quiet", "--no-reread", "--no-tell-kernel"])
        .arg(file.path())
        .stdin(script_file.reopen().unwrap())
        .output();
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            skipping::record(&format!("sfdisk cannot be run: {error}"));
            return None;
        }
    };
    assert!(made.status.success(), "{made:?}");
    let dump = Command::new("sfdisk")
        .arg("--dump")
        .arg(file.path())
        .output()
        .unwrap();
    let dump = String::from_utf8(dump.stdout).unwrap();
    let prefix = file.path().to_str().unwrap();
    let field = |line: &str, name: &str| -> u64 {
        let rest = &line[line.find(name).unwrap() + name.len()..];
        rest.split(',').next().unwrap().trim().parse().unwrap()
    };
    let lines = dump.lines().filter_map(|line| {
        let (number, rest) = line.strip_prefix(prefix)?.split_once(':')?;
        let number = number.trim().trim_start_matches('p').parse().unwrap();
        Some((
            number,
            field(rest, "start=") * 512,
            field(rest, "size=") * 512,
        ))
    });
    Some(lines.collect())
}

#[test]
fn tables_of_sfdisk_are_understood() {
    for (script, count) in [
        (
            "label: dos\n,4M,L\n,4M,L\n,30M,E\n,,L\n,4M,L\n,5M,L\n,6M,L\n",
            7,
        ),
        ("label: gpt\n,4M,L\n,5M,U\n9: size=6M\n", 3),
    ] {
        // The name must not end in a digit, or sfdisk puts a "p" after it.
        let file = NamedTempFile::with_suffix(".img").unwrap();
        file.as_file().set_len(64 << 20).unwrap();
        let Some(expected) = sfdisk(&file, script) else {
            return;
        };
        assert_eq!(expected.len(), count);
        for (number, offset, len) in expected {
            let options = OpenOptions {
                read_only: true,
                offset_bytes: None,
                partition: Some(number),
                ..OpenOptions::default()
            };
            match open(&file, &options) {
                Ok(device) => {
                    assert_eq!(device.as_file().unwrap().base_offset, offset);
                    assert_eq!(device.size_bytes(), len);
                }
                Err(error) => assert!(error.to_string().contains("extended"), "{error}"),
            }
        }
    }
}

#[test]
fn a_disk_with_4096_byte_sectors_is_read_in_them() {
    let file = NamedTempFile::new().unwrap();
    let check = |bytes: Vec<u8>, number, offset: u64, size: u64| {
        fs::write(&file, bytes).unwrap();
        let attached = match Loop::attach(file.path(), 4096) {
            Ok(attached) => attached,
            Err(reason) => {
                skipping::record(&format!("no loop device: {reason}"));
                return;
            }
        };
        let options = OpenOptions {
            read_only: true,
            offset_bytes: None,
            partition: Some(number),
            ..OpenOptions::default()
        };
        let device = open(&attached.0, &options).unwrap();
        assert_eq!(device.as_file().unwrap().base_offset, offset);
        assert_eq!(device.size_bytes(), size);
    };
    check(gpt_disk(LogicalBlockSize::Lb4096), 2, 2 * MIB, 2 * MIB);
    let mut bytes = vec![0; 1 << 20];
    put_record(&mut bytes, 0, [(0x83, 10, 20), NO, NO, NO]);
    check(bytes, 1, 40_960, 81_920);
}
