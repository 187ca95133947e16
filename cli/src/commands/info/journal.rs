//! The journal's section, as `dumpe2fs -h` prints it. The one place that reads
//! `JournalInfo`.

use fs_core::Volume;

use super::fields::Fields;

/// The fields of an internal journal; none without one.
pub(super) fn fields(volume: &Volume) -> fs_core::Result<Fields> {
    let mut fields = Fields::default();
    let Some(journal) = volume.journal_info()? else {
        return Ok(fields);
    };
    fields.names("Journal features:", "features", &journal.features);
    let kib = u64::from(journal.blocks) * u64::from(journal.block_bytes) >> 10;
    let size = if kib < 8192 {
        format!("{kib}k")
    } else {
        format!("{}M", kib >> 10)
    };
    fields.add("Total journal size:", size, "size_kib", kib);
    if journal.block_bytes != volume.superblock().block_bytes {
        fields.number("Journal block size:", "block_size", journal.block_bytes);
    }
    fields.number("Total journal blocks:", "blocks", journal.blocks);
    fields.number(
        "Max transaction length:",
        "max_transaction_blocks",
        journal.max_transaction_blocks,
    );
    fields.number(
        "Fast commit length:",
        "fast_commit_blocks",
        journal.fast_commit_blocks,
    );
    if journal.first_block != 1 {
        fields.number("Journal first block:", "first_block", journal.first_block);
    }
    fields.hex32("Journal sequence:", "sequence", journal.sequence);
    fields.number("Journal start:", "start", journal.start);
    if let Some(kind) = &journal.checksum_type {
        fields.text_value("Journal checksum type:", "checksum_type", kind);
        fields.hex32("Journal checksum:", "checksum", journal.checksum);
    }
    if journal.errno != 0 {
        fields.add("Journal errno:", journal.errno, "errno", journal.errno);
    }
    Ok(fields)
}
