//! Directories damaged at random: changes fail or not, but end, and nothing panics.

use super::{Random, Subject};
use crate::directory::{self, blocks};
use crate::types::{FileBlock, FileType, InodeNumber};

#[test]
fn changes_of_damaged_directories_end() {
    for (features, names) in [("^metadata_csum", 150), ("^metadata_csum,^dir_index", 60)] {
        let options = ["-t", "ext4", "-b", "1024", "-O", features];
        let Some(mut subject) = Subject::new(&options, "8M") else {
            return;
        };
        for number in 0..names {
            subject.add(format!("{number:0>40}").as_bytes()).unwrap();
        }
        let mut random = Random::new(31);
        let writer = &subject.fixture.writer;
        for _ in 0..400 {
            let directory = subject.inode();
            let store = &writer.store;
            let mut change = writer.begin(64).unwrap();
            let count = blocks::count(store, &directory).unwrap();
            for _ in 0..1 + random.below(3) {
                let number = random.below(2) * random.below(count);
                let place = blocks::place(store, &directory, FileBlock(number)).unwrap();
                let limit = [64, 1024][random.below(2) as usize];
                let at = random.below(limit) as usize;
                let any = random.below(256) as u8;
                let value = [0, 1, 0xFF, any][random.below(4) as usize];
                change
                    .modify(
                        place,
                        blocks::role(&directory, FileBlock(1 << 20)),
                        |_| Ok(()),
                        |bytes| {
                            bytes[at] = value;
                            Ok(())
                        },
                    )
                    .unwrap();
            }
            for number in 0..4 {
                let name = format!("{:0>40}", random.below(names));
                let target = InodeNumber::ROOT;
                let kind = FileType::Regular;
                let new = format!("new{number:0>180}");
                let _ = directory::remove(&mut change, subject.number, name.as_bytes());
                let _ = directory::add(&mut change, subject.number, new.as_bytes(), target, kind);
                let _ = directory::replace(&mut change, subject.number, b"..", target, kind);
                let directory = subject.inode();
                let _ = directory::lookup(store, &directory, name.as_bytes());
                let _ = directory::list(store, &directory, 0, &mut |_| {
                    std::ops::ControlFlow::Continue(())
                });
            }
            // Dropped: all is as before.
        }
        subject.check();
        subject.close();
    }
}
