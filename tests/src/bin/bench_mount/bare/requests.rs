//! From a request to its answer.

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::content::{Content, Region};
use super::directory::Directory;
use super::nodes::{DIRECTORY, Kind, Name, REGULAR, SYMLINK, TYPE};
use super::wire::{
    Attr, BatchForgetIn, CreateIn, CreateOut, ForgetIn, ForgetOne, InHeader, LinkIn, MkdirIn,
    MknodIn, OpenOut, ReadIn, Rename2In, RenameIn, SetattrIn, StatfsOut, fopen, opcode,
};
use super::worker::Scratch;
use super::{Server, data, listing, setattr};

/// One message of the kernel's.
pub(super) struct Request<'a> {
    pub(super) header: InHeader,
    pub(super) body: &'a [u8],
}

/// What it is answered with.
pub(super) enum Answer {
    /// The kernel does not wait.
    Silence,
    Done,
    /// What stands in [`Scratch::reply`].
    Reply,
    /// So many bytes of [`Scratch::data`].
    Data(usize),
}

/// How new files are opened, as extmap does.
const OPEN_FLAGS: u32 = fopen::KEEP_CACHE | fopen::NOFLUSH | fopen::PARALLEL_DIRECT_WRITES;

pub(super) fn answer(
    server: &Server,
    request: &Request<'_>,
    scratch: &mut Scratch,
) -> Result<Answer, Errno> {
    let node = request.header.nodeid;
    let reply = &mut scratch.reply;
    reply.clear();
    match request.header.opcode {
        opcode::LOOKUP => {
            let found = server.nodes.lock().look_up(request.name(request.body)?)?;
            put(reply, &found)
        }
        opcode::GETATTR => put(reply, &server.nodes.lock().attr(node)?),
        opcode::SETATTR => {
            let (arguments, _) = request.first::<SetattrIn>()?;
            put(reply, &setattr::set(server, node, &arguments)?)
        }
        opcode::READLINK => match &server.nodes.lock().get(node)?.kind {
            Kind::Symlink(target) => put(reply, target.as_slice()),
            _ => Err(Errno::INVAL),
        },
        opcode::MKNOD | opcode::MKDIR | opcode::SYMLINK | opcode::CREATE => {
            make(server, request, reply)
        }
        opcode::LINK => {
            let (arguments, name) = request.first::<LinkIn>()?;
            let name = request.name(name)?;
            put(reply, &server.nodes.lock().link(arguments.oldnodeid, name)?)
        }
        opcode::UNLINK | opcode::RMDIR => {
            let of_directory = request.header.opcode == opcode::RMDIR;
            let name = request.name(request.body)?;
            let freed = server.nodes.lock().remove(name, of_directory)?;
            give_back(server, freed)
        }
        opcode::RENAME | opcode::RENAME2 => rename(server, request),
        opcode::READ => data::read(server, request, &mut scratch.data).map(Answer::Data),
        opcode::WRITE => put(reply, &data::write(server, request)?),
        opcode::READDIR | opcode::READDIRPLUS => {
            let plus = request.header.opcode == opcode::READDIRPLUS;
            let (arguments, _) = request.first::<ReadIn>()?;
            listing::read(&mut server.nodes.lock(), node, &arguments, plus, reply)?;
            Ok(Answer::Reply)
        }
        opcode::STATFS => put(reply, &statfs()),
        opcode::FORGET | opcode::BATCH_FORGET => {
            forget(server, request)?;
            Ok(Answer::Silence)
        }
        opcode::INTERRUPT => Ok(Answer::Silence),
        opcode::RELEASE | opcode::FSYNC | opcode::FSYNCDIR | opcode::SYNCFS | opcode::DESTROY => {
            Ok(Answer::Done)
        }
        // "Not implemented" would stop the kernel from asking whether a file has capabilities
        // before its first write; a file system with attributes is asked each time.
        opcode::GETXATTR => Err(Errno::NODATA),
        // Among them OPEN, OPENDIR and FLUSH, which the kernel then does without.
        _ => Err(Errno::NOSYS),
    }
}

fn put<T: IntoBytes + Immutable + ?Sized>(reply: &mut Vec<u8>, value: &T) -> Result<Answer, Errno> {
    reply.extend_from_slice(value.as_bytes());
    Ok(Answer::Reply)
}

impl<'a> Request<'a> {
    /// The structure a body starts with, and the rest.
    pub(super) fn first<T: FromBytes + KnownLayout + Immutable>(
        &self,
    ) -> Result<(T, &'a [u8]), Errno> {
        T::read_from_prefix(self.body).map_err(|_| Errno::INVAL)
    }

    /// One name with its NUL, in the directory the request is about.
    fn name(&self, bytes: &'a [u8]) -> Result<Name<'a>, Errno> {
        let name = until_nul(bytes)?.0;
        let parent = self.header.nodeid;
        Ok(Name { parent, name })
    }
}

fn until_nul(bytes: &[u8]) -> Result<(&[u8], &[u8]), Errno> {
    let at = bytes.iter().position(|&byte| byte == 0);
    let (name, rest) = bytes.split_at(at.ok_or(Errno::INVAL)?);
    Ok((name, rest.get(1..).unwrap_or_default()))
}

/// MKNOD, MKDIR, SYMLINK and CREATE.
fn make(server: &Server, request: &Request<'_>, reply: &mut Vec<u8>) -> Result<Answer, Errno> {
    let parent = request.header.nodeid;
    let mut rdev = 0;
    let (mode, name, kind) = match request.header.opcode {
        opcode::MKNOD => {
            let (arguments, name) = request.first::<MknodIn>()?;
            rdev = arguments.rdev;
            let kind = match arguments.mode & TYPE {
                REGULAR => Kind::File(Content::Memory(Vec::new())),
                _ => Kind::Special,
            };
            (arguments.mode & !(arguments.umask & 0o777), name, kind)
        }
        opcode::MKDIR => {
            let (arguments, name) = request.first::<MkdirIn>()?;
            let mode = DIRECTORY | (arguments.mode & !TYPE & !(arguments.umask & 0o777));
            (mode, name, Kind::Directory(Directory::new(parent)))
        }
        opcode::SYMLINK => {
            let (_, target) = until_nul(request.body)?;
            let target = until_nul(target)?.0.to_vec();
            (SYMLINK | 0o777, request.body, Kind::Symlink(target))
        }
        _ => {
            let (arguments, name) = request.first::<CreateIn>()?;
            let mode = REGULAR | (arguments.mode & !TYPE & !(arguments.umask & 0o777));
            (mode, name, Kind::File(Content::Memory(Vec::new())))
        }
    };
    let size = match &kind {
        Kind::Symlink(target) => target.len() as u64,
        _ => 0,
    };
    let attr = Attr {
        mode,
        rdev,
        size,
        uid: request.header.uid,
        gid: request.header.gid,
        ..Attr::default()
    };
    let mut nodes = server.nodes.lock();
    let made = nodes.make(request.name(name)?, attr, kind)?;
    let entry = nodes.tell(made)?;
    drop(nodes);
    if request.header.opcode != opcode::CREATE {
        return put(reply, &entry);
    }
    let open = OpenOut {
        open_flags: OPEN_FLAGS,
        ..OpenOut::default()
    };
    put(reply, &CreateOut { entry, open })
}

fn rename(server: &Server, request: &Request<'_>) -> Result<Answer, Errno> {
    let (parent, flags, names) = match request.header.opcode {
        opcode::RENAME => {
            let (arguments, names) = request.first::<RenameIn>()?;
            (arguments.newdir, 0, names)
        }
        _ => {
            let (arguments, names) = request.first::<Rename2In>()?;
            (arguments.newdir, arguments.flags, names)
        }
    };
    let name = until_nul(until_nul(names)?.1)?.0;
    let to = Name { parent, name };
    let freed = server
        .nodes
        .lock()
        .rename(request.name(names)?, to, flags)?;
    give_back(server, freed)
}

/// Not while names are locked: it takes a while.
fn give_back(server: &Server, freed: Option<Region>) -> Result<Answer, Errno> {
    if let Some(region) = freed {
        server.store.give_back(region)?;
    }
    Ok(Answer::Done)
}

fn forget(server: &Server, request: &Request<'_>) -> Result<(), Errno> {
    if request.header.opcode == opcode::FORGET {
        let (arguments, _) = request.first::<ForgetIn>()?;
        let mut nodes = server.nodes.lock();
        let freed = nodes.forget(request.header.nodeid, arguments.nlookup);
        drop(nodes);
        return give_back(server, freed).map(drop);
    }
    let (arguments, mut rest) = request.first::<BatchForgetIn>()?;
    for _ in 0..arguments.count {
        let one;
        (one, rest) = ForgetOne::read_from_prefix(rest).map_err(|_| Errno::INVAL)?;
        let freed = server.nodes.lock().forget(one.nodeid, one.nlookup);
        give_back(server, freed)?;
    }
    Ok(())
}

/// Room enough for every case.
fn statfs() -> StatfsOut {
    let (blocks, files) = (1 << 30, 1 << 30);
    StatfsOut {
        blocks,
        bfree: blocks,
        bavail: blocks,
        files,
        ffree: files,
        bsize: 4096,
        namelen: 255,
        frsize: 4096,
        ..StatfsOut::default()
    }
}
