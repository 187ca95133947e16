//! What arrives at the other end of a pipe is what the kernel would read.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use super::*;
use crate::wire::Attr;

/// The bytes `write` sends.
fn sent(write: impl FnOnce(BorrowedFd<'_>)) -> Vec<u8> {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    write(writer.as_fd());
    drop(writer);
    let mut bytes = Vec::new();
    File::from(reader).read_to_end(&mut bytes).unwrap();
    bytes
}

fn reply_bytes(reply: Reply<'_>) -> Vec<u8> {
    sent(|fd| send(fd, 0xdead_beef_0001, reply).outcome.unwrap())
}

fn header_of(bytes: &[u8]) -> (u32, i32, u64) {
    (
        u32::from_ne_bytes(bytes[..4].try_into().unwrap()),
        i32::from_ne_bytes(bytes[4..8].try_into().unwrap()),
        u64::from_ne_bytes(bytes[8..16].try_into().unwrap()),
    )
}

#[test]
fn success_without_data_is_a_header() {
    let bytes = reply_bytes(Reply::Done);
    assert_eq!(bytes.len(), 16);
    assert_eq!(header_of(&bytes), (16, 0, 0xdead_beef_0001));
}

#[test]
fn silence_sends_nothing() {
    assert!(reply_bytes(Reply::Silence).is_empty());
}

#[test]
fn an_error_is_a_negative_number() {
    let bytes = sent(|fd| send_error(fd, 7, Errno::ROFS).unwrap());
    assert_eq!(header_of(&bytes), (16, -30, 7));
    assert_eq!(bytes.len(), 16);
}

#[test]
fn structures_follow_the_header() {
    let attr = Attr {
        ino: 2,
        size: 4096,
        ..Attr::default()
    };
    let reply = Reply::Attr(AttrOut {
        attr_valid: 86_400,
        attr,
        ..AttrOut::default()
    });
    let bytes = reply_bytes(reply);
    assert_eq!(header_of(&bytes).0, 16 + 104);
    assert_eq!(bytes.len(), 16 + 104);
    assert_eq!(bytes[16..24], 86_400u64.to_ne_bytes());
    assert_eq!(bytes[32..40], 2u64.to_ne_bytes());
    assert_eq!(bytes[40..48], 4096u64.to_ne_bytes());
}

#[test]
fn every_structure_has_the_kernels_size() {
    let sizes = [
        (Reply::Entry(EntryOut::default()), 128),
        (Reply::Attr(AttrOut::default()), 104),
        (Reply::Statx(StatxOut::default()), 288),
        (Reply::Open(OpenOut::default()), 16),
        (Reply::StatFs(StatfsOut::default()), 80),
        (Reply::XattrSize(GetxattrOut::default()), 8),
        (Reply::Lseek(LseekOut::default()), 8),
        (Reply::Bmap(BmapOut::default()), 8),
        (Reply::Ioctl(IoctlOut::default(), vec![1, 2, 3]), 16 + 3),
        (Reply::Bytes(Cow::Borrowed(b"target")), 6),
    ];
    for (reply, size) in sizes {
        let name = format!("{reply:?}");
        let bytes = reply_bytes(reply);
        assert_eq!(bytes.len(), 16 + size, "{name}");
        assert_eq!(header_of(&bytes).0 as usize, bytes.len(), "{name}");
    }
}

#[test]
fn pieces_are_sent_in_order_and_their_memory_comes_back() {
    let mut spare = Vec::new();
    let mut address = None;
    for _ in 0..3 {
        let first = b"first ".to_vec();
        let second = b"second".to_vec();
        let mut pieces = Pieces::reusing(spare);
        assert!(pieces.push(Piece::of_slice(&first)));
        assert!(pieces.push(Piece::of_slice(&second)));
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let sent = send(writer.as_fd(), 9, Reply::Pieces(pieces));
        sent.outcome.unwrap();
        drop(writer);
        let mut bytes = Vec::new();
        File::from(reader).read_to_end(&mut bytes).unwrap();
        assert_eq!(header_of(&bytes), (16 + 12, 0, 9));
        assert_eq!(&bytes[16..], b"first second");
        spare = sent.spare.unwrap();
        assert!(spare.is_empty());
        let now = spare.as_ptr();
        assert_eq!(*address.get_or_insert(now), now, "no new allocation");
    }
}

#[test]
fn neighbours_in_memory_make_one_piece() {
    let bytes = [0u8; 100];
    let mut pieces = Pieces::reusing(Vec::new());
    let room = pieces.room();
    for chunk in bytes.chunks(10) {
        assert!(pieces.push(Piece::of_slice(chunk)));
    }
    assert_eq!(room - pieces.room(), 1);
    assert_eq!(pieces.len_bytes(), 100);
}

#[test]
fn a_full_list_takes_no_more() {
    let bytes = vec![0u8; 4096];
    let mut pieces = Pieces::reusing(Vec::new());
    // Every other byte, so that none are neighbours.
    let mut taken = 0;
    for at in (0..4096).step_by(2) {
        if !pieces.push(Piece::of_slice(&bytes[at..=at])) {
            break;
        }
        taken += 1;
    }
    assert_eq!(taken, PIECES_MAX - 1);
    assert_eq!(pieces.room(), 0);
}
