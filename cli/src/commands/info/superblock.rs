//! The superblock's fields, in the words and the order of dumpe2fs 1.47.

use fs_core::{CompatFeatures, IncompatFeatures, RoCompatFeatures, Superblock};
use uuid::Uuid;

use super::fields::Fields;
use super::journal::external_uuid;
use crate::accounts::{group_name, user_name};
use crate::escape::escape_name;

/// Everything `dumpe2fs -h` prints of a superblock.
pub(super) fn fields(superblock: &Superblock) -> Fields {
    let mut fields = Fields::default();
    identity(superblock, &mut fields);
    counts(superblock, &mut fields);
    geometry(superblock, &mut fields);
    history(superblock, &mut fields);
    reservations(superblock, &mut fields);
    journal_and_hash(superblock, &mut fields);
    errors(superblock, &mut fields);
    rest(superblock, &mut fields);
    fields
}

fn identity(superblock: &Superblock, fields: &mut Fields) {
    let label = or_if_empty(&superblock.label, "<none>");
    fields.add(
        "Filesystem volume name:",
        label,
        "volume_name",
        escape_name(&superblock.label),
    );
    fields.add(
        "Last mounted on:",
        or_if_empty(&superblock.last_mounted, "<not available>"),
        "last_mounted_on",
        escape_name(&superblock.last_mounted),
    );
    fields.text_value("Filesystem UUID:", "uuid", &superblock.uuid.to_string());
    fields.add("Filesystem magic number:", "0xEF53", "magic", 0xEF53);
    let revision = match superblock.revision {
        0 => "0 (original)".to_owned(),
        1 => "1 (dynamic)".to_owned(),
        other => format!("{other} (unknown)"),
    };
    fields.add(
        "Filesystem revision #:",
        revision,
        "revision",
        superblock.revision,
    );
    fields.names(
        "Filesystem features:",
        "features",
        &superblock.features.names(),
    );
    flags(superblock.flags, fields);
    fields.names(
        "Default mount options:",
        "default_mount_options",
        &default_mount_options(superblock.default_mount_options),
    );
    if !superblock.mount_opts.is_empty() {
        let options = escape_name(&superblock.mount_opts);
        fields.text_value("Mount options:", "mount_options", &options);
    }
    let state = state_words(superblock.state);
    fields.text_value("Filesystem state:", "state", &state);
    let behavior = match superblock.errors_behavior {
        1 => "Continue",
        2 => "Remount read-only",
        3 => "Panic",
        _ => "Unknown (continue)",
    };
    fields.text_value("Errors behavior:", "errors_behavior", behavior);
    let system = match superblock.creator_os {
        0 => "Linux".to_owned(),
        1 => "Hurd".to_owned(),
        2 => "Masix".to_owned(),
        3 => "FreeBSD".to_owned(),
        4 => "Lites".to_owned(),
        _ => "(unknown os)".to_owned(),
    };
    fields.text_value("Filesystem OS type:", "os_type", &system);
}

fn or_if_empty(bytes: &[u8], otherwise: &str) -> String {
    if bytes.is_empty() {
        otherwise.to_owned()
    } else {
        escape_name(bytes)
    }
}

/// dumpe2fs leaves a blank at the end of this line.
fn flags(bits: u32, fields: &mut Fields) {
    if bits == 0 {
        return;
    }
    let known = [
        (1, "signed_directory_hash"),
        (2, "unsigned_directory_hash"),
        (4, "test_filesystem"),
    ];
    let names: Vec<&str> = known
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    let text = if names.is_empty() {
        "(none)".to_owned()
    } else {
        names.join(" ") + " "
    };
    fields.add("Filesystem flags:", text, "flags", names);
}

fn default_mount_options(bits: u32) -> Vec<String> {
    let journal_mode = match bits & 0x60 {
        0x20 => Some("journal_data"),
        0x40 => Some("journal_data_ordered"),
        0x60 => Some("journal_data_writeback"),
        _ => None,
    };
    let mut names: Vec<String> = journal_mode.map(str::to_owned).into_iter().collect();
    for shift in (0..32).filter(|shift| !matches!(shift, 5 | 6)) {
        if bits & (1 << shift) != 0 {
            names.push(match shift {
                0 => "debug".to_owned(),
                1 => "bsdgroups".to_owned(),
                2 => "user_xattr".to_owned(),
                3 => "acl".to_owned(),
                4 => "uid16".to_owned(),
                8 => "nobarrier".to_owned(),
                9 => "block_validity".to_owned(),
                10 => "discard".to_owned(),
                11 => "nodelalloc".to_owned(),
                other => format!("MNTOPT_{other}"),
            });
        }
    }
    names
}

fn state_words(state: u16) -> String {
    let clean = if state & 1 != 0 { "clean" } else { "not clean" };
    let errors = if state & 2 != 0 { " with errors" } else { "" };
    format!("{clean}{errors}")
}

fn counts(superblock: &Superblock, fields: &mut Fields) {
    fields.number("Inode count:", "inode_count", superblock.inodes_count);
    fields.number("Block count:", "block_count", superblock.blocks_count);
    fields.number(
        "Reserved block count:",
        "reserved_block_count",
        superblock.reserved_blocks,
    );
    fields.number_if_set(
        "Overhead clusters:",
        "overhead_clusters",
        superblock.overhead_clusters,
    );
    fields.number("Free blocks:", "free_blocks", superblock.free_blocks);
    fields.number("Free inodes:", "free_inodes", superblock.free_inodes);
    fields.number("First block:", "first_block", superblock.first_data_block);
}

fn geometry(sb: &Superblock, fields: &mut Fields) {
    let bigalloc = sb.features.ro_compat.contains(RoCompatFeatures::BIGALLOC);
    fields.number("Block size:", "block_size", sb.block_bytes);
    if bigalloc {
        fields.number("Cluster size:", "cluster_size", sb.cluster_bytes);
    } else {
        fields.number("Fragment size:", "fragment_size", sb.cluster_bytes);
    }
    if sb.features.incompat.contains(IncompatFeatures::BIT64) {
        fields.number(
            "Group descriptor size:",
            "group_descriptor_size",
            sb.descriptor_bytes,
        );
    }
    fields.number_if_set(
        "Reserved GDT blocks:",
        "reserved_gdt_blocks",
        sb.reserved_gdt_blocks,
    );
    fields.number("Blocks per group:", "blocks_per_group", sb.blocks_per_group);
    let per_group = sb.clusters_per_group;
    if bigalloc {
        fields.number("Clusters per group:", "clusters_per_group", per_group);
    } else {
        fields.number("Fragments per group:", "fragments_per_group", per_group);
    }
    fields.number("Inodes per group:", "inodes_per_group", sb.inodes_per_group);
    fields.number(
        "Inode blocks per group:",
        "inode_blocks_per_group",
        sb.inode_blocks_per_group,
    );
    fields.number_if_set("RAID stride:", "raid_stride", sb.raid_stride);
    fields.number_if_set(
        "RAID stripe width:",
        "raid_stripe_width",
        sb.raid_stripe_width,
    );
    fields.number_if_set(
        "First meta block group:",
        "first_meta_block_group",
        sb.first_meta_bg,
    );
    if let Some(size @ 2..) = 1_u64.checked_shl(sb.log_groups_per_flex.into()) {
        fields.number("Flex block group size:", "flex_block_group_size", size);
    }
}

fn history(sb: &Superblock, fields: &mut Fields) {
    if sb.created_at != 0 {
        fields.time("Filesystem created:", "created_at", sb.created_at);
    }
    if sb.mounted_at == 0 {
        fields.add("Last mount time:", "n/a", "mounted_at", 0);
    } else {
        fields.time("Last mount time:", "mounted_at", sb.mounted_at);
    }
    fields.time("Last write time:", "written_at", sb.written_at);
    fields.number("Mount count:", "mount_count", sb.mount_count);
    let max = sb.max_mount_count;
    fields.add("Maximum mount count:", max, "maximum_mount_count", max);
    fields.time("Last checked:", "checked_at", sb.checked_at);
    let interval = sb.check_interval;
    fields.add(
        "Check interval:",
        format_args!("{interval} ({})", interval_words(interval)),
        "check_interval_seconds",
        interval,
    );
    if interval != 0 {
        let next = sb.checked_at.saturating_add(interval.into());
        fields.time("Next check after:", "next_check_at", next);
    }
    let kib = sb.lifetime_kib_written;
    if kib != 0 {
        let words = lifetime_words(kib);
        fields.add("Lifetime writes:", words, "lifetime_kib_written", kib);
    }
}

/// `1 month, 2 weeks, 3 days, 4:05:06`; months have 30 days.
fn interval_words(seconds: u32) -> String {
    if seconds == 0 {
        return "<none>".to_owned();
    }
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, unit_seconds) in [
        ("month", 30 * 86_400),
        ("week", 7 * 86_400),
        ("day", 86_400),
    ] {
        let count = rest / unit_seconds;
        rest %= unit_seconds;
        if count > 0 {
            let plural = if count > 1 { "s" } else { "" };
            parts.push(format!("{count} {unit}{plural}"));
        }
    }
    if rest > 0 {
        let (hours, minutes) = (rest / 3600, rest / 60 % 60);
        parts.push(format!("{hours}:{minutes:02}:{:02}", rest % 60));
    }
    parts.join(", ")
}

/// KiB in the unit dumpe2fs chooses, rounded to the nearest.
fn lifetime_words(kib: u64) -> String {
    let units = [
        (10, "MB", 23),
        (20, "GB", 33),
        (30, "TB", 43),
        (40, "PB", 64),
    ];
    if kib < 1 << 13 {
        return format!("{kib} kB");
    }
    for (shift, unit, limit) in units {
        if limit == 64 || kib < 1 << limit {
            let rounded = kib.saturating_add(1 << (shift - 1)) >> shift;
            return format!("{rounded} {unit}");
        }
    }
    format!("{kib} kB")
}

fn reservations(sb: &Superblock, fields: &mut Fields) {
    let uid = sb.default_reserved_uid;
    let user = user_name(uid.into()).map_or("user unknown".into(), |n| format!("user {n}"));
    fields.add(
        "Reserved blocks uid:",
        format_args!("{uid} ({user})"),
        "reserved_blocks_uid",
        uid,
    );
    let gid = sb.default_reserved_gid;
    let group = group_name(gid.into()).map_or("group unknown".into(), |n| format!("group {n}"));
    fields.add(
        "Reserved blocks gid:",
        format_args!("{gid} ({group})"),
        "reserved_blocks_gid",
        gid,
    );
    if sb.revision == 0 {
        return;
    }
    fields.number("First inode:", "first_inode", sb.first_inode);
    fields.add(
        "Inode size:\t          ",
        sb.inode_bytes,
        "inode_size",
        sb.inode_bytes,
    );
    fields.number_if_set(
        "Required extra isize:",
        "required_extra_isize",
        sb.min_extra_isize,
    );
    fields.number_if_set(
        "Desired extra isize:",
        "desired_extra_isize",
        sb.want_extra_isize,
    );
}

fn journal_and_hash(sb: &Superblock, fields: &mut Fields) {
    if let Some(uuid) = external_uuid(sb) {
        fields.text_value("Journal UUID:", "journal_uuid", &uuid.to_string());
    }
    fields.number_if_set("Journal inode:", "journal_inode", sb.journal_inode);
    let device = sb.journal_device;
    if device != 0 {
        fields.add(
            "Journal device:\t          ",
            format_args!("{device:#06x}"),
            "journal_device",
            device,
        );
    }
    fields.number_if_set("First orphan inode:", "first_orphan_inode", sb.first_orphan);
    if sb.features.compat.contains(CompatFeatures::DIR_INDEX) || sb.default_hash_version != 0 {
        let hash = match sb.default_hash_version {
            0 => "legacy".to_owned(),
            1 => "half_md4".to_owned(),
            2 => "tea".to_owned(),
            6 => "siphash".to_owned(),
            other => format!("HASHALG_{other}"),
        };
        fields.text_value("Default directory hash:", "default_directory_hash", &hash);
    }
    let seed = hash_seed_uuid(sb.hash_seed);
    if !seed.is_nil() {
        fields.text_value(
            "Directory Hash Seed:",
            "directory_hash_seed",
            &seed.to_string(),
        );
    }
    match sb.journal_backup_type {
        0 => {}
        1 => fields.text_value("Journal backup:", "journal_backup", "inode blocks"),
        other => {
            let words = format!("type {other}");
            fields.text_value("Journal backup:", "journal_backup", &words);
        }
    }
    if sb.backup_groups != [0, 0] {
        let groups = sb.backup_groups.iter().filter(|group| **group != 0);
        let listed: Vec<u32> = groups.copied().collect();
        let text: String = listed.iter().map(|group| format!("{group} ")).collect();
        fields.add("Backup block groups:", text, "backup_block_groups", listed);
    }
}

/// The seed is stored as four little-endian words and shown as 16 bytes.
fn hash_seed_uuid(words: [u32; 4]) -> Uuid {
    let mut bytes = [0; 16];
    for (chunk, word) in bytes.chunks_exact_mut(4).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    Uuid::from_bytes(bytes)
}

/// Adds one recorded error under the labels of "First" or "Last".
macro_rules! error_record {
    ($fields:expr, $record:expr, $label:literal, $key:literal) => {
        let (fields, record) = ($fields, $record);
        if record.time != 0 {
            let function = escape_name(&record.function);
            fields.time(
                concat!($label, " error time:"),
                concat!($key, "_error_at"),
                record.time,
            );
            fields.text_value(
                concat!($label, " error function:"),
                concat!($key, "_error_function"),
                &function,
            );
            fields.number(
                concat!($label, " error line #:"),
                concat!($key, "_error_line"),
                record.line,
            );
            fields.number_if_set(
                concat!($label, " error inode #:"),
                concat!($key, "_error_inode"),
                record.inode,
            );
            fields.number_if_set(
                concat!($label, " error block #:"),
                concat!($key, "_error_block"),
                record.block,
            );
            if record.error_code != 0 {
                fields.text_value(
                    concat!($label, " error err:"),
                    concat!($key, "_error_code"),
                    &error_code_name(record.error_code),
                );
            }
        }
    };
}

fn errors(sb: &Superblock, fields: &mut Fields) {
    fields.number_if_set("FS Error count:", "error_count", sb.error_count);
    error_record!(&mut *fields, &sb.first_error, "First", "first");
    error_record!(&mut *fields, &sb.last_error, "Last", "last");
}

/// The kernel's names of the error codes it keeps in the superblock.
fn error_code_name(code: u8) -> String {
    const NAMES: [&str; 16] = [
        "UNKNOWN",
        "EIO",
        "ENOMEM",
        "EFSBADCRC",
        "EFSCORRUPTED",
        "ENOSPC",
        "ENOKEY",
        "EROFS",
        "EFBIG",
        "EEXIST",
        "ERANGE",
        "EOVERFLOW",
        "EBUSY",
        "ENOTDIR",
        "ENOTEMPTY",
        "ESHUTDOWN",
    ];
    let index = usize::from(code).checked_sub(1);
    let name = index.and_then(|index| NAMES.get(index)).copied();
    match (name, code) {
        (Some(name), _) => name.to_owned(),
        (None, 17) => "EFAULT".to_owned(),
        (None, _) => format!("UNKNOWN_ERRCODE_{code}"),
    }
}

fn rest(sb: &Superblock, fields: &mut Fields) {
    let incompat = sb.features.incompat;
    if incompat.contains(IncompatFeatures::MMP) {
        fields.number("MMP block number:", "mmp_block", sb.mmp_block);
        fields.number("MMP update interval:", "mmp_interval", sb.mmp_interval);
    }
    fields.number_if_set("User quota inode:", "user_quota_inode", sb.user_quota_inode);
    fields.number_if_set(
        "Group quota inode:",
        "group_quota_inode",
        sb.group_quota_inode,
    );
    fields.number_if_set(
        "Project quota inode:",
        "project_quota_inode",
        sb.project_quota_inode,
    );
    if sb
        .features
        .ro_compat
        .contains(RoCompatFeatures::METADATA_CSUM)
    {
        let kind = match sb.checksum_type {
            1 => "crc32c".to_owned(),
            other => format!("unknown ({other})"),
        };
        fields.text_value("Checksum type:", "checksum_type", &kind);
        fields.hex32("Checksum:", "checksum", sb.checksum);
    }
    if incompat.contains(IncompatFeatures::CSUM_SEED) {
        fields.hex32("Checksum seed:", "checksum_seed", sb.checksum_seed);
    }
    if incompat.contains(IncompatFeatures::CASEFOLD) {
        let encoding = match sb.encoding {
            1 => "utf8-12.1".to_owned(),
            other => format!("UNKNOWN_ENCODING_{other}"),
        };
        fields.text_value("Character encoding:", "character_encoding", &encoding);
    }
    if sb.features.compat.contains(CompatFeatures::ORPHAN_FILE) {
        fields.number(
            "Orphan file inode:",
            "orphan_file_inode",
            sb.orphan_file_inode,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_spelled_out() {
        assert_eq!(interval_words(0), "<none>");
        assert_eq!(interval_words(15_552_000), "6 months");
        assert_eq!(interval_words(90_061), "1 day, 1:01:01");
        assert_eq!(interval_words(30 * 86_400 + 7 * 86_400), "1 month, 1 week");
    }

    #[test]
    fn lifetime_writes_choose_their_unit() {
        assert_eq!(lifetime_words(279), "279 kB");
        assert_eq!(lifetime_words(8191), "8191 kB");
        assert_eq!(lifetime_words(8192), "8 MB");
        assert_eq!(lifetime_words((1 << 23) - 1), "8192 MB");
        assert_eq!(lifetime_words(1 << 23), "8 GB");
        assert_eq!(lifetime_words(1 << 33), "8 TB");
        assert_eq!(lifetime_words(1 << 43), "8 PB");
        assert_eq!(lifetime_words(u64::MAX), "16777215 PB");
    }

    #[test]
    fn mount_options_begin_with_the_journal_mode() {
        assert_eq!(default_mount_options(0), Vec::<String>::new());
        assert_eq!(
            default_mount_options(0x6c),
            ["journal_data_writeback", "user_xattr", "acl"]
        );
        assert_eq!(default_mount_options(0x80), ["MNTOPT_7"]);
    }

    #[test]
    fn the_state_has_two_bits() {
        assert_eq!(state_words(1), "clean");
        assert_eq!(state_words(0), "not clean");
        assert_eq!(state_words(3), "clean with errors");
    }

    #[test]
    fn codes_of_errors_have_names() {
        assert_eq!(error_code_name(1), "UNKNOWN");
        assert_eq!(error_code_name(5), "EFSCORRUPTED");
        assert_eq!(error_code_name(17), "EFAULT");
        assert_eq!(error_code_name(200), "UNKNOWN_ERRCODE_200");
    }
}
