//! The journal's section, as `dumpe2fs -h` prints it.

use fs_core::{JournalSuperblock, Superblock};
use uuid::Uuid;

use super::fields::Fields;

/// Bits of the log's incompatible features, as dumpe2fs spells them.
const INCOMPAT_NAMES: [&str; 6] = [
    "journal_incompat_revoke",
    "journal_64bit",
    "journal_async_commit",
    "journal_checksum_v2",
    "journal_checksum_v3",
    "fast_commit",
];
/// The compatible feature whose checksums cover whole transactions.
const COMPAT_CHECKSUM: u32 = 1;
/// `s_checksum_type` of the log for CRC-32C.
const CHECKSUM_CRC32C: u8 = 4;

/// The fields of an internal journal.
pub(super) fn fields(superblock: &Superblock, journal: &JournalSuperblock) -> Fields {
    let mut fields = Fields::default();
    fields.names("Journal features:", "features", &feature_names(journal));
    let kib = (u64::from(journal.len_blocks) * u64::from(journal.block_bytes)) >> 10;
    let size = if kib < 8192 {
        format!("{kib}k")
    } else {
        format!("{}M", kib >> 10)
    };
    fields.add("Total journal size:", size, "size_kib", kib);
    if journal.block_bytes != superblock.block_bytes {
        fields.number("Journal block size:", "block_size", journal.block_bytes);
    }
    fields.number("Total journal blocks:", "blocks", journal.len_blocks);
    let fast_commit = journal.fast_commit_blocks;
    fields.number(
        "Max transaction length:",
        "max_transaction_blocks",
        journal.len_blocks.saturating_sub(fast_commit),
    );
    fields.number("Fast commit length:", "fast_commit_blocks", fast_commit);
    if journal.first_block != 1 {
        fields.number("Journal first block:", "first_block", journal.first_block);
    }
    fields.hex32("Journal sequence:", "sequence", journal.sequence);
    fields.number("Journal start:", "start", journal.start_block);
    checksum(journal, &mut fields);
    if journal.errno != 0 {
        fields.add("Journal errno:", journal.errno, "errno", journal.errno);
    }
    fields
}

fn checksum(journal: &JournalSuperblock, fields: &mut Fields) {
    if journal.compat.bits() & COMPAT_CHECKSUM != 0 {
        fields.text_value("Journal checksum type:", "checksum_type", "crc32");
    }
    let Some(kind) = journal.checksum_type else {
        return;
    };
    let name = match kind {
        CHECKSUM_CRC32C => "crc32c".to_owned(),
        other => format!("unknown ({other})"),
    };
    fields.text_value("Journal checksum type:", "checksum_type", &name);
    fields.hex32(
        "Journal checksum:",
        "checksum",
        journal.checksum.unwrap_or_default(),
    );
}

fn feature_names(journal: &JournalSuperblock) -> Vec<String> {
    let mut names = bit_names("C", journal.compat.bits(), &["journal_checksum"]);
    names.extend(bit_names("I", journal.incompat.bits(), &INCOMPAT_NAMES));
    names.extend(bit_names("R", journal.ro_compat, &[]));
    names
}

/// Names of the bits set; `FEATURE_I27` for one without a name, as dumpe2fs.
fn bit_names(set: &str, bits: u32, names: &[&str]) -> Vec<String> {
    let set_bits = (0..32_usize).filter(|bit| bits >> bit & 1 != 0);
    set_bits
        .map(|bit| match names.get(bit) {
            Some(name) => (*name).to_owned(),
            None => format!("FEATURE_{set}{bit}"),
        })
        .collect()
}

/// An external journal is named by its UUID only.
pub(super) fn external_uuid(superblock: &Superblock) -> Option<Uuid> {
    let uuid = Uuid::from_bytes(superblock.journal_uuid);
    (!uuid.is_nil()).then_some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bits_are_numbered() {
        let names = bit_names("I", 0x8000_0012, &INCOMPAT_NAMES);
        assert_eq!(
            names,
            ["journal_64bit", "journal_checksum_v3", "FEATURE_I31"]
        );
    }
}
