//! Requests for tests.

use fs_core::{CompatFeatures, Features, IncompatFeatures, RoCompatFeatures, Timestamp};
use mkfs::{Geometry, Identity, JournalGeometry, Request, Writing};
use uuid::Uuid;

/// 24 MiB in blocks of 1 KiB, three groups, most of ext4's features.
pub(crate) fn small_ext4() -> Request {
    Request {
        geometry: Geometry {
            block_bytes: 1024,
            blocks: 24 << 10,
            first_data_block: 1,
            blocks_per_group: 8192,
            inodes_per_group: 2048,
            groups: 3,
            inode_bytes: 256,
            first_inode: 11,
            extra_isize: 32,
            features: Features {
                compat: CompatFeatures::HAS_JOURNAL
                    | CompatFeatures::RESIZE_INODE
                    | CompatFeatures::EXT_ATTR
                    | CompatFeatures::ORPHAN_FILE,
                incompat: IncompatFeatures::FILETYPE
                    | IncompatFeatures::EXTENTS
                    | IncompatFeatures::BIT64
                    | IncompatFeatures::FLEX_BG,
                ro_compat: RoCompatFeatures::SPARSE_SUPER
                    | RoCompatFeatures::METADATA_CSUM
                    | RoCompatFeatures::HUGE_FILE
                    | RoCompatFeatures::EXTRA_ISIZE,
            },
            descriptor_bytes: 64,
            reserved_gdt_blocks: 100,
            first_meta_bg: 0,
            log_groups_per_flex: 4,
            packed_meta_blocks: false,
            backup_groups: [0, 0],
            reserved_blocks: 1000,
            journal: Some(JournalGeometry {
                blocks: 1024,
                fast_commit_blocks: 0,
                location: None,
            }),
            orphan_file_blocks: 32,
            mmp_interval_seconds: 0,
            raid_stride: 0,
            raid_stripe_width: 0,
            revision: 1,
            creator_os: 0,
            default_mount_options: 0xC,
            errors_behavior: 1,
            max_mount_count: -1,
            check_interval_seconds: 0,
            hash_version: 1,
            superblock_flags: 1,
            bad_blocks: Vec::new(),
        },
        identity: Identity {
            uuid: Uuid::from_u128(1),
            hash_seed: Uuid::from_u128(2),
            label: b"label".to_vec(),
            last_mounted: Vec::new(),
            time: Timestamp {
                seconds: 1_700_000_000,
                nanos: 0,
            },
            root_owner: None,
            root_permissions: None,
        },
        writing: Writing {
            discard: false,
            prezeroed: false,
            lazy_itable_init: true,
            lazy_journal_init: false,
            threads: 1,
        },
    }
}
