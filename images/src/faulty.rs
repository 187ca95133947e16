//! A device over another one whose reads, writes or flushes fail on demand.
//!
//! [`Faulty`] counts operations; from the one that was chosen on they fail with
//! EIO, once or for good. Public, for everybody's tests of what happens then.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::descriptor::failed;
use crate::{BlockDevice, Result};

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// [`BlockDevice::read_at`].
    Read,
    /// [`BlockDevice::write_at`], `write_zeroes` and `discard`.
    Write,
    /// [`BlockDevice::flush`].
    Flush,
}

/// Which operations of a kind fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Only the one with this number, from 0.
    Once(u64),
    /// That one and all later ones.
    From(u64),
}

/// Counters and faults of one kind of operation.
#[derive(Debug, Default)]
struct Kind {
    count: AtomicU64,
    fault: Mutex<Option<Fault>>,
}

impl Kind {
    fn check(&self, operation: &'static str, offset: u64, len: u64) -> Result<()> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let fails = match *self.fault.lock() {
            None => false,
            Some(Fault::Once(chosen)) => number == chosen,
            Some(Fault::From(first)) => number >= first,
        };
        if fails {
            let source = io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error());
            return Err(failed(operation, offset, len, source));
        }
        Ok(())
    }
}

/// The device.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn BlockDevice>,
    reads: Kind,
    writes: Kind,
    flushes: Kind,
}

impl Faulty {
    /// A device that works like `inner` until told otherwise.
    pub fn new(inner: Arc<dyn BlockDevice>) -> Self {
        Self {
            inner,
            reads: Kind::default(),
            writes: Kind::default(),
            flushes: Kind::default(),
        }
    }

    fn kind(&self, operation: Operation) -> &Kind {
        match operation {
            Operation::Read => &self.reads,
            Operation::Write => &self.writes,
            Operation::Flush => &self.flushes,
        }
    }

    /// Number of operations of this kind so far, failed ones included.
    pub fn count(&self, operation: Operation) -> u64 {
        self.kind(operation).count.load(Ordering::Relaxed)
    }

    /// Sets, or with `None` ends, the faults of one kind of operation.
    pub fn set_fault(&self, operation: Operation, fault: Option<Fault>) {
        *self.kind(operation).fault.lock() = fault;
    }
}

impl BlockDevice for Faulty {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn logical_sector_bytes(&self) -> u32 {
        self.inner.logical_sector_bytes()
    }

    fn is_read_only(&self) -> bool {
        self.inner.is_read_only()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.reads.check("read", offset, buf.len() as u64)?;
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.writes.check("write", offset, buf.len() as u64)?;
        self.inner.write_at(buf, offset)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        self.writes.check("zero", offset, len)?;
        self.inner.write_zeroes(offset, len)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.writes.check("discard", offset, len)?;
        self.inner.discard(offset, len)
    }

    fn flush(&self) -> Result<()> {
        self.flushes.check("flush", 0, 0)?;
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Memory};

    #[test]
    fn the_chosen_operations_fail_and_change_nothing() {
        let memory = Arc::new(Memory::zeroed(1024));
        let faulty = Faulty::new(memory.clone());
        faulty.set_fault(Operation::Write, Some(Fault::Once(1)));
        faulty.write_at(&[1], 0).unwrap();
        let refused = faulty.write_at(&[2], 1).unwrap_err();
        assert!(matches!(
            refused,
            Error::Io {
                operation: "write",
                ..
            }
        ));
        faulty.write_at(&[3], 2).unwrap();
        assert_eq!(memory.snapshot()[..3], [1, 0, 3]);
        assert_eq!(faulty.count(Operation::Write), 3);
    }

    #[test]
    fn a_device_can_fail_for_good_and_recover() {
        let faulty = Faulty::new(Arc::new(Memory::zeroed(1024)));
        for operation in [Operation::Flush, Operation::Read] {
            faulty.set_fault(operation, Some(Fault::From(0)));
        }
        faulty.flush().unwrap_err();
        faulty.flush().unwrap_err();
        faulty.read_at(&mut [0], 0).unwrap_err();
        faulty.set_fault(Operation::Flush, None);
        faulty.flush().unwrap();
    }
}
