//! Threads whose inodes share blocks and values.

use super::*;

/// Each thread changes files of its own, to the same few values, and takes every third
/// change back.
#[test]
fn what_is_shared_is_counted_right() {
    const THREADS: u32 = 4;
    const FILES: u32 = 6;
    for options in [
        &["-I", "128", "-b", "1024"][..],
        &["-I", "256", "-b", "1024", "-O", "ea_inode"],
    ] {
        let Some(fixture) = fixture(options, THREADS * FILES) else {
            return;
        };
        let writer = &fixture.writer;
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    let mut random = Random(u64::from(thread) * 77 + 5);
                    for step in 0..150 {
                        let number = file(thread * FILES + random.below(FILES as usize) as u32);
                        let name = random.pick(&[&b"user.a"[..], b"user.b"]);
                        let value = value(0, random.pick(&[100, 200, 2000]));
                        let mut change = writer.begin(credits(&writer.store)).unwrap();
                        let _ = match random.below(4) {
                            0 => remove(&mut change, number, name),
                            _ => set(&mut change, number, name, &value, XattrSet::Any),
                        };
                        std::thread::yield_now();
                        if step % 3 == 0 {
                            drop(change);
                        } else {
                            change.finish();
                        }
                        if step % 40 == 0 {
                            writer.sync().unwrap();
                        }
                    }
                });
            }
        });
        for index in 0..THREADS * FILES {
            read_all(&fixture, file(index));
        }
        fixture.close();
    }
}
