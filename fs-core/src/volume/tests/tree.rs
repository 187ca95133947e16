//! What a volume shows, as text: for comparing.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use images::{BlockDevice, Memory};

use crate::types::FileType;
use crate::volume::{OpenOptions, Volume};

fn sum(bytes: &[u8]) -> u32 {
    crate::format::checksum::crc32c_raw(!0, bytes)
}

/// What Linux shows of a mounted image.
pub(super) fn of_directory(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    visit(root, root, &mut lines);
    lines.sort();
    lines
}

fn visit(root: &Path, directory: &Path, lines: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let content = if meta.is_symlink() {
            std::fs::read_link(&path)
                .unwrap()
                .into_os_string()
                .into_encoded_bytes()
        } else if meta.is_file() {
            std::fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        let size = if meta.is_dir() { 0 } else { meta.size() };
        lines.push(line(
            &name,
            meta.mode(),
            meta.nlink(),
            size,
            meta.blocks(),
            sum(&content),
        ));
        if meta.is_dir() {
            visit(root, &path, lines);
        }
    }
}

/// Of a directory neither links nor blocks: Linux's replay of fast commits leaves wrong ones.
fn line(name: &str, mode: u32, links: u64, size: u64, blocks_512: u64, sum: u32) -> String {
    let is_directory = FileType::from_mode(mode as u16) == Some(FileType::Directory);
    let (links, blocks_512) = match is_directory {
        true => (0, 0),
        false => (links, blocks_512),
    };
    format!("{name}: mode {mode:o}, {links} links, {size} bytes in {blocks_512}, {sum:08x}")
}

/// What this crate shows of an image.
pub(super) fn of_image(image: Vec<u8>) -> Vec<String> {
    let device: Arc<dyn BlockDevice> = Arc::new(Memory::read_only(image));
    let volume = Volume::open(device, &OpenOptions::default()).unwrap();
    let mut lines = Vec::new();
    let mut directories = vec![(String::new(), crate::InodeNumber::ROOT)];
    while let Some((path, number)) = directories.pop() {
        let directory = volume.inode(number).unwrap();
        let mut entries = Vec::new();
        let mut take = |entry: crate::directory::DirEntry<'_>| {
            entries.push((entry.name.to_vec(), entry.inode));
            std::ops::ControlFlow::Continue(())
        };
        volume.read_dir(&directory, 0, &mut take).unwrap();
        for (name, number) in entries {
            if matches!(name.as_slice(), b"." | b"..") {
                continue;
            }
            let inode = volume.inode(number).unwrap();
            let name = format!("{path}{}", String::from_utf8_lossy(&name));
            let mut content = Vec::new();
            let mut size = inode.size_bytes();
            match inode.file_type() {
                FileType::Regular => {
                    content.resize(size as usize, 0);
                    volume.read(&inode, &mut content, 0).unwrap();
                }
                FileType::Symlink => content = volume.read_link(&inode).unwrap(),
                FileType::Directory => {
                    size = 0;
                    directories.push((format!("{name}/"), number));
                }
                _ => {}
            }
            lines.push(line(
                &name,
                inode.mode().into(),
                inode.links().into(),
                size,
                inode.blocks_512(),
                sum(&content),
            ));
        }
    }
    lines.sort();
    lines
}
