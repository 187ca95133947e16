//! Content under random operations of several threads, with writeback, eviction and misfortune
//! at any moment, against a model; and power cuts.
//!
//! Bytes of each area lie in a range of values of its own, and what was free on the image holds
//! yet another: whatever shows up in the wrong place is recognised.
//!
//! `EXTMAP_IOMAP_OPERATIONS` says how many operations each combination of kernel and image gets.

mod area;
mod disturber;
mod player;
mod possible;
mod world;

use anyhow::{Context, Result};

use self::world::{Setup, Until, World};
use crate::rig::{VARIANTS, possible};

const ROOT: u64 = 1;
const OPERATIONS_DEFAULT: u64 = 2500;
/// Operations between two power cuts.
const UNTIL_CUT: u64 = 400;

const KINDS: [&[&str]; 6] = [
    &["-t", "ext4", "-b", "4096"],
    &["-t", "ext4", "-b", "1024"],
    &["-t", "ext4", "-b", "4096", "-O", "inline_data"],
    &["-t", "ext3", "-b", "1024"],
    &["-t", "ext4", "-b", "4096", "-O", "^has_journal"],
    SMALL,
];
/// It is often full.
const SMALL: &[&str] = &["-t", "ext4", "-b", "1024", "-J", "size=1"];

/// What there is to know of an image.
#[derive(Debug, Clone, Copy)]
struct Traits {
    /// Files have extents, and so unwritten blocks.
    has_extents: bool,
    has_journal: bool,
    /// There may be no space.
    is_small: bool,
    block_bytes: u64,
    image_bytes: u64,
}

impl Traits {
    fn of(kind: &[&str]) -> Self {
        let is_small = kind == SMALL;
        Self {
            has_extents: !kind.contains(&"ext3"),
            has_journal: !kind.contains(&"^has_journal"),
            is_small,
            block_bytes: match kind.contains(&"1024") {
                true => 1024,
                false => 4096,
            },
            image_bytes: match is_small {
                true => 3 << 20,
                false => 16 << 20,
            },
        }
    }
}

fn number_in(variable: &str, usually: u64) -> Result<u64> {
    let asked = std::env::var(variable).ok();
    let number = asked.map_or(Ok(usually), |asked| asked.parse());
    number.with_context(|| variable.to_owned())
}

/// Runs something for each kernel and kind of image.
fn for_each(run: impl Fn(Setup, u64) -> Result<()>) -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let operations = number_in("EXTMAP_IOMAP_OPERATIONS", OPERATIONS_DEFAULT)?;
    // Other runs than the usual ones.
    let first_seed = number_in("EXTMAP_IOMAP_SEED", 1)?;
    for (seed, mke2fs) in (first_seed..).zip(KINDS) {
        for variant in VARIANTS {
            let setup = Setup {
                variant,
                mke2fs,
                traits: Traits::of(mke2fs),
                seed,
            };
            run(setup, operations)
                .with_context(|| format!("{variant:?}, {mke2fs:?}, seed {seed}"))?;
        }
    }
    Ok(())
}

#[test]
fn content_is_right_whatever_happens() -> Result<()> {
    for_each(|setup, operations| {
        let mut world = World::new(setup)?;
        world.run(Until::Done(operations))?;
        world.check()?;
        world.finish()
    })
}

#[test]
fn what_was_synced_survives_power_cuts() -> Result<()> {
    for_each(|setup, operations| {
        // Without a journal a crash may cost anything.
        if !setup.traits.has_journal {
            return Ok(());
        }
        let mut world = World::new(setup)?;
        for round in 0..operations / UNTIL_CUT {
            world.run(Until::Cut(UNTIL_CUT))?;
            world = world.recovered().with_context(|| format!("cut {round}"))?;
        }
        world.check()?;
        world.finish()
    })
}
