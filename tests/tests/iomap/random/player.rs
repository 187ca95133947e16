//! A thread of an application: random operations on its areas.

use anyhow::{Context, Result, ensure};
use simulated_kernel::{Errno, Kernel, Whence};
use system_tests::rng::Rng;

use super::area::{Area, Change, VALUES, same};
use super::{ROOT, Traits};

const READ_WRITE: u32 = 2;
/// `O_TRUNC`.
const TRUNCATE: u32 = 0o1000;
const SECTOR: u64 = 512;

/// See the module.
pub(super) struct Player<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) traits: Traits,
    pub(super) rng: Rng,
}

/// What signals break off is begun again.
pub(super) fn uninterrupted<T>(mut act: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match act() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

impl Player<'_> {
    pub(super) fn step(&mut self, areas: &mut [Area]) -> Result<()> {
        let index = self.rng.below(areas.len() as u64) as usize;
        let what = self.rng.below(44);
        if what == 43 {
            self.kernel.sync()?;
            areas.iter_mut().for_each(Area::is_synced);
            return Ok(());
        }
        let Some(area) = areas.get_mut(index) else {
            return Ok(());
        };
        let name = area.slot.name;
        let done = match what {
            0..=10 => self.read(area),
            11..=25 => self.write(area),
            26..=29 => self.allocate(area),
            30 | 31 => self.fsync(area),
            32 | 33 => self.write_back(area),
            34 | 35 => self.seek(area),
            _ if !area.is_whole => self.write(area),
            36 | 37 => self.truncate(area),
            38 | 39 => self.reopen(area),
            40 | 41 => self.evict(area),
            _ => self.replace(area),
        };
        done.with_context(|| format!("operation of kind {what} on {name}"))
    }

    fn read(&mut self, area: &Area) -> Result<()> {
        let size = area.len();
        let mut pos = self.rng.below(size + 5000);
        let mut len = 1 + self.rng.below(70_000);
        let how = self.rng.below(3);
        if how == 1 {
            pos -= pos % SECTOR;
            len = len.next_multiple_of(SECTOR);
        }
        // A reader of a part goes no further; nor does a mapping.
        if !area.is_whole || how == 2 {
            len = len.min(size.saturating_sub(pos));
            if len == 0 {
                return Ok(());
            }
        }
        let (node, at) = (area.node(), area.start + pos);
        let found = uninterrupted(|| match how {
            0 => self.kernel.read(node, at, len),
            1 => self.kernel.read_direct(node, at, len),
            _ => self.kernel.map_read(node, at, len),
        })?;
        let from = pos.min(size) as usize;
        let to = pos.saturating_add(len).min(size) as usize;
        same(&found, &area.model[from..to])
            .with_context(|| format!("reading {len} at {pos} of {size}, {how}"))
    }

    /// All of an area.
    pub(super) fn whole(kernel: &Kernel, area: &Area) -> Result<Vec<u8>> {
        let len = match area.is_whole {
            true => u64::MAX / 2,
            false => area.len(),
        };
        Ok(uninterrupted(|| kernel.read(area.node(), area.start, len))?)
    }

    fn write(&mut self, area: &mut Area) -> Result<()> {
        let (size, most) = (area.len(), area.len_max());
        let mut pos = match area.is_whole && self.rng.below(3) == 0 {
            true => size,
            false => self.rng.below(most.min(size * 2 + 10_000)),
        };
        let mut len = match self.rng.below(3) {
            0 => 1 + self.rng.below(100),
            _ => 1 + self.rng.below(60_000),
        };
        let value = area.number * VALUES + 1 + self.rng.below(VALUES as u64) as usize;
        let value = value as u8;
        let how = self.rng.below(5);
        if how == 1 || how == 2 {
            pos -= pos % SECTOR;
            len = len.next_multiple_of(SECTOR);
        }
        let room = match how {
            0 => size.saturating_sub(pos),
            _ => most.saturating_sub(pos) / SECTOR * SECTOR,
        };
        len = len.min(room);
        if len == 0 {
            return Ok(());
        }
        let end = (pos + len) as usize;
        let change = Change {
            size: (end > area.model.len()).then_some(end),
            fill: Some((pos as usize..end, value)),
        };
        let bytes = vec![value; len as usize];
        let (node, at) = (area.node(), area.start + pos);
        self.change(area, &change, |kernel| match how {
            0 => kernel.map_write(node, at, &bytes),
            1 | 2 => kernel.write_direct(node, at, &bytes),
            _ => kernel.write(node, at, &bytes),
        })
        .with_context(|| format!("writing {len} at {pos} of {size}, {how}"))
    }

    fn allocate(&mut self, area: &mut Area) -> Result<()> {
        const KEEP_SIZE: u32 = 1;
        const PUNCH: u32 = 3;
        const ZERO: u32 = 16;
        let modes = match area.is_whole {
            true => [0, KEEP_SIZE, PUNCH, PUNCH, ZERO, ZERO | KEEP_SIZE],
            false => [PUNCH, KEEP_SIZE, PUNCH, PUNCH, PUNCH, ZERO | KEEP_SIZE],
        };
        let mode = modes[self.rng.below(6) as usize];
        if !self.traits.has_extents && mode != PUNCH {
            return Ok(());
        }
        let pos = self.rng.below(area.len_max());
        let len = 1 + self.rng.below((area.len_max() - pos).min(100_000));
        let end = (pos + len) as usize;
        let change = Change {
            size: (mode & KEEP_SIZE == 0 && area.model.len() < end).then_some(end),
            fill: (mode & (ZERO | 2) != 0).then_some((pos as usize..end, 0)),
        };
        let (node, handle, at) = (area.node(), area.open.fh, area.start + pos);
        self.change(area, &change, |kernel| {
            kernel.fallocate(node, handle, mode, at, len)
        })
        .with_context(|| format!("fallocate {mode} of {len} at {pos}"))
    }

    fn truncate(&mut self, area: &mut Area) -> Result<()> {
        let size = self.rng.below(area.len_max());
        let change = Change {
            size: Some(size as usize),
            fill: None,
        };
        let slot = std::sync::Arc::clone(&area.slot);
        self.change(area, &change, |kernel| {
            let _no_getattr = slot.cutting.write();
            kernel.truncate(slot.node(), size)
        })
        .with_context(|| format!("truncating to {size}"))
    }

    /// Makes a change, or finds out how much of it was made when it failed.
    fn change(
        &mut self,
        area: &mut Area,
        change: &Change,
        act: impl FnOnce(&Kernel) -> Result<(), Errno>,
    ) -> Result<()> {
        area.announce(change);
        match act(self.kernel) {
            Ok(()) => change.apply(&mut area.model),
            // A signal; or upserts were refused.
            Err(Errno::INTR | Errno::NOMEM) => self.settle(area, change)?,
            Err(Errno::NOSPC) if self.traits.is_small => self.settle(area, change)?,
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    fn settle(&mut self, area: &mut Area, change: &Change) -> Result<()> {
        if area.is_whole {
            // Half of a fallocate(2) may have told the server another size than is seen here.
            let _no_getattr = area.slot.cutting.write();
            let size = self.kernel.size(area.node())?;
            uninterrupted(|| self.kernel.truncate(area.node(), size)).context("settling")?;
        }
        let found = Self::whole(self.kernel, area)?;
        area.settle(change, found).context("half a change")
    }

    fn fsync(&self, area: &mut Area) -> Result<()> {
        self.kernel.fsync(area.node(), area.open.fh)?;
        area.is_synced();
        Ok(())
    }

    fn write_back(&self, area: &Area) -> Result<()> {
        self.kernel.write_back(area.node())?;
        Ok(self.kernel.drop_pages(area.node())?)
    }

    /// Where a hole is said to be there are zeros.
    fn seek(&mut self, area: &Area) -> Result<()> {
        let pos = self.rng.below(area.len() + 10);
        let whence = match self.rng.below(2) {
            0 => Whence::Data,
            _ => Whence::Hole,
        };
        let found = uninterrupted(|| self.kernel.seek(area.node(), area.start + pos, whence));
        let end = area.len();
        let hole = match (whence, found) {
            // From behind a part others are seen, which are none of its business.
            (Whence::Data, Ok(data)) => pos.min(end)..data.saturating_sub(area.start).min(end),
            (Whence::Data, Err(Errno::NXIO)) => pos.min(end)..end,
            (Whence::Hole, Ok(hole)) => {
                let hole = hole.saturating_sub(area.start).min(end);
                hole..(hole + 1).min(end)
            }
            (Whence::Hole, Err(Errno::NXIO)) => {
                ensure!(pos >= end, "nothing at {pos} of {end}");
                return Ok(());
            }
            (_, Err(errno)) => return Err(errno.into()),
        };
        let hole = hole.start as usize..hole.end as usize;
        let is_hole = area.model[hole.clone()].iter().all(|byte| *byte == 0);
        ensure!(is_hole, "{whence:?} from {pos} says a hole: {hole:?}");
        Ok(())
    }

    fn reopen(&mut self, area: &mut Area) -> Result<()> {
        self.kernel.close(area.open)?;
        let truncates = self.rng.below(4) == 0;
        let mut flags = READ_WRITE;
        let _no_getattr = truncates.then(|| area.slot.cutting.write());
        if truncates {
            flags |= TRUNCATE;
            area.possible.may_have_size(0);
        }
        area.open = self.kernel.open(area.slot.node(), flags)?;
        if truncates {
            area.model.clear();
        }
        Ok(())
    }

    fn evict(&self, area: &mut Area) -> Result<()> {
        self.kernel.close(area.open)?;
        self.kernel.forget(area.node())?;
        let entry = self.kernel.lookup(ROOT, area.slot.name)?;
        ensure!(entry.nodeid == area.node(), "another node");
        let size = entry.attr.size;
        ensure!(size == area.len(), "a size of {size} for {}", area.len());
        area.open = self.kernel.open(area.node(), READ_WRITE)?;
        Ok(())
    }

    /// The name is removed while the file is open, and used for a new one.
    fn replace(&mut self, area: &mut Area) -> Result<()> {
        area.possible.may_be_gone();
        self.kernel.unlink(ROOT, area.slot.name)?;
        for _ in 0..self.rng.below(4) {
            match self.rng.below(3) {
                0 => self.write(area)?,
                1 => self.allocate(area)?,
                _ => self.read(area)?,
            }
        }
        self.kernel.close(area.open)?;
        self.kernel.forget(area.node())?;
        let (entry, open) = self
            .kernel
            .create(ROOT, area.slot.name, 0o644, READ_WRITE)?;
        area.slot.set_node(entry.nodeid);
        area.open = open;
        area.model.clear();
        Ok(())
    }
}
