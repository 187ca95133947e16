//! Moving names: rename(2) with its flags.

use std::sync::Arc;

use super::WritableVolume;
use super::delete::Removal;
use super::names::{
    check_can_have_names, check_name, check_names_mutable, directory_for_adding,
    directory_for_removing, touch_directory,
};
use super::new_inode::{self, NewInode, NewKind};
use crate::change::Change;
use crate::directory;
use crate::error::{Error, ErrorKind, Result};
use crate::format::inode::Inode;
use crate::store::Store;
use crate::types::{FileType, InodeNumber};

/// What happens where the new name exists, and to the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RenameMode {
    /// The new name's inode is replaced.
    #[default]
    Replace,
    /// An existing new name is an error (`RENAME_NOREPLACE`).
    NoReplace,
    /// Both names exist, and change places (`RENAME_EXCHANGE`).
    Exchange,
    /// A character device 0:0 takes the old name (`RENAME_WHITEOUT`).
    Whiteout,
    /// [`Whiteout`](Self::Whiteout) and [`NoReplace`](Self::NoReplace).
    WhiteoutNoReplace,
}

impl RenameMode {
    fn has_whiteout(self) -> bool {
        matches!(self, Self::Whiteout | Self::WhiteoutNoReplace)
    }

    fn refuses_existing(self) -> bool {
        matches!(self, Self::NoReplace | Self::WhiteoutNoReplace)
    }
}

/// One end of a move.
#[derive(Debug, Clone, Copy)]
struct End<'a> {
    parent: InodeNumber,
    name: &'a [u8],
}

/// Both ends as they are, all locked.
struct Move<'a> {
    from: End<'a>,
    to: End<'a>,
    old_parent: Arc<Inode>,
    source: Arc<Inode>,
    target: Option<Arc<Inode>>,
}

impl Move<'_> {
    fn crosses(&self) -> bool {
        self.from.parent != self.to.parent
    }
}

fn is_directory(inode: &Inode) -> bool {
    inode.file_type() == FileType::Directory
}

/// The number of levels a directory can lie deep before the way up counts as a circle.
const DEPTH_MAX: u32 = 1 << 20;
/// So often a way to the root is looked for that ends at a directory not there any more,
/// before it counts as damaged.
const WAYS_UP_MAX: u32 = 8;

/// What came of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    Done,
    /// The names led elsewhere once everything was locked.
    LedElsewhere,
    /// A way to the root ended on the way, though it begins at a directory that is in use.
    NoWayUp,
}

impl WritableVolume {
    /// Moves a name. If both names lead to the same inode nothing happens.
    ///
    /// # Errors
    /// `NotFound`, `Exists` where the mode refuses that, `NotEmpty`, `IsADirectory` and
    /// `NotADirectory` where one is replaced by the other, `InvalidInput` for a move into
    /// itself and for "." and "..", `TooManyNames`, `NoSpace`, `NotPermitted` by flags.
    pub fn rename(
        &self,
        parent: InodeNumber,
        name: &[u8],
        new_parent: InodeNumber,
        new_name: &[u8],
        mode: RenameMode,
    ) -> Result<()> {
        let from = End { parent, name };
        let to = End {
            parent: new_parent,
            name: new_name,
        };
        self.changing(|| {
            for end in [from, to] {
                check_name(end.name)?;
                if matches!(end.name, b"." | b"..") {
                    let what = "\".\" and \"..\" cannot be renamed";
                    return Err(ErrorKind::InvalidInput(what).into());
                }
            }
            let _moves = (parent != new_parent).then(|| self.shared.moves.lock());
            let mut ways_up = 0;
            while ways_up < WAYS_UP_MAX {
                match self.try_rename(from, to, mode)? {
                    Attempt::Done => return Ok(()),
                    Attempt::LedElsewhere => {}
                    Attempt::NoWayUp => ways_up += 1,
                }
            }
            let directories = format_args!("directories {parent} and {new_parent}");
            let expected = "a way to the root";
            Err(Error::corrupt(directories, None, expected, "one that ends"))
        })
    }

    fn try_rename(&self, from: End<'_>, to: End<'_>, mode: RenameMode) -> Result<Attempt> {
        let store = self.store();
        let source = self.child(from.parent, from.name)?;
        let target = self.lookup(to.parent, to.name)?;
        // What it found counts only if the directories prove to be in use.
        let circle = self.find_circle(from, to, &source, target, mode);
        let source = source.number();
        let mut wanted = vec![from.parent, to.parent, source];
        wanted.extend(target);
        let lock = self.shared.locks.exclusive(&wanted);
        let old_parent = directory_for_removing(store, from.parent)?;
        let new_parent = directory_for_adding(store, to.parent)?;
        let found = directory::lookup(store, &old_parent, from.name)?;
        if found != Some(source) || directory::lookup(store, &new_parent, to.name)? != target {
            return Ok(Attempt::LedElsewhere);
        }
        let the_move = Move {
            from,
            to,
            old_parent,
            source: store.inode(source)?,
            target: target.map(|target| store.inode(target)).transpose()?,
        };
        check(store, &the_move, mode)?;
        if target == Some(source) {
            return Ok(Attempt::Done);
        }
        match circle {
            Ok(None) => {}
            Ok(Some(error)) => return Err(error.into()),
            Err(error) if is_gone(&error) => return Ok(Attempt::NoWayUp),
            Err(error) => return Err(error),
        }
        let (ended, removal) = match mode {
            RenameMode::Exchange => self.exchange(&the_move)?,
            _ => self.replace(&the_move, mode)?,
        };
        // An inode that ended with its name is finished with its lock still held.
        self.finish_removal(ended, removal)?;
        drop(lock);
        Ok(Attempt::Done)
    }

    /// No directory may come to lie below itself. Who is whose parent does not change while
    /// this looks: only moves between directories change it, and they come one at a time.
    /// Directories may be removed meanwhile, the ancestors of one that has been among them.
    fn find_circle(
        &self,
        from: End<'_>,
        to: End<'_>,
        source: &Inode,
        target: Option<InodeNumber>,
        mode: RenameMode,
    ) -> Result<Option<ErrorKind>> {
        if from.parent == to.parent {
            return Ok(None);
        }
        let into_itself = ErrorKind::InvalidInput("a directory cannot be moved into itself");
        if is_directory(source) && self.is_ancestor(source.number(), to.parent)? {
            return Ok(Some(into_itself));
        }
        let Some(target) = target else {
            return Ok(None);
        };
        if is_directory(self.inode(target)?.as_ref()) && self.is_ancestor(target, from.parent)? {
            return Ok(Some(match mode {
                RenameMode::Exchange => into_itself,
                _ => ErrorKind::NotEmpty,
            }));
        }
        Ok(None)
    }

    /// True if `above` is `below` or lies on its way to the root.
    fn is_ancestor(&self, above: InodeNumber, below: InodeNumber) -> Result<bool> {
        let mut at = below;
        for _ in 0..DEPTH_MAX {
            if at == above {
                return Ok(true);
            }
            if at == InodeNumber::ROOT {
                return Ok(false);
            }
            at = self.lookup(at, b"..")?.ok_or_else(|| {
                Error::corrupt(format_args!("directory {at}"), None, "a parent", "none")
            })?;
        }
        let directory = format_args!("directory {below}");
        Err(Error::corrupt(
            directory,
            None,
            "a way to the root",
            "a circle",
        ))
    }

    fn rename_credits(&self, the_move: &Move<'_>) -> usize {
        let ended = the_move.target.as_deref().unwrap_or(&the_move.source);
        4 * self.name_credits() + self.removal_credits(ended)
    }

    fn replace(&self, the_move: &Move<'_>, mode: RenameMode) -> Result<(InodeNumber, Removal)> {
        let mut change = self.writer().begin(self.rename_credits(the_move))?;
        let source = the_move.source.number();
        let mut ended = (source, Removal::Nothing);
        let file_type = the_move.source.file_type();
        // The new name first: there is always at least one.
        let End { parent, name } = the_move.to;
        if the_move.target.is_some() {
            directory::replace(&mut change, parent, name, source, file_type)?;
        } else {
            directory::add(&mut change, parent, name, source, file_type)?;
        }
        self.leave_old_name(&mut change, the_move, mode)?;
        if let Some(target) = &the_move.target {
            let removal = if is_directory(target) {
                self.drop_directory(&mut change, target)?
            } else {
                self.drop_name(&mut change, target)?
            };
            ended = (target.number(), removal);
        }
        touch(&mut change, source)?;
        let moved = i32::from(is_directory(&the_move.source));
        let replaced = i32::from(the_move.target.as_deref().is_some_and(is_directory));
        if moved == 1 && the_move.crosses() {
            directory::replace(&mut change, source, b"..", parent, FileType::Directory)?;
        }
        settle_parents(&mut change, the_move, -moved, moved - replaced)?;
        change.finish();
        Ok(ended)
    }

    /// Removes the old name, or gives it to a whiteout.
    fn leave_old_name(
        &self,
        change: &mut Change<'_>,
        the_move: &Move<'_>,
        mode: RenameMode,
    ) -> Result<()> {
        let End { parent, name } = the_move.from;
        if !mode.has_whiteout() {
            directory::remove(change, parent, name)?;
            return Ok(());
        }
        let device = NewKind::CharDevice { major: 0, minor: 0 };
        let new = NewInode::new(device, 0);
        let whiteout = new_inode::bring_up(change, &the_move.old_parent, &new, 1)?;
        directory::replace(
            change,
            parent,
            name,
            whiteout.number(),
            whiteout.file_type(),
        )?;
        Ok(())
    }

    fn exchange(&self, the_move: &Move<'_>) -> Result<(InodeNumber, Removal)> {
        let Some(target) = &the_move.target else {
            return Err(ErrorKind::NotFound.into());
        };
        let source = &the_move.source;
        let mut change = self.writer().begin(self.rename_credits(the_move))?;
        for (end, inode) in [(the_move.from, target), (the_move.to, source)] {
            let (number, file_type) = (inode.number(), inode.file_type());
            directory::replace(&mut change, end.parent, end.name, number, file_type)?;
            touch(&mut change, number)?;
        }
        let mut gained_by_old = 0;
        if the_move.crosses() {
            for (inode, parent) in [(source, the_move.to.parent), (target, the_move.from.parent)] {
                if is_directory(inode) {
                    let number = inode.number();
                    directory::replace(&mut change, number, b"..", parent, FileType::Directory)?;
                }
            }
            gained_by_old = i32::from(is_directory(target)) - i32::from(is_directory(source));
        }
        settle_parents(&mut change, the_move, gained_by_old, -gained_by_old)?;
        change.finish();
        Ok((source.number(), Removal::Nothing))
    }
}

/// True for what is found where a directory was that has been removed.
fn is_gone(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Stale | ErrorKind::NotADirectory)
}

/// What rename(2) refuses.
fn check(store: &Store, the_move: &Move<'_>, mode: RenameMode) -> Result<()> {
    let Move { source, target, .. } = the_move;
    for inode in target.iter().chain([source]) {
        check_can_have_names(store, inode)?;
    }
    check_names_mutable(source)?;
    let Some(target) = target else {
        return match mode {
            RenameMode::Exchange => Err(ErrorKind::NotFound.into()),
            _ => Ok(()),
        };
    };
    if mode.refuses_existing() {
        return Err(ErrorKind::Exists.into());
    }
    if target.number() == source.number() {
        return Ok(());
    }
    check_names_mutable(target)?;
    directory_for_removing(store, the_move.to.parent)?;
    if mode == RenameMode::Exchange {
        return Ok(());
    }
    match (is_directory(source), is_directory(target)) {
        (true, false) => Err(ErrorKind::NotADirectory.into()),
        (false, true) => Err(ErrorKind::IsADirectory.into()),
        (true, true) if !directory::is_empty(store, target)? => Err(ErrorKind::NotEmpty.into()),
        _ => Ok(()),
    }
}

fn touch(change: &mut Change<'_>, inode: InodeNumber) -> Result<()> {
    let now = change.now;
    change.edit_inode(inode, |edit| edit.set_changed(now))?;
    Ok(())
}

/// Times and link counts of both directories; `*_gains` are subdirectories won or lost.
fn settle_parents(
    change: &mut Change<'_>,
    the_move: &Move<'_>,
    old_gains: i32,
    new_gains: i32,
) -> Result<()> {
    let sides: Vec<(InodeNumber, i32)> = if the_move.crosses() {
        vec![
            (the_move.from.parent, old_gains),
            (the_move.to.parent, new_gains),
        ]
    } else {
        vec![(the_move.from.parent, old_gains + new_gains)]
    };
    for (directory, gains) in sides {
        let inode = change.inode(directory)?;
        let links = match gains {
            1.. => Some(new_inode::links_with_one_more(change, &inode)?),
            ..=-1 => Some(new_inode::links_with_one_less(&inode)),
            0 => None,
        };
        touch_directory(change, directory, links)?;
    }
    Ok(())
}
