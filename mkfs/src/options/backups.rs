//! Which groups begin with a copy of the superblock and the descriptors.

use fs_core::{CompatFeatures, Features, RoCompatFeatures};

/// With sparse_super, groups whose number is a power of one of these have one,
/// beside groups 0 and 1.
const SPARSE_BASES: [u64; 3] = [3, 5, 7];

fn powers(base: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(base), move |power| power.checked_mul(base))
}

fn is_sparse_super2(features: &Features) -> bool {
    features.compat.contains(CompatFeatures::SPARSE_SUPER2)
}

fn is_sparse(features: &Features) -> bool {
    features.ro_compat.contains(RoCompatFeatures::SPARSE_SUPER)
}

/// True if the last of `groups` groups has a superblock. With sparse_super2 and
/// one backup only group 1 has it, with two the last group as well.
pub(super) fn last_group_has_one(features: &Features, groups: u64, backups: u8) -> bool {
    if is_sparse_super2(features) {
        return match groups {
            2 => backups > 0,
            _ => backups > 1,
        };
    }
    let last = groups.saturating_sub(1);
    last <= 1
        || !is_sparse(features)
        || SPARSE_BASES.iter().any(|&base| {
            let mut reached = powers(base).skip_while(|power| *power < last);
            reached.next() == Some(last)
        })
}

/// `s_backup_bgs`: in rising order, as libext2fs leaves them; 0 is none.
pub(super) fn of_sparse_super2(features: &Features, groups: u32, backups: u8) -> [u32; 2] {
    let last = groups.saturating_sub(1);
    match (is_sparse_super2(features), backups) {
        (false, _) | (true, 0) => [0, 0],
        (true, 1) => [0, last.min(1)],
        (true, _) if last <= 1 => [0, last],
        (true, _) => [1, last],
    }
}

/// Number of superblocks, the first included. `backups` are sparse_super2's.
pub(super) fn superblocks(features: &Features, groups: u64, backups: [u32; 2]) -> u64 {
    if is_sparse_super2(features) {
        return 1 + backups.iter().filter(|group| **group != 0).count() as u64;
    }
    if !is_sparse(features) {
        return groups;
    }
    let of_base = |&base: &u64| powers(base).take_while(|power| *power < groups).count() as u64;
    groups.min(2) + SPARSE_BASES.iter().map(of_base).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::features::of_list as features;

    #[test]
    fn powers_of_three_five_and_seven() {
        let sparse = features("sparse_super");
        let with: Vec<u64> = (0..130)
            .filter(|group| last_group_has_one(&sparse, group + 1, 0))
            .collect();
        assert_eq!(with, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
        for groups in 1..130 {
            let below = with.iter().filter(|group| **group < groups).count() as u64;
            assert_eq!(superblocks(&sparse, groups, [0, 0]), below, "{groups}");
        }
        assert_eq!(superblocks(&features("extent"), 17, [0, 0]), 17);
    }

    #[test]
    fn sparse_super2_has_up_to_two() {
        let features = features("sparse_super2");
        for (groups, backups, expected) in [
            (1, 2, [0, 0]),
            (2, 2, [0, 1]),
            (2, 1, [0, 1]),
            (7, 1, [0, 1]),
            (7, 2, [1, 6]),
            (7, 0, [0, 0]),
        ] {
            let found = of_sparse_super2(&features, groups, backups);
            assert_eq!(found, expected, "{groups} groups, {backups} backups");
            if groups > 1 {
                let last = last_group_has_one(&features, groups.into(), backups);
                assert_eq!(last, found.contains(&(groups - 1)));
            }
        }
    }
}
