//! Extended options: `-E key=value,key`.

use std::str::FromStr;

use uuid::Uuid;

use super::number::{self, Size};
use crate::{Error, Result};

/// What `-E` asks for; `None` where nothing was said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extended {
    /// `offset=`: byte of the device where the file system begins.
    pub offset: Option<u64>,
    /// `hash_seed=`: seed of the directory hashes.
    pub hash_seed: Option<Uuid>,
    /// `lazy_itable_init`: leave unused inode tables to the kernel to zero.
    pub lazy_itable_init: Option<bool>,
    /// `lazy_journal_init`: write only the journal's superblock.
    pub lazy_journal_init: Option<bool>,
    /// `root_owner=`: uid and gid of the root directory.
    pub root_owner: Option<(u32, u32)>,
    /// `root_perms=`: permissions of the root directory.
    pub root_permissions: Option<u16>,
    /// `discard` or `nodiscard`.
    pub discard: Option<bool>,
    /// `stride=`: blocks written to one disk before the next (RAID chunk).
    pub stride_blocks: Option<u16>,
    /// `stripe_width=`: blocks of data in a stripe.
    pub stripe_width_blocks: Option<u32>,
    /// `resize=`: the size to which it shall be growable while mounted.
    pub resize: Option<Size>,
    /// `num_backup_sb=`: 0, 1 or 2 backups (sparse_super2).
    pub backups: Option<u8>,
    /// `packed_meta_blocks`: bitmaps and inode tables at the start (flex_bg).
    pub packed_meta_blocks: Option<bool>,
    /// `orphan_file_size=`.
    pub orphan_file_size: Option<Size>,
    /// `assume_storage_prezeroed`: the device reads as zeros.
    pub assume_storage_prezeroed: Option<bool>,
    /// `mmp_update_interval=` in seconds, at most 300; 0 is the default of 5.
    pub mmp_interval_seconds: Option<u16>,
    /// `test_fs`: marked as a file system for testing the file system.
    pub test_fs: Option<bool>,
}

/// Keys that mke2fs knows and extmap refuses, with the reason as half a sentence.
const REFUSED: &[(&str, &str)] = &[
    (
        "desc_size",
        "the 64bit feature decides the size of descriptors",
    ),
    (
        "desc-size",
        "the 64bit feature decides the size of descriptors",
    ),
    ("quotatype", "extmap makes no file systems with quotas"),
    ("encoding", "extmap makes no file systems with casefold"),
    (
        "encoding_flags",
        "extmap makes no file systems with casefold",
    ),
    ("android_sparse", "extmap writes plain images"),
    ("no_copy_xattrs", "extended attributes are always copied"),
];

const KNOWN: &str = "offset=, hash_seed=, lazy_itable_init[=0|1], lazy_journal_init[=0|1], \
     root_owner=UID:GID, root_perms=OCTAL, discard, nodiscard, stride=, stripe_width=, resize=, \
     num_backup_sb=, packed_meta_blocks[=0|1], orphan_file_size=, assume_storage_prezeroed[=0|1], \
     mmp_update_interval=, test_fs";

/// The largest `s_mmp_update_interval` (the kernel's and libext2fs's limit).
const MMP_INTERVAL_MAX_SECONDS: u16 = 300;

impl Extended {
    /// Adds the keys of another list, which win.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        Self {
            offset: later.offset.or(self.offset),
            hash_seed: later.hash_seed.or(self.hash_seed),
            lazy_itable_init: later.lazy_itable_init.or(self.lazy_itable_init),
            lazy_journal_init: later.lazy_journal_init.or(self.lazy_journal_init),
            root_owner: later.root_owner.or(self.root_owner),
            root_permissions: later.root_permissions.or(self.root_permissions),
            discard: later.discard.or(self.discard),
            stride_blocks: later.stride_blocks.or(self.stride_blocks),
            stripe_width_blocks: later.stripe_width_blocks.or(self.stripe_width_blocks),
            resize: later.resize.or(self.resize),
            backups: later.backups.or(self.backups),
            packed_meta_blocks: later.packed_meta_blocks.or(self.packed_meta_blocks),
            orphan_file_size: later.orphan_file_size.or(self.orphan_file_size),
            assume_storage_prezeroed: later
                .assume_storage_prezeroed
                .or(self.assume_storage_prezeroed),
            mmp_interval_seconds: later.mmp_interval_seconds.or(self.mmp_interval_seconds),
            test_fs: later.test_fs.or(self.test_fs),
        }
    }

    fn set(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        let option = format!("-E {key}=");
        let needed = || {
            value
                .filter(|value| !value.is_empty())
                .ok_or_else(|| Error::Option(format!("-E {key} needs a value: {key}=...")))
        };
        match key {
            "offset" => self.offset = Some(number::integer_of(&option, needed()?)?),
            "hash_seed" => self.hash_seed = Some(hash_seed(needed()?)?),
            "lazy_itable_init" => self.lazy_itable_init = Some(switch(&option, value)?),
            "lazy_journal_init" => self.lazy_journal_init = Some(switch(&option, value)?),
            "root_owner" => self.root_owner = Some(owner(&option, needed()?)?),
            "root_perms" => self.root_permissions = Some(permissions(needed()?)?),
            "discard" => self.discard = Some(flag(key, value)?),
            "nodiscard" => self.discard = Some(!flag(key, value)?),
            "stride" => self.stride_blocks = Some(number::integer_of(&option, needed()?)?),
            "stripe_width" | "stripe-width" => {
                self.stripe_width_blocks = Some(number::integer_of(&option, needed()?)?);
            }
            "resize" => self.resize = Some(needed()?.parse()?),
            "num_backup_sb" => self.backups = Some(up_to(&option, needed()?, 2)?),
            "packed_meta_blocks" => self.packed_meta_blocks = Some(switch(&option, value)?),
            "orphan_file_size" => self.orphan_file_size = Some(needed()?.parse()?),
            "assume_storage_prezeroed" => {
                self.assume_storage_prezeroed = Some(switch(&option, value)?);
            }
            "mmp_update_interval" => {
                self.mmp_interval_seconds =
                    Some(up_to(&option, needed()?, MMP_INTERVAL_MAX_SECONDS)?);
            }
            "test_fs" => self.test_fs = Some(flag(key, value)?),
            _ => return Err(unknown(key)),
        }
        Ok(())
    }
}

impl FromStr for Extended {
    type Err = Error;

    fn from_str(list: &str) -> Result<Self> {
        let mut options = Self::default();
        for item in list.split(',') {
            match item.split_once('=') {
                Some((key, value)) => options.set(key, Some(value))?,
                None => options.set(item, None)?,
            }
        }
        Ok(options)
    }
}

fn unknown(key: &str) -> Error {
    Error::Option(match REFUSED.iter().find(|(refused, _)| *refused == key) {
        Some((_, reason)) => format!("-E {key} is not supported: {reason}"),
        None => format!("-E does not know {key:?}; it knows {KNOWN}"),
    })
}

/// `key` alone is on, `key=0` off, `key=1` on.
fn switch(option: &str, value: Option<&str>) -> Result<bool> {
    match value {
        None => Ok(true),
        Some(value) => Ok(up_to(option, value, 1_u8)? == 1),
    }
}

fn flag(key: &str, value: Option<&str>) -> Result<bool> {
    match value {
        None => Ok(true),
        Some(_) => Err(Error::Option(format!("-E {key} takes no value"))),
    }
}

fn up_to<T>(option: &str, value: &str, max: T) -> Result<T>
where
    T: TryFrom<u64> + PartialOrd + std::fmt::Display,
{
    let number = number::integer_of(option, value)?;
    if number > max {
        return Err(Error::Option(format!(
            "{option}{value} is too much: 0 to {max} is possible"
        )));
    }
    Ok(number)
}

fn hash_seed(value: &str) -> Result<Uuid> {
    Uuid::try_parse(value).map_err(|_| Error::Option(format!("-E hash_seed={value} is not a UUID")))
}

fn owner(option: &str, value: &str) -> Result<(u32, u32)> {
    let (uid, gid) = value
        .split_once(':')
        .ok_or_else(|| Error::Option(format!("{option}{value} is not UID:GID")))?;
    Ok((
        number::integer_of(option, uid)?,
        number::integer_of(option, gid)?,
    ))
}

fn permissions(value: &str) -> Result<u16> {
    u16::from_str_radix(value, 8)
        .ok()
        .filter(|permissions| *permissions <= 0o7777 && !value.starts_with('+'))
        .ok_or_else(|| {
            Error::Option(format!(
                "-E root_perms={value} is not an octal mode from 0 to 7777"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &str) -> Result<Extended> {
        list.parse()
    }

    #[test]
    fn every_key_is_read() {
        let options = parse(
            "offset=0x1000,hash_seed=6b2d5b3e-5d0f-4d7d-9f5e-0a1b2c3d4e5f,lazy_itable_init=0,\
             lazy_journal_init,root_owner=1:2,root_perms=1755,nodiscard,stride=4,stripe_width=8,\
             resize=1G,num_backup_sb=1,packed_meta_blocks=1,orphan_file_size=64,\
             assume_storage_prezeroed,mmp_update_interval=300,test_fs",
        )
        .unwrap();
        assert_eq!(options.offset, Some(4096));
        assert!(options.hash_seed.is_some());
        assert_eq!(options.lazy_itable_init, Some(false));
        assert_eq!(options.lazy_journal_init, Some(true));
        assert_eq!(options.root_owner, Some((1, 2)));
        assert_eq!(options.root_permissions, Some(0o1755));
        assert_eq!(options.discard, Some(false));
        assert_eq!(options.stride_blocks, Some(4));
        assert_eq!(options.stripe_width_blocks, Some(8));
        assert_eq!(options.resize, Some(Size::Bytes(1 << 30)));
        assert_eq!(options.backups, Some(1));
        assert_eq!(options.packed_meta_blocks, Some(true));
        assert_eq!(options.orphan_file_size, Some(Size::Blocks(64)));
        assert_eq!(options.assume_storage_prezeroed, Some(true));
        assert_eq!(options.mmp_interval_seconds, Some(300));
        assert_eq!(options.test_fs, Some(true));
        // All of it survives a merge with nothing, and a later list wins.
        assert_eq!(options.and(Extended::default()), options);
        assert_eq!(Extended::default().and(options), options);
        let later = options.and(parse("discard,stripe-width=16").unwrap());
        assert_eq!(later.discard, Some(true));
        assert_eq!(later.stripe_width_blocks, Some(16));
    }

    #[test]
    fn bad_values_are_refused_by_key() {
        for list in [
            "offset=4K",
            "offset",
            "hash_seed=null",
            "lazy_itable_init=2",
            "root_owner=1",
            "root_owner=a:b",
            "root_owner",
            "root_perms=9",
            "root_perms=17777",
            "root_perms=+7",
            "discard=1",
            "stride=65536",
            "stride=",
            "stripe_width=4294967296",
            "num_backup_sb=3",
            "mmp_update_interval=301",
            "test_fs=1",
        ] {
            let key = list.split('=').next().unwrap();
            let message = parse(list).unwrap_err().to_string();
            assert!(message.contains(key), "{list}: {message}");
        }
        assert!(parse("resize=4p").is_err());
        assert!(parse("orphan_file_size=x").is_err());
    }

    #[test]
    fn unknown_keys_list_what_is_known_and_refused_ones_say_why() {
        assert!(
            parse("speed=9")
                .unwrap_err()
                .to_string()
                .contains("stride=")
        );
        assert!(parse("").unwrap_err().to_string().contains("stride="));
        for key in [
            "desc_size=64",
            "quotatype=usrquota",
            "encoding=utf8",
            "encoding_flags=strict",
        ] {
            let message = parse(key).unwrap_err().to_string();
            assert!(message.contains("not supported"), "{message}");
        }
    }
}
