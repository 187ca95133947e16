//! Sizes: whether a tree fits, and the smallest size that holds it.
//!
//! What a file system needs besides the tree (tables, bitmaps, journal) depends on
//! its size, in steps. So the smallest size is not computed but searched: a size
//! is enough when a whole plan with it works out.

use crate::options::{BlockSize, Options, Target};
use crate::{Error, Foundation, Plan, Request, Result, Tree};

/// The search ends when the size is known to this part, or to [`EXACT_BYTES`].
const TOLERANCE_DIVISOR: u64 = 4096;
/// The finest difference of sizes that is tried.
const EXACT_BYTES: u64 = 32 << 10;
/// Where the search for a size that is large enough starts.
const SMALLEST_BYTES: u64 = 128 << 10;
/// The default block size of all but small file systems.
const LARGER_BLOCK_BYTES: u32 = 4096;
/// How often the number of inodes is raised because it was rounded down.
const ROUNDINGS_MAX: u32 = 64;
/// Sizes at which mke2fs's defaults (block size, bytes per inode) change.
const DEFAULTS_CHANGE_BYTES: [u64; 4] = [3 << 20, 512 << 20, 4 << 40, 16 << 40];
/// No ext4 file system is larger.
const LARGEST_BYTES: u64 = 1 << 60;

/// What a plan would use.
#[derive(Debug, Clone, Copy)]
struct Usage {
    free_blocks: u64,
    inodes: u32,
}

fn usage(request: &Request, tree: &Tree) -> Result<Usage> {
    let foundation = Foundation::new(request)?;
    let plan = Plan::new(&foundation, tree)?;
    Ok(Usage {
        free_blocks: plan.free_blocks(),
        inodes: plan.inodes_used(),
    })
}

/// What to make on a target of a given size.
///
/// # Errors
/// What [`Options::resolve`] and [`Plan::new`] refuse; for a tree that does not fit,
/// [`Error::DoesNotFit`] with the size it needs, or [`Error::TooFewInodes`] if that is
/// all it needs.
pub fn fitted(options: &Options, target: &Target, tree: &Tree) -> Result<Request> {
    let request = options.resolve(target)?;
    let refused = match usage(&request, tree) {
        Ok(_) => return Ok(request),
        Err(error @ (Error::DoesNotFit { .. } | Error::TooFewInodes { .. })) => error,
        Err(error) => return Err(error),
    };
    let search = Search {
        options,
        target,
        tree,
        headroom_percent: 0,
        inodes_wanted: None,
    };
    if let Error::TooFewInodes { needed, .. } = refused {
        let more = Options {
            inodes: Some(needed),
            ..options.clone()
        };
        let search = Search {
            options: &more,
            inodes_wanted: Some(needed),
            ..search
        };
        if options.inodes.is_some() || matches!(search.try_size(target.size_bytes), Ok(Some(_))) {
            return Err(refused);
        }
    }
    let enough = search.enough_above(target.size_bytes, target.size_bytes);
    match enough.and_then(|enough| search.smaller_than(enough)) {
        Ok(enough) => Err(Error::DoesNotFit {
            needed_bytes: Some(bytes_of(&enough)),
            available_bytes: bytes_of(&request),
        }),
        Err(_) => Err(refused),
    }
}

/// The size of a file system.
fn bytes_of(request: &Request) -> u64 {
    let geometry = &request.geometry;
    geometry.blocks.saturating_mul(geometry.block_bytes.into())
}

/// The smallest file system that holds `tree` and leaves `headroom_percent` of
/// the blocks in use free. Unless the options say otherwise there are as many
/// inodes as the tree needs, and the headroom's share more. The size of `target`
/// does not matter.
///
/// # Errors
/// What [`Options::resolve`] and [`Plan::new`] refuse whatever the size.
pub fn smallest(
    options: &Options,
    target: &Target,
    tree: &Tree,
    headroom_percent: u32,
) -> Result<Request> {
    let refused = match smallest_as_asked(options, target, tree, headroom_percent) {
        Err(error @ Error::BadSource { .. }) if options.block_size.is_none() => error,
        made => return made,
    };
    // Small file systems have blocks of 1 KiB by default, too small for some attributes
    // and symbolic links.
    let options = Options {
        block_size: Some(BlockSize::Exactly(LARGER_BLOCK_BYTES)),
        ..options.clone()
    };
    smallest_as_asked(&options, target, tree, headroom_percent).map_err(|_| refused)
}

fn smallest_as_asked(
    options: &Options,
    target: &Target,
    tree: &Tree,
    headroom_percent: u32,
) -> Result<Request> {
    let mut options = options.clone();
    let mut inodes_wanted = None;
    if options.inodes.is_none() && options.bytes_per_inode.is_none() {
        // Attributes may need inodes of their own: ask a plan that has plenty.
        let nodes = u64::try_from(tree.nodes.len()).unwrap_or(u64::MAX);
        options.inodes = Some(nodes.saturating_mul(2).saturating_add(1024));
        let search = Search {
            options: &options,
            target,
            tree,
            headroom_percent: 0,
            inodes_wanted,
        };
        let used = u64::from(search.enough()?.usage.inodes);
        inodes_wanted = Some(used.saturating_add(share(used, headroom_percent)));
        options.inodes = inodes_wanted;
    }
    let search = Search {
        options: &options,
        target,
        tree,
        headroom_percent,
        inodes_wanted,
    };
    search.smaller_than(search.enough()?)
}

/// The size that is tried after this one. Where the defaults change a tree may fit
/// below and no longer above: the last size below is never left out.
fn next_size(bytes: u64) -> u64 {
    let next = bytes.saturating_add(bytes / 2);
    DEFAULTS_CHANGE_BYTES
        .iter()
        .map(|change| change - EXACT_BYTES)
        .find(|last| bytes < *last && *last < next)
        .unwrap_or(next)
}

fn share(of: u64, percent: u32) -> u64 {
    of.saturating_mul(percent.into()).div_ceil(100)
}

/// A size that is enough.
struct Enough {
    bytes: u64,
    request: Request,
    usage: Usage,
    /// The largest size known to be too small.
    too_small: u64,
}

/// What is searched for.
#[derive(Clone, Copy)]
struct Search<'s> {
    options: &'s Options,
    target: &'s Target,
    tree: &'s Tree,
    headroom_percent: u32,
    /// Inodes there must be, if nobody asked for a number.
    inodes_wanted: Option<u64>,
}

impl Search<'_> {
    /// Narrows a size that is enough down to the smallest above the one that is not.
    fn smaller_than(&self, mut enough: Enough) -> Result<Request> {
        // What is free at the end can mostly be left out: try that first, then halve.
        let mut guess = enough.bytes.saturating_sub(self.spare_bytes(&enough));
        loop {
            let gap = enough.bytes.saturating_sub(enough.too_small);
            if gap <= EXACT_BYTES.max(enough.bytes / TOLERANCE_DIVISOR) {
                return Ok(enough.request);
            }
            let lowest = enough.too_small + EXACT_BYTES / 2;
            let bytes = guess.clamp(lowest, enough.bytes - EXACT_BYTES / 2);
            match self.try_size(bytes)? {
                Some((request, usage)) => {
                    enough = Enough {
                        bytes,
                        request,
                        usage,
                        ..enough
                    };
                    let spare = self.spare_bytes(&enough);
                    guess = bytes.saturating_sub(spare.max(gap / 64));
                }
                None => {
                    enough.too_small = bytes;
                    guess = bytes + (enough.bytes - bytes) / 2;
                }
            }
        }
    }

    /// A size in which the tree fits.
    fn enough(&self) -> Result<Enough> {
        let content_bytes = self.tree.content_bytes();
        self.enough_above(0, content_bytes.max(SMALLEST_BYTES))
    }

    /// Raises the size by half, from `bytes` on, until the tree fits. `too_small` is
    /// known to be too small.
    fn enough_above(&self, mut too_small: u64, mut bytes: u64) -> Result<Enough> {
        let mut first_refusal = None;
        while bytes < LARGEST_BYTES {
            match self.plan_size(bytes) {
                Ok(Some((request, usage))) => {
                    return Ok(Enough {
                        bytes,
                        request,
                        usage,
                        too_small,
                    });
                }
                Ok(None) => {}
                Err(error) if is_about_size(&error) => {
                    first_refusal.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
            too_small = bytes;
            bytes = next_size(bytes);
        }
        Err(first_refusal.unwrap_or_else(|| {
            let why = "the tree does not fit into a file system of any size";
            Error::Size(why.into())
        }))
    }

    /// What this size makes; `None` if it is too small.
    fn try_size(&self, size_bytes: u64) -> Result<Option<(Request, Usage)>> {
        match self.plan_size(size_bytes) {
            Err(error) if is_about_size(&error) => Ok(None),
            planned => planned,
        }
    }

    /// As [`try_size`](Self::try_size), but says why a size is too small.
    fn plan_size(&self, size_bytes: u64) -> Result<Option<(Request, Usage)>> {
        let target = Target {
            size_bytes,
            ..*self.target
        };
        let request = self.resolve(&target)?;
        let usage = usage(&request, self.tree)?;
        let used = request.geometry.blocks.saturating_sub(usage.free_blocks);
        let is_enough = usage.free_blocks >= share(used, self.headroom_percent);
        Ok(is_enough.then_some((request, usage)))
    }

    /// Settles the numbers, with at least as many inodes as are wanted: `-N` alone
    /// is rounded down to whole blocks of a group's table.
    fn resolve(&self, target: &Target) -> Result<Request> {
        let mut request = self.options.resolve(target)?;
        let (Some(wanted), Some(mut asked)) = (self.inodes_wanted, self.options.inodes) else {
            return Ok(request);
        };
        for _ in 0..ROUNDINGS_MAX {
            let geometry = &request.geometry;
            let there = u64::from(geometry.inodes_per_group) * u64::from(geometry.groups);
            if there >= wanted {
                break;
            }
            let in_block = geometry.block_bytes / u32::from(geometry.inode_bytes).max(1);
            let rounding = u64::from(in_block.max(8)) * u64::from(geometry.groups);
            asked = asked.saturating_add((wanted - there).min(rounding).max(1));
            let options = Options {
                inodes: Some(asked),
                ..self.options.clone()
            };
            request = options.resolve(target)?;
        }
        Ok(request)
    }

    /// Bytes that are free beyond the headroom.
    fn spare_bytes(&self, enough: &Enough) -> u64 {
        let geometry = &enough.request.geometry;
        let used = geometry.blocks.saturating_sub(enough.usage.free_blocks);
        let wanted = share(used, self.headroom_percent);
        let spare = enough.usage.free_blocks.saturating_sub(wanted);
        spare.saturating_mul(geometry.block_bytes.into())
    }
}

/// True if another size may be accepted. A wish that cannot be fulfilled may ask for
/// more than this size has room for, as `-N` does.
fn is_about_size(error: &Error) -> bool {
    matches!(
        error,
        Error::DoesNotFit { .. } | Error::TooFewInodes { .. } | Error::Size(_) | Error::Option(_)
    )
}
