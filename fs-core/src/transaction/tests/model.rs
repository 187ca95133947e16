//! Owners of blocks, and what must be true of each block at any time.
//!
//! Every owner has a block of its own and an entry in a block that all share, as files have
//! blocks of their own and entries in an inode table. Each change of an owner has a number;
//! the entry says which change was the last and what it made of the own block: metadata that
//! bears the change's number, a free block, or content written past the log.

use std::sync::Arc;

use images::{BlockDevice, Recorder};

use super::super::{Handle, Joined, Preparation, Transactions};
use crate::cache::{BlockCache, Role, RoleKind};
use crate::error::Result;
use crate::journal::tests::small::BLOCK_BYTES;
use crate::types::{FsBlock, InodeNumber};

pub(super) const SHARED: FsBlock = FsBlock(1);
const SUPERBLOCK: FsBlock = FsBlock(0);
const FIRST_OWN: u64 = 8;

/// What the own block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Metadata = 1,
    Free = 2,
    Content = 3,
}

/// An owner's entry: the number of a change times 4, and a [`Kind`]; 0 at the beginning.
pub(super) fn entry(homes: &[u8], owner: usize) -> u64 {
    let at = SHARED.0 as usize * BLOCK_BYTES + owner * 8;
    u64::from_le_bytes(homes[at..at + 8].try_into().unwrap())
}

pub(super) fn own_block(owner: usize) -> FsBlock {
    FsBlock(FIRST_OWN + owner as u64)
}

fn bytes_of(change: u64, kind: Kind) -> Box<[u8]> {
    let mut bytes = vec![kind as u8; BLOCK_BYTES];
    bytes[..8].copy_from_slice(&change.to_le_bytes());
    bytes.into()
}

/// Fails unless the own block is what the entry says.
pub(super) fn check(homes: &[u8], owner: usize, what: &str) {
    let entry = entry(homes, owner);
    let at = own_block(owner).0 as usize * BLOCK_BYTES;
    let own = &homes[at..at + BLOCK_BYTES];
    let (change, kind) = (entry / 4, entry % 4);
    let expected = match kind {
        1 => bytes_of(change, Kind::Metadata),
        3 => bytes_of(change, Kind::Content),
        _ => return,
    };
    let found = u64::from_le_bytes(own[..8].try_into().unwrap());
    assert!(
        *own == *expected,
        "{what}: owner {owner}: the entry says change {change} kind {kind}, the block change \
         {found} filled with {}",
        own[BLOCK_BYTES - 1]
    );
}

fn own_role() -> Role {
    Role::of_inode(RoleKind::ExtentNode, InodeNumber(1), 0)
}

/// What several threads change.
#[derive(Debug)]
pub(super) struct World {
    pub(super) transactions: Transactions,
    pub(super) cache: BlockCache,
    pub(super) recorder: Arc<Recorder>,
    pub(super) device: Arc<dyn BlockDevice>,
}

impl World {
    /// Joins; commits first where that is needed.
    pub(super) fn begin(&self, credits: usize) -> Result<Handle<'_>> {
        loop {
            match self.transactions.join(&self.cache, credits)? {
                Joined::Handle(handle) => return Ok(handle),
                Joined::Full(id) => self.commit(id)?,
            }
        }
    }

    pub(super) fn commit(&self, wanted: super::super::TransactionId) -> Result<()> {
        let prepare = |preparation: &mut Preparation<'_>, id: super::super::TransactionId| {
            let role = Role::of_volume(RoleKind::Superblock);
            let edit = |bytes: &mut [u8]| bytes[..8].copy_from_slice(&id.0.to_le_bytes());
            preparation.modify(SUPERBLOCK, role, |_| Ok(()), edit)
        };
        self.transactions
            .commit(&self.cache, wanted, &prepare, &|_| {})
    }

    pub(super) fn sync(&self) -> Result<()> {
        let (wanted, is_idle) = self.transactions.pending_or_idle();
        self.commit(wanted)?;
        if is_idle {
            self.transactions.check_alive()?;
        }
        Ok(())
    }
}

/// One owner and what it has done.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) number: usize,
    changes: u64,
    /// As it is in memory.
    pub(super) entry: u64,
    /// The least that a power cut leaves.
    pub(super) durable_change: u64,
    /// Changes that were taken back.
    pub(super) dropped: Vec<u64>,
}

impl Owner {
    pub(super) fn new(number: usize) -> Self {
        Self {
            number,
            changes: 0,
            entry: 0,
            durable_change: 0,
            dropped: Vec::new(),
        }
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        match self.entry % 4 {
            1 => Some(Kind::Metadata),
            2 => Some(Kind::Free),
            3 => Some(Kind::Content),
            _ => None,
        }
    }

    pub(super) fn sync(&mut self, world: &World) -> Result<()> {
        world.sync()?;
        self.durable_change = self.entry / 4;
        Ok(())
    }

    /// Makes of the own block what `kind` says, by way of other states if `detours` has
    /// bits set, and takes it back if not `keeps`.
    pub(super) fn change(
        &mut self,
        world: &World,
        kind: Kind,
        detours: u64,
        keeps: bool,
    ) -> Result<()> {
        let number = self.changes + 1;
        let block = own_block(self.number);
        if kind == Kind::Content {
            // Content goes past the log, to a block whose freeing is durable.
            if self.kind() != Some(Kind::Free) || self.durable_change < self.entry / 4 {
                return Ok(());
            }
            let offset = block.0 * BLOCK_BYTES as u64;
            world.device.write_at(&bytes_of(number, kind), offset)?;
        } else if self.kind() == Some(Kind::Content) && kind == Kind::Metadata {
            // Blocks of content are freed before they become metadata.
            return Ok(());
        }
        let mut handle = world.begin(3)?;
        self.changes = number;
        let is_metadata = matches!(self.kind(), Some(Kind::Metadata));
        match kind {
            Kind::Content => {}
            Kind::Free if is_metadata => {
                if detours & 1 != 0 {
                    write(&mut handle, block, 0xAA)?;
                }
                handle.forget(block);
                if detours & 2 != 0 {
                    handle.create(block, own_role(), bytes_of(1 << 40, Kind::Metadata));
                    handle.forget(block);
                }
            }
            Kind::Free => {}
            Kind::Metadata if is_metadata && detours & 4 == 0 => {
                if detours & 1 != 0 {
                    write(&mut handle, block, 0xBB)?;
                }
                handle.modify(
                    block,
                    own_role(),
                    |_| Ok(()),
                    |bytes| {
                        bytes.copy_from_slice(&bytes_of(number, kind));
                        Ok(())
                    },
                )?;
            }
            Kind::Metadata => {
                if is_metadata {
                    handle.forget(block);
                }
                handle.create(block, own_role(), bytes_of(number, kind));
            }
        }
        self.set_entry(world, &mut handle, number * 4 + kind as u64)?;
        if keeps {
            self.entry = number * 4 + kind as u64;
            handle.finish();
        } else {
            self.dropped.push(number);
            drop(handle);
            if kind == Kind::Content {
                // The block is free still, its content nothing.
                self.durable_change = self.durable_change.max(self.entry / 4);
            }
        }
        Ok(())
    }

    fn set_entry<'w>(&self, world: &'w World, handle: &mut Handle<'w>, entry: u64) -> Result<()> {
        let at = self.number * 8;
        let role = Role::of_volume(RoleKind::InodeTable);
        let set = move |entry: u64| {
            move |bytes: &mut [u8]| bytes[at..at + 8].copy_from_slice(&entry.to_le_bytes())
        };
        let edit = set(entry);
        handle.modify_shared(
            SHARED,
            role,
            |_| Ok(()),
            |bytes| {
                edit(bytes);
                Ok(())
            },
        )?;
        let undo = set(self.entry);
        handle.on_rollback(move || {
            let undone = world.cache.edit(SHARED, role, false, |_| Ok(()), undo);
            assert!(undone.is_ok() && !undone.unwrap().is_first_change);
        });
        Ok(())
    }

    /// Fails unless a power cut left of this owner something it had durably or since.
    pub(super) fn check_recovered(&self, homes: &[u8], what: &str) {
        check(homes, self.number, what);
        let found = entry(homes, self.number) / 4;
        let (least, owner) = (self.durable_change, self.number);
        assert!(
            (least..=self.changes).contains(&found),
            "{what}: owner {owner}: change {found} instead of {least} or later"
        );
        assert!(
            !self.dropped.contains(&found),
            "{what}: owner {owner}: change {found} was taken back"
        );
    }
}

fn write(handle: &mut Handle<'_>, block: FsBlock, fill: u8) -> Result<()> {
    handle.modify(
        block,
        own_role(),
        |_| Ok(()),
        |bytes| {
            bytes.fill(fill);
            Ok(())
        },
    )
}
