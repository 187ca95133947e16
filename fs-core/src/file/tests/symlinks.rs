//! Targets of symbolic links, read back by us and by debugfs.

use super::*;
use crate::format::inode_flags::InodeFlags;

/// Gives the link `number` this target as if it were new.
fn make(writer: &Writer, number: InodeNumber, target: &[u8]) -> Result<()> {
    let mut change = writer.begin(32)?;
    file::write_symlink(&mut change, number, target)?;
    change.finish();
    Ok(())
}

#[test]
fn targets_of_all_lengths() {
    for options in [
        &["-t", "ext4", "-b", "1024"][..],
        &["-t", "ext4", "-b", "1024", "-O", "inline_data", "-I", "256"],
        &[
            "-t",
            "ext4",
            "-b",
            "1024",
            "-O",
            "inline_data,ea_inode",
            "-I",
            "256",
        ],
        &["-t", "ext2", "-b", "1024"],
        &["-t", "ext2", "-b", "4096", "-I", "128"],
    ] {
        let Some(image) = stale_image(options, "8M") else {
            return;
        };
        for len in [1, 59, 60, 129, 1023] {
            let fixture = Fixture::of(image.clone());
            let number = named(&fixture.writer, b"link");
            let target = vec![b'x'; len];
            make(&fixture.writer, number, &target).unwrap();
            let link = inode(&fixture.writer, number);
            assert_eq!(
                file::read_link(&fixture.writer.store, &link).unwrap(),
                target
            );
            assert!(!link.flags().contains(InodeFlags::INLINE_DATA));
            assert_eq!(link.blocks_512() > 0, len >= 60, "{options:?} {len}");
            let image = fixture.close();
            let reopened = Fixture::of(image);
            let link = inode(&reopened.writer, number);
            assert_eq!(
                file::read_link(&reopened.writer.store, &link).unwrap(),
                target
            );
        }
    }
}

#[test]
fn targets_that_cannot_be() {
    let Some(image) = stale_image(&["-t", "ext4", "-b", "1024"], "8M") else {
        return;
    };
    let fixture = Fixture::of(image);
    let number = named(&fixture.writer, b"link");
    let kind = |target: &[u8]| {
        let error = make(&fixture.writer, number, target).unwrap_err();
        error.kind().clone()
    };
    assert_eq!(kind(&[b'x'; 1024]), ErrorKind::NameTooLong);
    assert!(matches!(kind(b""), ErrorKind::InvalidInput(_)));
    assert!(matches!(kind(b"a\0b"), ErrorKind::InvalidInput(_)));
    fixture.close();
}
