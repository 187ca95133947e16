//! SETATTR.

use rustix::io::Errno;

use super::Server;
use super::content::Content;
use super::nodes::{Kind, TYPE, now};
use super::wire::{AttrOut, SetattrIn, fattr};

/// Sets what is asked for.
pub(super) fn set(server: &Server, number: u64, arguments: &SetattrIn) -> Result<AttrOut, Errno> {
    let has = |bits: u32| arguments.valid & bits != 0;
    let mut nodes = server.nodes.lock();
    let node = nodes.get_mut(number)?;
    if has(fattr::SIZE) {
        let Kind::File(content) = &mut node.kind else {
            return Err(Errno::INVAL);
        };
        if arguments.size < node.attr.size {
            match content {
                Content::Memory(bytes) => {
                    bytes.truncate(usize::try_from(arguments.size).map_err(|_| Errno::FBIG)?);
                }
                Content::Region(region) => server.store.cut(*region, arguments.size)?,
            }
        }
        node.set_size(arguments.size);
        node.touch();
    }
    let (now_seconds, now_nanos) = now();
    let attr = &mut node.attr;
    if has(fattr::MODE) {
        attr.mode = (attr.mode & TYPE) | (arguments.mode & !TYPE);
    }
    if has(fattr::UID) {
        attr.uid = arguments.uid;
    }
    if has(fattr::GID) {
        attr.gid = arguments.gid;
    }
    (attr.ctime, attr.ctimensec) = match has(fattr::CTIME) {
        true => (arguments.ctime, arguments.ctimensec),
        false => (now_seconds, now_nanos),
    };
    let time = |now_bit, seconds, nanos| match has(now_bit) {
        true => (now_seconds, now_nanos),
        false => (seconds, nanos),
    };
    if has(fattr::ATIME) {
        let (seconds, nanos) = (arguments.atime, arguments.atimensec);
        (attr.atime, attr.atimensec) = time(fattr::ATIME_NOW, seconds, nanos);
    }
    if has(fattr::MTIME) {
        let (seconds, nanos) = (arguments.mtime, arguments.mtimensec);
        (attr.mtime, attr.mtimensec) = time(fattr::MTIME_NOW, seconds, nanos);
    }
    nodes.attr(number)
}
