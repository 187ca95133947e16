//! Blocks that change while they are read.

use super::*;
use images::{Memory, Result as DeviceResult};

const BYTES: u32 = 1024;
const ROLE: Role = Role {
    kind: RoleKind::InodeTable,
    owner: InodeNumber(0),
    level: 0,
};

type Meanwhile = Box<dyn FnOnce(&BlockCache) + Send>;

/// A device that lets something happen between a read and its return.
struct Slow {
    memory: Memory,
    cache: Mutex<std::sync::Weak<BlockCache>>,
    meanwhile: Mutex<Vec<Meanwhile>>,
}

impl std::fmt::Debug for Slow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slow")
    }
}

impl BlockDevice for Slow {
    fn size_bytes(&self) -> u64 {
        self.memory.size_bytes()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> DeviceResult<()> {
        self.memory.read_at(buf, offset)?;
        let next = self.meanwhile.lock().pop();
        if let Some(act) = next {
            let cache = self.cache.lock().upgrade();
            act(&cache.unwrap());
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> DeviceResult<()> {
        self.memory.write_at(buf, offset)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> DeviceResult<()> {
        self.memory.write_zeroes(offset, len)
    }

    fn discard(&self, offset: u64, len: u64) -> DeviceResult<()> {
        self.memory.discard(offset, len)
    }

    fn flush(&self) -> DeviceResult<()> {
        Ok(())
    }
}

/// `meanwhile` happens during the first reads, in this order.
fn slow(mut meanwhile: Vec<Meanwhile>) -> Arc<BlockCache> {
    meanwhile.reverse();
    let device = Arc::new(Slow {
        memory: Memory::zeroed(1 << 20),
        cache: Mutex::new(std::sync::Weak::new()),
        meanwhile: Mutex::new(meanwhile),
    });
    let cache = Arc::new(BlockCache::new(device.clone(), BYTES, 0));
    *device.cache.lock() = Arc::downgrade(&cache);
    cache
}

fn set(cache: &BlockCache, number: FsBlock, byte: usize, value: u8) {
    let edit = |bytes: &mut [u8]| bytes[byte] = value;
    cache.edit(number, ROLE, false, |_| Ok(()), edit).unwrap();
}

/// What a commit and a checkpoint do.
fn write_home(cache: &BlockCache, number: FsBlock) {
    let block = cache.take_snapshot(number).unwrap();
    let offset = number.0 * u64::from(BYTES);
    cache.device().write_at(block.bytes(), offset).unwrap();
    cache.settle(number, &block);
}

/// Reads others until nothing is left of the block.
fn evict(cache: &BlockCache, number: FsBlock) {
    for at in 1..=BLOCKS_PER_SHARD_MIN as u64 {
        let other = FsBlock(number.0 + at * SHARDS as u64);
        cache.get(other, ROLE, |_| Ok(())).unwrap();
    }
    assert!(!cache.shard(number).lock().clean.contains(&number));
}

fn byte(cache: &BlockCache, number: FsBlock, byte: usize) -> u8 {
    cache.get(number, ROLE, |_| Ok(())).unwrap().bytes()[byte]
}

const BLOCK: FsBlock = FsBlock(5);

/// A reader's old content must not take the place of what was written meanwhile.
#[test]
fn a_read_that_a_change_overtakes() {
    let cache = slow(vec![Box::new(|cache| {
        set(cache, BLOCK, 0, 1);
        write_home(cache, BLOCK);
    })]);
    assert_eq!(byte(&cache, BLOCK, 0), 1);
    assert_eq!(byte(&cache, BLOCK, 0), 1);
}

/// The same if nothing of the change is in memory any more.
#[test]
fn a_read_that_a_change_overtakes_and_leaves() {
    let cache = slow(vec![Box::new(|cache| {
        set(cache, BLOCK, 0, 1);
        write_home(cache, BLOCK);
        evict(cache, BLOCK);
    })]);
    set(&cache, BLOCK, 1, 2);
    assert_eq!((byte(&cache, BLOCK, 0), byte(&cache, BLOCK, 1)), (1, 2));
}

/// One that is overtaken each time still ends.
#[test]
fn a_read_that_is_overtaken_again_and_again() {
    let act = |value: u8| -> Meanwhile {
        Box::new(move |cache| {
            // Another block of the same table is enough.
            let other = FsBlock(BLOCK.0 + 16);
            cache.replace(other, ROLE, vec![value; BYTES as usize].into());
            write_home(cache, other);
        })
    };
    let cache = slow((1..=READ_TRIES_MAX as u8).map(act).collect());
    assert_eq!(byte(&cache, BLOCK, 0), 0);
}

#[test]
fn snapshots_stay_as_they_are() {
    let cache = slow(Vec::new());
    let before = cache.get(BLOCK, ROLE, |_| Ok(())).unwrap();
    set(&cache, BLOCK, 0, 1);
    let committed = cache.take_snapshot(BLOCK).unwrap();
    set(&cache, BLOCK, 0, 2);
    assert_eq!((before.bytes()[0], committed.bytes()[0]), (0, 1));
    // Changed again: what was committed may be in its place, the block stays pinned.
    cache.settle(BLOCK, &committed);
    assert_eq!(cache.take_snapshot(BLOCK).unwrap().bytes()[0], 2);
    assert!(cache.take_snapshot(BLOCK).is_none());
}

#[test]
fn what_is_restored_is_written_again() {
    let cache = slow(Vec::new());
    set(&cache, BLOCK, 0, 1);
    let committed = cache.take_snapshot(BLOCK).unwrap();
    let edit = |bytes: &mut [u8]| bytes[0] = 2;
    let edited = cache.edit(BLOCK, ROLE, true, |_| Ok(()), edit).unwrap();
    assert!(edited.is_first_change);
    // Its committed content goes home while the change is open.
    cache.settle(BLOCK, &committed);
    assert!(cache.restore(BLOCK, edited.before.unwrap()));
    assert_eq!(cache.take_snapshot(BLOCK).unwrap().bytes()[0], 1);

    let forgotten = cache.forget(BLOCK);
    assert!(cache.take_snapshot(BLOCK).is_none());
    assert!(cache.restore(BLOCK, forgotten));
    assert_eq!(cache.take_snapshot(BLOCK).unwrap().bytes()[0], 1);
}
