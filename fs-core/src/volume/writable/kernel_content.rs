//! Files whose content the kernel moves: where it lies, and what has become of it.

use std::ops::Range;
use std::sync::Arc;

use super::WritableVolume;
use crate::error::Result;
use crate::file::{self, WriteCompletion, WriteContext, WritePreparation};
use crate::mapping::MappingObserver;
use crate::space::BlocksAhead;
use crate::types::{FileBlock, InodeNumber};
use crate::volume::MappingView;

impl WritableVolume {
    /// Has somebody told of changes of maps, from now on; the first who asks.
    pub fn observe_mappings(&self, observer: Arc<dyn MappingObserver>) {
        let _ = self.writer().mapping_observer.set(observer);
    }

    /// Looks at a file's map. What is said to others in `look` is said before the map can
    /// change.
    ///
    /// # Errors
    /// `Stale`, and those of `look`.
    pub fn with_mapping<T>(
        &self,
        file: InodeNumber,
        look: impl FnOnce(&MappingView<'_>) -> Result<T>,
    ) -> Result<T> {
        self.look(file, |_| self.view(file, None, look))
    }

    /// Makes sure that somebody else can write to a range: all of it has blocks then, new ones
    /// unwritten, or where space ran out at least its first byte. Size and times stay. Then
    /// looks at the map.
    ///
    /// # Errors
    /// `NoSpace`, `FileTooLarge` at the largest size and behind it, `Encrypted`, `NotPermitted`
    /// for what fs-verity seals, `Stale`, and those of `look`. That a file is immutable is no
    /// error: what is written back may be older than that.
    pub fn prepare_write<T>(
        &self,
        file: InodeNumber,
        preparation: WritePreparation,
        context: WriteContext,
        look: impl FnOnce(&MappingView<'_>) -> Result<T>,
    ) -> Result<T> {
        self.on_content(file, || {
            let ahead = file::prepare_write(self.writer(), file, preparation, context)?;
            self.view(file, ahead, look)
        })
    }

    /// Takes note of what somebody else has written: see [`WriteCompletion`]. The size becomes
    /// at least the end of it. It is the running transaction's; nothing is written for it now.
    /// Then looks at the map.
    ///
    /// # Errors
    /// `NotItsMap` if the range has no blocks at all, or is to be converted in a file without
    /// extents: then nothing is changed. `FileTooLarge`, `Stale`, and those of `look`.
    pub fn complete_write<T>(
        &self,
        file: InodeNumber,
        completion: WriteCompletion,
        look: impl FnOnce(&MappingView<'_>) -> Result<T>,
    ) -> Result<T> {
        self.on_content(file, || {
            file::complete_write(self.writer(), file, completion)?;
            self.view(file, None, look)
        })
    }

    /// Makes a file at least as many bytes long as `size` says, if what lies there last is not
    /// waiting for [`complete_write`](Self::complete_write); nothing happens if it says nothing.
    /// Times stay. The size it has then is told to `raised`. Both are called with the file
    /// locked.
    ///
    /// # Errors
    /// The device's, `Stale`.
    pub fn raise_size(
        &self,
        file: InodeNumber,
        size: impl FnOnce() -> Option<u64>,
        raised: impl FnOnce(u64),
    ) -> Result<()> {
        self.on_content(file, || match size() {
            Some(size) => file::raise_size(self.writer(), file, size).map(raised),
            None => Ok(()),
        })
    }

    /// Where blocks are counted that files hold ahead: what
    /// [`prepare_write`](Self::prepare_write) allocates is to be added there by who asks for it,
    /// and removed when it is given back or in use.
    pub fn blocks_ahead(&self) -> BlocksAhead {
        self.writer().space.ahead().clone()
    }

    /// Gives back blocks of a file that lie wholly behind its size, at what `from` says or
    /// behind it; none if it says nothing. It is asked with the file locked.
    ///
    /// # Errors
    /// The device's.
    pub fn trim_preallocation(
        &self,
        file: InodeNumber,
        from: impl FnOnce() -> Option<FileBlock>,
    ) -> Result<()> {
        self.on_content(file, || match from() {
            Some(from) => file::trim_preallocation(self.writer(), file, from),
            None => Ok(()),
        })
    }

    /// For who holds the file's lock.
    fn view<T>(
        &self,
        file: InodeNumber,
        ahead: Option<Range<FileBlock>>,
        look: impl FnOnce(&MappingView<'_>) -> Result<T>,
    ) -> Result<T> {
        let inode = self.in_use(file)?;
        let space = &self.writer().space;
        let view = MappingView::new(self.store(), Some(space), &inode);
        look(&view.after_allocating(ahead))
    }
}
