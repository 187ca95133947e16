//! The largest files: as large as the kernel's ext4 lets them be, and no larger.

use super::{clean, kind, open, refused};
use anyhow::{Result, ensure};
use fs_core::{Allocation, InodeNumber, NewInode, WriteContext};
use rustix::io::Errno;
use std::fs::File;
use system_tests::guards::KernelMount;
use system_tests::mkfs::JUDGES;
use system_tests::mkfs::judge::QUIET_MOUNT;
use system_tests::scratch::Scratch;
use system_tests::skip;
use system_tests::write::device::Image;

/// The largest size ftruncate(2) sets on the kernel's mount.
fn kernel_max(image: &Image) -> Result<u64> {
    let scratch = Scratch::new()?;
    let path = scratch.path("image");
    image.write_to(&path)?;
    let mount = KernelMount::new(&path, &scratch.path("mounted"), QUIET_MOUNT)?;
    let file = File::create(mount.path().join("file"))?;
    let (mut low, mut high) = (0u64, 1u64 << 62);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        match file.set_len(middle) {
            Ok(()) => low = middle,
            Err(_) => high = middle - 1,
        }
    }
    drop(file);
    mount.unmount()?;
    Ok(low)
}

#[test]
fn the_largest_file_is_the_kernels() -> Result<()> {
    if !skip::allowed(JUDGES) {
        return Ok(());
    }
    for name in [
        "ext4 4k",
        "ext4 1k",
        "ext4 2k",
        "ext3",
        "ext3 4k",
        "ext2",
        "inline_data",
    ] {
        let image = kind(name)?.image()?;
        let max = kernel_max(&image)?;
        let (device, volume) = open(&image)?;
        let new = NewInode::file(0o644);
        let file = volume.create(InodeNumber::ROOT, b"file", &new)?.number();
        volume.truncate(file, max)?;
        refused(name, volume.truncate(file, max + 1), Errno::FBIG)?;
        refused(name, volume.truncate(file, u64::MAX), Errno::FBIG)?;
        volume.truncate(file, 0)?;
        let written = volume.write(file, b"four", max - 2)?;
        ensure!(written == 2, "{name}: {written} bytes at the end");
        for offset in [max, max + 1, u64::MAX - 1, u64::MAX] {
            refused(name, volume.write(file, b"four", offset), Errno::FBIG)?;
        }
        let context = WriteContext::default();
        let how = Allocation::Allocate { keep_size: false };
        for (offset, len) in [
            (0, u64::MAX),
            (u64::MAX, 1),
            (u64::MAX, u64::MAX),
            (1 << 62, 1),
        ] {
            let result = volume.allocate(file, how, offset, len, context);
            refused(name, result, Errno::FBIG)?;
        }
        let inode = volume.inode(file)?;
        ensure!(
            inode.size_bytes() == max,
            "{name}: {} bytes",
            inode.size_bytes()
        );
        volume.close()?;
        clean(&device)?;
    }
    Ok(())
}
