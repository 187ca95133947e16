use fs_core::{InodeNumber, NewInode, RenameMode, WritableVolume, WriteOptions};
use std::sync::Arc;
#[test]
fn first() {
    let _ = std::fs::remove_file("/dev/shm/fl.img");
    assert!(
        std::process::Command::new("mke2fs")
            .args(["-q", "-F", "-t", "ext4", "/dev/shm/fl.img", "64M"])
            .status()
            .unwrap()
            .success()
    );
    let image = std::fs::read("/dev/shm/fl.img").unwrap();
    let memory = Arc::new(images::Memory::new(image));
    let device: Arc<dyn images::BlockDevice> = memory.clone();
    let v = WritableVolume::open(device, &WriteOptions::default()).unwrap();
    let root = InodeNumber::ROOT;
    let d = v.create(root, b"dir", &NewInode::directory(0o755)).unwrap();
    let start = std::time::Instant::now();
    for i in 0..5000 {
        let f = v
            .create(
                d.number(),
                format!("file{i}").as_bytes(),
                &NewInode::file(0o644),
            )
            .unwrap();
        v.write(f.number(), &vec![7; 4096], 0).unwrap();
    }
    println!("create {:?}", start.elapsed());
    v.sync().unwrap();
    let start = std::time::Instant::now();
    for i in 0..2000 {
        v.unlink(d.number(), format!("file{i}").as_bytes()).unwrap();
    }
    println!("unlink {:?}", start.elapsed());
    v.rename(d.number(), b"file3000", root, b"moved", RenameMode::Replace)
        .unwrap();
    v.create(root, b"l", &NewInode::symlink(&[b'x'; 100]))
        .unwrap();
    v.close().unwrap();
    std::fs::write("/dev/shm/fl.img", memory.snapshot()).unwrap();
    let out = std::process::Command::new("e2fsck")
        .args(["-fn", "/dev/shm/fl.img"])
        .output()
        .unwrap();
    println!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(out.status.success());
}
