//! What are ioctls of `/dev/fuse`, and the way for notifications (1.2, 2.2, 2.3).

use std::sync::Arc;

use rustix::io::Errno;
use zerocopy::{FromBytes, IntoBytes};

use crate::backing::{Backing, Descriptor};
use crate::counters::add;
use crate::kernel::Shared;
use crate::numbers::{SUPPORT_BITS, ioctl, op};
use crate::personality::Variant;
use crate::rule::Rule;
use crate::start::Phase;
use crate::wire::{BackingInfo, BackingMap, Support};

/// The type of an iomap backing, in the low byte of `fuse_backing_map.flags`.
const TYPE_IOMAP: u32 = 1;
const TYPE_PASSTHROUGH: u32 = 0;

/// The server's way to the kernel beside its descriptors. Clones are the same connection.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Handle {
    /// ioctl(2): `argument` is the structure the command names, read or filled. Returns the
    /// call's value (an id for BACKING_OPEN, else 0).
    ///
    /// # Errors
    /// The document's errno for each case; ENOTTY for a command nobody knows, EFAULT for an
    /// argument that is too short.
    pub fn ioctl(&self, command: u32, argument: &mut [u8]) -> Result<u32, Errno> {
        let known_before = matches!(
            command,
            ioctl::BACKING_OPEN | ioctl::BACKING_CLOSE | ioctl::SYNC_INIT
        );
        if !self.shared.settings.knows_iomap && !known_before {
            return Err(Errno::NOTTY);
        }
        self.shared.transport.settle(&self.shared.record);
        match command {
            ioctl::IOMAP_SUPPORT => {
                let flags = self.support()?;
                let answer = Support { flags, padding: 0 };
                answer.write_to(argument).map_err(|_| Errno::FAULT)?;
                Ok(0)
            }
            ioctl::ADD_IOMAP => self.add_iomap(),
            ioctl::SYNC_INIT => self.sync_init(),
            ioctl::SET_NOFS => self.set_nofs(read(argument)?),
            ioctl::BACKING_OPEN => self.backing_open(read(argument)?),
            ioctl::BACKING_CLOSE => self.backing_close(read(argument)?),
            ioctl::SET_BLOCKSIZE => self.set_blocksize(read(argument)?),
            _ => Err(Errno::NOTTY),
        }
    }

    /// write(2) of a notification: header with unique 0 and payload. When it returns, the
    /// effect is visible, and so is that of all replies written before it.
    ///
    /// # Errors
    /// What write(2) would say (2.4, 5.3, 5.4, 10.2).
    pub fn notify(&self, message: &[u8]) -> Result<(), Errno> {
        self.shared.transport.settle(&self.shared.record);
        self.shared.notify(message)
    }

    fn support(&self) -> Result<u64, Errno> {
        if !self.shared.settings.compiled_in {
            return Err(Errno::OPNOTSUPP);
        }
        let connected = match self.shared.link.lock().phase {
            Phase::Unmounted | Phase::Init => false,
            _ => self.shared.settings.compiled_in,
        };
        let yes = match connected {
            true => self.shared.may_use_iomap() || self.shared.link.lock().iomap,
            false => self.shared.may_use_iomap(),
        };
        Ok(if yes { SUPPORT_BITS } else { 0 })
    }

    fn add_iomap(&self) -> Result<u32, Errno> {
        let settings = &self.shared.settings;
        if !settings.compiled_in {
            return Err(Errno::OPNOTSUPP);
        }
        let mut link = self.shared.link.lock();
        let strict = settings.personality.variant == Variant::L;
        if strict && link.phase != Phase::Unmounted {
            return Err(Errno::INVAL);
        }
        if !settings.capable || !settings.enabled {
            return Err(Errno::PERM);
        }
        link.granted = true;
        Ok(0)
    }

    fn sync_init(&self) -> Result<u32, Errno> {
        let mut link = self.shared.link.lock();
        if link.phase != Phase::Unmounted {
            return Err(Errno::INVAL);
        }
        link.sync_init = true;
        Ok(0)
    }

    fn set_nofs(&self, value: u32) -> Result<u32, Errno> {
        self.wait_connected()?;
        if value > 1 {
            return Err(Errno::INVAL);
        }
        if !self.shared.may_use_iomap() {
            return Err(Errno::PERM);
        }
        add(&self.shared.record.counter.nofs_threads, value.into());
        Ok(0)
    }

    /// The checks of 2.2, in their order.
    fn backing_open(&self, map: BackingMap) -> Result<u32, Errno> {
        self.wait_connected()?;
        match map.flags & 0xff {
            // Passthrough is never negotiated here.
            TYPE_PASSTHROUGH => return Err(Errno::PERM),
            TYPE_IOMAP if self.has_code() => {}
            _ => return Err(Errno::OPNOTSUPP),
        }
        let checked = self.check_backing(map);
        if checked.is_err() {
            self.shared.record.refused(Rule::IoctlRefused);
        }
        let backing = checked?;
        let id = self.shared.backing.lock().insert(backing);
        id.ok_or(Errno::NOSPC)
    }

    fn check_backing(&self, map: BackingMap) -> Result<Backing, Errno> {
        if !self.shared.link.lock().iomap {
            return Err(Errno::PERM);
        }
        if map.flags & !0xff != 0 || map.padding != 0 {
            return Err(Errno::INVAL);
        }
        let strict = self.shared.settings.personality.variant == Variant::L;
        match self.shared.descriptors.lock().get(&map.fd) {
            None => Err(Errno::BADF),
            Some(Descriptor::PathOnly(_)) if strict => Err(Errno::BADF),
            Some(Descriptor::Other) => Err(Errno::NODEV),
            Some(Descriptor::PathOnly(device)) => Ok(Backing {
                device: Arc::clone(device),
                access: crate::Access::ReadWrite,
            }),
            Some(Descriptor::Block(device, access)) => Ok(Backing {
                device: Arc::clone(device),
                access: *access,
            }),
        }
    }

    fn backing_close(&self, id: u32) -> Result<u32, Errno> {
        self.wait_connected()?;
        if id as i32 <= 0 {
            return Err(Errno::INVAL);
        }
        if self.shared.backing.lock().get(id).is_none() {
            return Err(Errno::NOENT);
        }
        if !self.shared.link.lock().iomap {
            return Err(Errno::PERM);
        }
        let mut inodes = self.shared.inodes.lock();
        let in_use = inodes.values_mut().any(|inode| inode.is_iomap());
        if self.shared.settings.personality.never_closes_backing || in_use {
            return Err(Errno::BUSY);
        }
        self.shared.backing.lock().remove(id);
        Ok(0)
    }

    fn set_blocksize(&self, info: BackingInfo) -> Result<u32, Errno> {
        if !self.has_code() || !self.shared.link.lock().iomap {
            return Err(Errno::OPNOTSUPP);
        }
        if self.shared.backing.lock().get(info.backing_id).is_none() {
            return Err(Errno::NOENT);
        }
        let size = info.blocksize;
        match size.is_power_of_two() && (512..=65_536).contains(&size) {
            true => Ok(0),
            false => Err(Errno::INVAL),
        }
    }

    fn has_code(&self) -> bool {
        self.shared.settings.knows_iomap && self.shared.settings.compiled_in
    }

    /// Blocks while there is no mount (1.6), and until an INIT reply that was already written
    /// is processed, as write(2) on a real device would have done.
    fn wait_connected(&self) -> Result<(), Errno> {
        let shared = &self.shared;
        let limit = shared.settings.answer_limit;
        loop {
            let pending = shared.transport.pending();
            let init_pending = pending.iter().any(|request| request.opcode == op::INIT);
            let mut link = shared.link.lock();
            match link.phase {
                Phase::Unmounted => {}
                Phase::Init if !init_pending => {}
                Phase::Gone => return Err(Errno::NODEV),
                _ => return Ok(()),
            }
            if shared.link_changed.wait_for(&mut link, limit).timed_out() {
                return Err(Errno::INTR);
            }
        }
    }
}

fn read<T: FromBytes>(argument: &[u8]) -> Result<T, Errno> {
    let (value, _) = T::read_from_prefix(argument).map_err(|_| Errno::FAULT)?;
    Ok(value)
}
