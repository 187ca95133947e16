//! A block device in memory that knows what is durable and who owns which block.

use std::collections::{BTreeMap, BTreeSet, HashMap, btree_map};
use std::fmt;

use parking_lot::{Mutex, RwLock};
use rustix::io::Errno;

/// Who owns a block at this moment: a node's number, or nobody.
pub type OwnerOf = Box<dyn Fn(u64) -> Option<u64> + Send + Sync>;

/// Unit of memory and of a power cut.
const CHUNK_BYTES: u64 = 4096;

/// I/O of file data to a block it should not have touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// The file the I/O was for.
    pub node: u64,
    /// The block's number.
    pub block: u64,
    /// Whether it was a write.
    pub is_write: bool,
    /// Its owner at that moment; the same as `node` where what was read had never been written.
    pub owner: Option<u64>,
}

#[derive(Default)]
struct Content {
    size: u64,
    fails: bool,
    live: HashMap<u64, Box<[u8]>>,
    /// What chunks were at the last flush, of those changed since; in order, so that a power
    /// cut asks for them in the same order each time.
    durable: BTreeMap<u64, Option<Box<[u8]>>>,
}

/// The device.
pub struct SimDevice {
    block_bytes: u64,
    content: Mutex<Content>,
    owner_of: RwLock<Option<OwnerOf>>,
    never_written: Mutex<BTreeSet<u64>>,
    strays: Mutex<Vec<Stray>>,
}

impl fmt::Debug for SimDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDevice")
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

impl SimDevice {
    /// A device of zeroes; `block_bytes` is the unit of ownership.
    #[must_use]
    pub fn new(size: u64, block_bytes: u64) -> Self {
        let content = Content {
            size,
            ..Content::default()
        };
        Self {
            block_bytes: block_bytes.max(1),
            content: Mutex::new(content),
            owner_of: RwLock::new(None),
            never_written: Mutex::default(),
            strays: Mutex::default(),
        }
    }

    /// From now on file data is checked against owners.
    pub fn set_owner_of(&self, owner_of: OwnerOf) {
        *self.owner_of.write() = Some(owner_of);
    }

    /// Blocks were allocated: until each is written, nobody may read it.
    pub fn note_allocation(&self, blocks: std::ops::Range<u64>) {
        self.never_written.lock().extend(blocks);
    }

    /// I/O to blocks that should not have been touched, since the device was made.
    #[must_use]
    pub fn strays(&self) -> Vec<Stray> {
        self.strays.lock().clone()
    }

    /// Bytes; 0 if the device is gone.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.content.lock().size
    }

    /// The device becomes smaller, or goes.
    pub fn resize(&self, size: u64) {
        self.content.lock().size = size;
    }

    /// From now on all I/O fails, or works again.
    pub fn set_failing(&self, fails: bool) {
        self.content.lock().fails = fails;
    }

    /// Reads bytes at an address, for anybody.
    ///
    /// # Errors
    /// EIO behind the end or of a failing device.
    pub fn read_at(&self, addr: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        let content = self.content.lock();
        content.check(addr, bytes.len())?;
        for_chunks(addr, bytes.len(), |chunk, within, range| {
            let Some(target) = bytes.get_mut(range) else {
                return;
            };
            match content.live.get(&chunk) {
                Some(data) => {
                    let end = within + target.len();
                    target.copy_from_slice(data.get(within..end).unwrap_or_default());
                }
                None => target.fill(0),
            }
        });
        Ok(())
    }

    /// Writes bytes at an address, for anybody; durable after the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// As for reading.
    pub fn write_at(&self, addr: u64, bytes: &[u8]) -> Result<(), Errno> {
        let mut content = self.content.lock();
        let content = &mut *content;
        content.check(addr, bytes.len())?;
        for_chunks(addr, bytes.len(), |chunk, within, range| {
            let Some(source) = bytes.get(range) else {
                return;
            };
            // Only the first write since a flush pays for a copy.
            if let btree_map::Entry::Vacant(slot) = content.durable.entry(chunk) {
                slot.insert(content.live.get(&chunk).cloned());
            }
            let zeroes = || vec![0; CHUNK_BYTES as usize].into_boxed_slice();
            let data = content.live.entry(chunk).or_insert_with(zeroes);
            let end = within + source.len();
            if let Some(target) = data.get_mut(within..end) {
                target.copy_from_slice(source);
            }
        });
        Ok(())
    }

    /// All written so far survives a power cut.
    pub fn flush(&self) {
        self.content.lock().durable.clear();
    }

    /// Power is lost: of the 4 KiB chunks written since the last flush those survive of which
    /// `survives` says so.
    pub fn power_cut(&self, mut survives: impl FnMut(u64) -> bool) {
        let mut content = self.content.lock();
        for (chunk, old) in std::mem::take(&mut content.durable) {
            if survives(chunk) {
                continue;
            }
            match old {
                Some(data) => content.live.insert(chunk, data),
                None => content.live.remove(&chunk),
            };
        }
    }

    /// Reads data of the file `node`.
    pub(crate) fn read_file(&self, node: u64, addr: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        for block in self.blocks(addr, bytes.len()) {
            let is_new = self.never_written.lock().contains(&block);
            self.check_owner(node, block, false, is_new);
        }
        self.read_at(addr, bytes)
    }

    /// Writes data of the file `node`.
    pub(crate) fn write_file(&self, node: u64, addr: u64, bytes: &[u8]) -> Result<(), Errno> {
        for block in self.blocks(addr, bytes.len()) {
            self.check_owner(node, block, true, false);
            self.never_written.lock().remove(&block);
        }
        self.write_at(addr, bytes)
    }

    fn blocks(&self, addr: u64, len: usize) -> std::ops::Range<u64> {
        let end = addr.saturating_add(len as u64);
        addr / self.block_bytes..end.div_ceil(self.block_bytes)
    }

    fn check_owner(&self, node: u64, block: u64, is_write: bool, is_new: bool) {
        let owner = match self.owner_of.read().as_ref() {
            Some(owner_of) => owner_of(block),
            None => Some(node),
        };
        if owner != Some(node) || is_new {
            self.strays.lock().push(Stray {
                node,
                block,
                is_write,
                owner,
            });
        }
    }
}

impl Content {
    fn check(&self, addr: u64, len: usize) -> Result<(), Errno> {
        let end = addr.checked_add(len as u64);
        match end.is_some_and(|end| end <= self.size) && !self.fails {
            true => Ok(()),
            false => Err(Errno::IO),
        }
    }
}

/// Calls with (chunk, offset in it, range of the buffer) for each piece.
fn for_chunks(addr: u64, len: usize, mut piece: impl FnMut(u64, usize, std::ops::Range<usize>)) {
    let mut done = 0;
    while done < len {
        let at = addr + done as u64;
        let within = (at % CHUNK_BYTES) as usize;
        let step = (CHUNK_BYTES as usize - within).min(len - done);
        piece(at / CHUNK_BYTES, within, done..done + step);
        done += step;
    }
}
