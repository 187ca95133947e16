//! Random changes against a model.

use super::*;
use crate::error::ErrorKind;
use crate::inline_edit;

const FILES: u32 = 12;
const NAMES: [&str; 8] = [
    "user.a",
    "user.name",
    "user.another-name-that-is-longer",
    "trusted.t",
    "security.selinux",
    "user.b",
    "system.posix_acl_access",
    "system.posix_acl_default",
];

/// ACLs that differ by `kind`, of 3 to 3 + 2 * `people` entries.
fn acl(kind: u8, people: u8) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    let mut entry = |tag: u8, id: [u8; 4]| bytes.extend([[tag, 0, 7, 0], id].concat());
    let nobody = [255; 4];
    entry(1, nobody);
    (0..people).for_each(|person| entry(2, [person, kind, 0, 0]));
    entry(4, nobody);
    (0..people).for_each(|person| entry(8, [person, kind, 1, 0]));
    if people > 0 {
        entry(0x10, nobody);
    }
    entry(0x20, nobody);
    bytes
}

struct Model {
    fixture: Fixture,
    random: Random,
    expected: BTreeMap<InodeNumber, Attributes>,
    sizes: Vec<usize>,
    has_inline: bool,
}

impl Model {
    fn step(&mut self) {
        let number = file(self.random.below(FILES as usize) as u32);
        let name = self.random.pick(&NAMES);
        let keep = self.random.below(6) != 0;
        let before = self.expected.get(&number).cloned().unwrap_or_default();
        let mut after = before.clone();
        let writer = &self.fixture.writer;
        let mut change = writer.begin(credits(&writer.store)).unwrap();
        let result = match self.random.below(10) {
            0..=5 => {
                let kind = self.random.below(2) as u8;
                let value = if name.starts_with("system") {
                    acl(kind, self.random.pick(&[0, 1, 3, 40]))
                } else {
                    value(kind, self.random.pick(&self.sizes))
                };
                let mode = self.random.pick(&[
                    XattrSet::Any,
                    XattrSet::Any,
                    XattrSet::Create,
                    XattrSet::Replace,
                ]);
                after.insert(name.as_bytes().to_vec(), value.clone());
                set(&mut change, number, name.as_bytes(), &value, mode)
            }
            6..=7 => {
                after.remove(name.as_bytes());
                remove(&mut change, number, name.as_bytes())
            }
            8 if self.has_inline => {
                let content = value(1, self.random.below(300));
                let size = content.len() as u64;
                inline_edit::set_inline(&mut change, number, &content).map(|fits| {
                    if fits {
                        let set = change.edit_inode(number, |edit| edit.set_size(size));
                        set.map(|_| ()).unwrap();
                    }
                })
            }
            _ => {
                // Several at once: the lock is taken again.
                let mut both = || {
                    remove_all(&mut change, number)?;
                    let names: Vec<_> = before.keys().cloned().collect();
                    for name in &names {
                        match remove(&mut change, number, name) {
                            Err(error) if matches!(error.kind(), ErrorKind::NoAttribute) => {}
                            other => other?,
                        }
                    }
                    set(&mut change, number, b"user.a", b"", XattrSet::Create)
                };
                after = Attributes::from([(b"user.a".to_vec(), Vec::new())]);
                both()
            }
        };
        if let Err(error) = &result {
            let is_expected = matches!(
                error.kind(),
                ErrorKind::Exists
                    | ErrorKind::NoAttribute
                    | ErrorKind::TooLarge(_)
                    | ErrorKind::NoSpace
            );
            assert!(is_expected, "{error}");
            after = before.clone();
        }
        if keep && result.is_ok() {
            change.finish();
        } else {
            drop(change);
            after = before;
        }
        assert!(read_all(&self.fixture, number) == after, "inode {number}");
        self.expected.insert(number, after);
    }

    fn check_all(&self) {
        for (number, attributes) in &self.expected {
            assert!(read_all(&self.fixture, *number) == *attributes);
        }
    }
}

/// Random changes with values of these sizes; then e2fsck and debugfs judge.
fn run(options: &[&str], sizes: &[usize], steps: usize) {
    let Some(fixture) = fixture(options, FILES) else {
        return;
    };
    let counts = fixture.writer.space.counts();
    let mut model = Model {
        fixture,
        random: Random(
            options
                .concat()
                .bytes()
                .fold(88172645463325252, |seed, byte| {
                    seed.rotate_left(7) ^ u64::from(byte)
                }),
        ),
        expected: BTreeMap::new(),
        sizes: sizes.to_vec(),
        has_inline: options.contains(&"inline_data"),
    };
    for step in 0..steps {
        model.step();
        if step % 50 == 0 {
            model.fixture.writer.sync().unwrap();
        }
    }
    model.check_all();
    let taken = counts.blocks - model.fixture.writer.space.counts().blocks;
    let image = model.fixture.close();
    debugfs::assert_reads(&image, &model.expected);
    // Opened again, all is given back.
    let fixture = Fixture::of(image);
    let writer = &fixture.writer;
    for number in model.expected.keys() {
        let mut change = writer.begin(credits(&writer.store)).unwrap();
        remove_all(&mut change, *number).unwrap();
        change.finish();
    }
    assert_eq!(writer.space.counts(), counts, "{taken} blocks were taken");
    fixture.close();
}

const SMALL: [usize; 8] = [0, 1, 3, 4, 17, 30, 44, 60];
const MIDDLE: [usize; 8] = [0, 5, 30, 100, 200, 400, 900, 3000];
const LARGE: [usize; 10] = [0, 5, 60, 400, 920, 4000, 4200, 20_000, 65_535, 65_536];

#[test]
fn in_inodes() {
    run(&["-I", "1024", "-b", "4096"], &SMALL, 400);
}

#[test]
fn in_blocks() {
    for options in [
        &["-I", "128", "-b", "1024"][..],
        &["-I", "256", "-b", "1024"],
        &["-I", "256", "-b", "4096"],
        &["-I", "256", "-b", "1024", "-O", "^metadata_csum,^64bit"],
        &["-t", "ext2", "-I", "256"],
        &["-t", "ext3", "-I", "128", "-O", "^ext_attr"],
    ] {
        run(options, &MIDDLE, 250);
    }
}

#[test]
fn in_ea_inodes() {
    for options in [
        &["-O", "ea_inode", "-I", "256", "-b", "1024"][..],
        &["-O", "ea_inode", "-I", "128", "-b", "4096"],
        &["-O", "ea_inode,^metadata_csum", "-I", "512", "-b", "4096"],
        &["-O", "ea_inode,^extents,^64bit", "-I", "256", "-b", "1024"],
        &["-O", "ea_inode,^has_journal", "-I", "1024", "-b", "1024"],
    ] {
        run(options, &LARGE, 200);
    }
}

#[test]
fn beside_inline_data() {
    for bytes in ["256", "512", "1024"] {
        run(
            &["-O", "inline_data", "-I", bytes, "-b", "1024"],
            &MIDDLE,
            300,
        );
    }
    let options = [
        "-O",
        "inline_data",
        "-O",
        "inline_data,ea_inode",
        "-I",
        "512",
    ];
    run(&options, &LARGE, 200);
}
