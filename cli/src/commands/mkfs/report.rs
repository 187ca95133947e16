//! What was made: a few lines for people, one object for programs.

use std::io::{self, Write};

use mkfs::{Geometry, Report, Request};
use serde_json::{Map, Value, json};

use super::options::MkfsArgs;
use crate::escape::escape_message;

/// Prints what was made, or with `-n` would be.
pub(super) fn text(
    output: &mut impl Write,
    args: &MkfsArgs,
    request: &Request,
    report: Option<&Report>,
) -> io::Result<()> {
    let (geometry, identity) = (&request.geometry, &request.identity);
    let device = args.device_name();
    let device = escape_message(&device);
    let verb = if report.is_some() {
        "made"
    } else {
        "would make"
    };
    writeln!(
        output,
        "{device}: {verb} {}, {} blocks of {} bytes, {} inodes, {}",
        family(geometry),
        geometry.blocks,
        geometry.block_bytes,
        inodes(geometry),
        match geometry.journal {
            Some(journal) => format!("a journal of {} blocks", journal.blocks),
            None => "no journal".into(),
        }
    )?;
    writeln!(output, "UUID {}", identity.uuid)?;
    if !args.verbose {
        return Ok(());
    }
    writeln!(output, "label \"{}\"", identity.label.escape_ascii())?;
    writeln!(output, "features {}", geometry.features.names().join(" "))?;
    writeln!(
        output,
        "{} groups of {} blocks and {} inodes of {} bytes, {} blocks reserved",
        geometry.groups,
        geometry.blocks_per_group,
        geometry.inodes_per_group,
        geometry.inode_bytes,
        geometry.reserved_blocks
    )?;
    if let Some(report) = report {
        writeln!(
            output,
            "superblock backups: {}; {} blocks and {} inodes free, {} bytes written",
            report.backup_superblocks, report.free_blocks, report.free_inodes, report.bytes_written
        )?;
    }
    Ok(())
}

/// Prints one object.
pub(super) fn json(
    output: &mut impl Write,
    args: &MkfsArgs,
    request: &Request,
    report: Option<&Report>,
) -> io::Result<()> {
    let (geometry, identity) = (&request.geometry, &request.identity);
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| {
        object.insert(name.into(), value);
    };
    put("device", args.device_name().into());
    put("type", family(geometry).into());
    put("uuid", identity.uuid.to_string().into());
    put("hash_seed", identity.hash_seed.to_string().into());
    put("label", String::from_utf8_lossy(&identity.label).into());
    put("features", geometry.features.names().into());
    put("block_bytes", geometry.block_bytes.into());
    put("blocks", geometry.blocks.into());
    put("reserved_blocks", geometry.reserved_blocks.into());
    put("first_data_block", geometry.first_data_block.into());
    put("blocks_per_group", geometry.blocks_per_group.into());
    put("groups", geometry.groups.into());
    put("inodes", inodes(geometry).into());
    put("inodes_per_group", geometry.inodes_per_group.into());
    put("inode_bytes", geometry.inode_bytes.into());
    put("descriptor_bytes", geometry.descriptor_bytes.into());
    put("reserved_gdt_blocks", geometry.reserved_gdt_blocks.into());
    put(
        "flex_groups",
        (1u64 << geometry.log_groups_per_flex.min(31)).into(),
    );
    put(
        "journal_blocks",
        geometry.journal.map_or(0, |journal| journal.blocks).into(),
    );
    put("written", report.is_some().into());
    if let Some(report) = report {
        put("bytes_written", report.bytes_written.into());
        put("free_blocks", report.free_blocks.into());
        put("free_inodes", report.free_inodes.into());
        put("overhead_blocks", report.overhead_blocks.into());
        put("backup_superblocks", report.backup_superblocks.into());
        put("journal_start", json!(report.journal_start));
    }
    serde_json::to_writer_pretty(&mut *output, &object)?;
    writeln!(output)
}

/// Which of the three it is, as people call it: by its features.
fn family(geometry: &Geometry) -> &'static str {
    use fs_core::{CompatFeatures, IncompatFeatures, RoCompatFeatures};
    let features = &geometry.features;
    let incompat = IncompatFeatures::EXTENTS
        .union(IncompatFeatures::BIT64)
        .union(IncompatFeatures::FLEX_BG)
        .union(IncompatFeatures::INLINE_DATA);
    let ro_compat = RoCompatFeatures::SPARSE_SUPER
        .union(RoCompatFeatures::LARGE_FILE)
        .complement();
    if features.incompat.intersects(incompat) || features.ro_compat.intersects(ro_compat) {
        "ext4"
    } else if features.compat.contains(CompatFeatures::HAS_JOURNAL) {
        "ext3"
    } else {
        "ext2"
    }
}

fn inodes(geometry: &Geometry) -> u64 {
    u64::from(geometry.inodes_per_group).saturating_mul(geometry.groups.into())
}
