//! What `Options::resolve` answers is what mke2fs puts into its superblock, for the
//! same arguments on a file of the same size.
#![allow(clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output};

use mkfs::options::{Extended, JournalOptions, Size};
use mkfs::{Options, Request, Result, Target};
use tempfile::TempDir;

/// The profile mke2fs is given, so that the host's does not matter.
const PROFILE: &str = include_str!("../src/options/defaults.conf");

/// A value by the name of its field.
type Fields = Vec<(&'static str, u64)>;

/// Every line is the size of the file and arguments; a size after `--` is the one
/// asked for. Both make the same superblock of it.
const SIZES: &str = "
    200K
    400K
    1M
    2047K
    2M
    2100K
    3145727
    3M
    8M
    8193K
    10M
    16400K
    64M
    100M
    511M
    536870911
    512M
    1G
    2G
    5G
    16G
    33G
    70G
    200G
    600G
    64M -b 1024
    64M -b 2048
    64M -b 4096
    64M -b 4k
    64M -b -2048
    1G -b -1024
    64M -b -4096
    1G -b 65536
    300M -b 16384
    64M -b 1024 -- 20000
    64M -b 4096 -- 10000
    64M -- 30000
    64M -- 50M
    64M -- 40001s
    64M -- 33333k
    1G -- 0x10000
    40M -g 2048
    40M -g 8192 -b 4096
    129M -b 4096
    128M1 -b 4096
    130M -b 4096
    134M -b 4096
    9G -T default
    9G -T news
    9G -T largefile
    9G -T largefile4
    9G -T small
    64M -T big
    64M -T huge
    64M -T floppy,largefile
    64M -t ext2
    64M -t ext3
    1G -t ext2 -T largefile4
    1G -t ext3 -T largefile4
    600M -t ext3 -O ^resize_inode -T largefile4
";

const FEATURES: &str = "
    64M -O none
    64M -t ext2 -O none
    64M -O none,extent
    64M -O ^has_journal
    64M -t ext2 -j
    64M -O ^has_journal -j
    64M -O ^has_journal -J size=4
    64M -O ^ext_attr
    64M -O ^resize_inode
    64M -O ^resize_inode,^sparse_super
    64M -O ^dir_index
    64M -O orphan_file
    500M -O orphan_file
    4G -O orphan_file
    20G -O orphan_file -E orphan_file_size=100
    64M -O orphan_file -E orphan_file_size=64K
    64M -O ^filetype
    64M -O ^64bit
    64M -O ^64bit,^extent
    9G -O ^64bit,^extents -T largefile4
    64M -O meta_bg,^resize_inode
    9G -O meta_bg,^resize_inode
    64M -O meta_bg,^resize_inode,^sparse_super,^64bit
    64M -O ^flex_bg
    64M -O metadata_csum_seed
    64M -O large_dir
    64M -O inline_data
    64M -O ea_inode
    64M -O mmp
    64M -O mmp -E mmp_update_interval=30
    64M -O sparse_super2
    200M -O sparse_super2 -b 4096
    64M -O sparse_super2 -b 4096
    64M -O sparse_super2,^resize_inode,^sparse_super
    64M -O sparse_super2 -E num_backup_sb=0
    64M -O sparse_super2 -E num_backup_sb=1
    200M -O sparse_super2 -b 4096 -E num_backup_sb=1
    8500K -O sparse_super2
    64M -O ^large_file
    64M -O ^huge_file
    64M -O uninit_bg
    64M -O uninit_groups,^metadata_csum
    64M -O ^dir_nlink
    64M -O ^extra_isize
    64M -O ^metadata_csum
    64M -O stable_inodes
    64M -O fast_commit
    4G -O fast_commit
    64M -O fast_commit -J size=8,fast_commit_size=100
    64M -O fast_commit -J fast_commit_size=1000
    70G -O fast_commit
    64M -r 0
    64M -r 1
    64M -t ext2 -r 0 -O none
    64M -o hurd
    64M -o hurd -t ext4
    64M -o 2
    64M -o freebsd
    64M -o LITES
";

const NUMBERS: &str = "
    64M -I 128
    64M -I 512
    64M -I 1024
    64M -b 4096 -I 4096 -i 64k
    64M -i 1024
    64M -i 16k
    9G -i 4096
    9G -i 67108864
    64M -i 64m
    64M -N 1
    64M -N 100
    64M -N 12345
    64M -N 50000 -b 4096
    64M -N 100000
    64M -N 200000 -I 128
    300M -N 290000 -b 4096 -I 128
    9G -N 1000000
    64M -m 0
    64M -m 50
    64M -m 0.5
    64M -m 12.34
    100G -m 3.7
    16500K -m 33
    64M -G 1
    64M -G 2
    64M -G 64
    64M -G 1024
    64M -J size=1
    64M -J size=20
    100G -J size=400
    64M -J location=10000
    64M -J size=4,location=5M
    64M -E resize=65M
    64M -E resize=1000000
    64M -E resize=1T
    64M -E resize=10G -O ^resize_inode
    1G -E resize=5000000
    1G -E resize=4T
    9G -E resize=4294967295
    64M -E stride=4,stripe_width=16
    64M -E stripe-width=8
    64M -E stride=0x10
    64M -E test_fs
    64M -E packed_meta_blocks=0
    64M -E root_owner=10:20,lazy_itable_init=0,lazy_journal_init=1,nodiscard
    64M -e panic
    64M -e remount-ro
    64M -e continue
    64M -L label -M /mnt/somewhere
    64M -U clear
    64M -U 6b2d5b3e-5d0f-4d7d-9f5e-0a1b2c3d4e5f -E hash_seed=12345678-9abc-4def-8123-456789abcdef
";

/// Neither makes anything of these.
const REFUSED: &str = "
    8K
    60K
    100K
    64M -b 512
    64M -b 128k
    64M -b x
    64M -I 64
    64M -I 300
    64M -I 2048
    64M -i 1000
    64M -i 100m
    64M -N 5000000000
    64M -N 1000000
    64M -m 51
    64M -m x
    64M -g 100
    64M -g 9000
    64M -g 1001
    64M -G 3
    64M -G 0
    64M -O ^flex_bg -G 4
    64M -O ^extent
    64M -O meta_bg
    64M -O ^sparse_super
    64M -O ^sparse_super,sparse_super2
    64M -O ^metadata_csum,metadata_csum_seed
    64M -O ^has_journal,orphan_file
    64M -O inline_data -I 128
    64M -O compression
    64M -O needs_recovery
    64M -O frobnicate
    64M -O ^none
    64M -r 2
    64M -r 0 -O extent
    64M -r 0 -j
    64M -o beos
    64M -o hurd -O filetype
    64M -E resize=10M
    64M -E resize=x
    64M -E speed=1
    64M -E hash_seed=x
    64M -E mmp_update_interval=301 -O mmp
    64M -E num_backup_sb=3
    64M -E orphan_file_size=0 -O orphan_file
    64M -E offset=4K
    64M -E root_owner=1
    64M -J size=5M
    64M -J size=40
    64M -J speed=1
    64M -U 12
    64M -- 0
    64M -- x
    5T -b 1024 -O ^64bit,^resize_inode
    64M -b 4096 -I 4096
";

#[test]
fn sizes_types_and_block_sizes() {
    agree_on(SIZES);
}

#[test]
fn features_of_all_kinds() {
    agree_on(FEATURES);
}

#[test]
fn numbers_of_all_kinds() {
    agree_on(NUMBERS);
}

#[test]
fn what_mke2fs_refuses_is_refused() {
    if !skipping::have_programs(&["mke2fs"]) {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    for case in cases(REFUSED) {
        let made = make(dir.path(), &case);
        assert!(!made.status.success(), "mke2fs accepts {}", case.line);
        if let Ok(request) = resolve(&case) {
            panic!("{} resolves to {:?}", case.line, request.geometry);
        }
    }
}

#[test]
fn profiles() {
    if !skipping::have_programs(&["mke2fs", "dumpe2fs", "debugfs"]) {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let differences: Vec<String> = PROFILES
        .iter()
        .flat_map(|(line, profile)| {
            let mut case = cases(line).next().expect("a case");
            case.profile = profile;
            differences(dir.path(), &case)
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

const PROFILES: &[(&str, &str)] = &[
    ("64M -t ext2", "[defaults]\n"),
    ("64M", "[defaults]\nfs_type = ext2 # said\n"),
    (
        "1G -t ext4 -T a,b",
        "[fs_types]\next4 = {\nfeatures = extent\n}\na = {\nblocksize = 1024\n\
      base_features = mmp\ninode_size = 512\n}\nb =\n{\nbase_features = \"filetype\"\n}\n",
    ),
    (
        "64M -t ext4",
        "[defaults]\nblocksize = -1\ninode_size = 1024\ninode_ratio = 0x10000\n\
      reserved_ratio = 7.5\nhash_alg = tea\nerrors = remount-ro\nflex_bg_size = 4\n\
      default_mntopts = journal_data_writeback,nobarrier,^acl,discard\n\
      [fs_types]\next4 = {\nfeatures = has_journal,flex_bg\n}\n[options]\nproceed_delay = 1\n",
    ),
    (
        "64M -t ext4 -U 6b2d5b3e-5d0f-4d7d-9f5e-0a1b2c3d4e5f",
        "[defaults]\nenable_periodic_fsck = on\n\
      default_features = ^resize_inode,sparse_super2\nnum_backup_sb = 1\n\
      [fs_types]\next4 = {\nfeatures = extent,metadata_csum\noptions = stride=4,stripe_width=8\n}\n",
    ),
    (
        "64M -t ext4 -O mmp -E stride=16",
        "[fs_types]\next4 = {\nfeatures = extent\n\
      default_features = large_dir\noptions = stride=4\njournal_location = 20000\n}\n",
    ),
    (
        "64M -t backup",
        "[fs_types]\nbackup = {\nfeatures = has_journal,^dir_index\n}\n",
    ),
];

/// Many more, from a simple generator, and sizes no file here can have: what
/// `mke2fs -n -v` says it would do is what is resolved.
#[test]
fn what_mke2fs_would_do() {
    if !skipping::have_programs(&["mke2fs"]) {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let mut differences = Vec::new();
    let mut alike = 0;
    for line in (0..generated_count())
        .map(generated)
        .chain(BEYOND_FILES.lines().map(str::to_owned))
    {
        for mut case in cases(&line) {
            case.arguments.extend([("-n", ""), ("-v", "")]);
            let would = make(dir.path(), &case);
            let text = String::from_utf8_lossy(&would.stdout).into_owned();
            let why = String::from_utf8_lossy(&would.stderr).into_owned();
            case.arguments.truncate(case.arguments.len() - 2);
            match (would.status.success(), resolve(&case)) {
                (true, Ok(request)) => {
                    alike += 1;
                    let ours = announcement(&request);
                    for said in ours.iter().filter(|said| !text.contains(*said)) {
                        differences.push(format!("{line}: {said:?}, mke2fs: {text}"));
                    }
                }
                (true, Err(error)) if !is_stricter(&error.to_string()) => {
                    differences.push(format!("{line}: {error}"));
                }
                (false, Ok(_)) => differences.push(format!("{line}: mke2fs: {why}")),
                _ => {}
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(alike > 20, "mke2fs made only {alike}");
}

/// mke2fs keeps a descriptor of every group in memory, which bounds what it can be
/// asked about.
const BEYOND_FILES: &str = "
    64M -- 4T
    64M -- 15T
    64M -- 17T
    64M -- 100T
    64M -- 190T
    64M -- 200T
    64M -b 65536 -- 4000T
    64M -O ^64bit -- 17T
    64M -t ext2 -b 65536 -- 100T
    64M -- 1048576T
    64M -O ^sparse_super,^resize_inode -- 30T
    64M -i 1024 -- 30T
";

/// Refusals of what mke2fs makes: features nobody could use, file systems too
/// small for inode 11, and wishes it overlooks.
fn is_stricter(refusal: &str) -> bool {
    [
        "ext_attr",
        "fast_commit needs",
        "too few for a file system",
        "for a journal",
    ]
    .iter()
    .any(|part| refusal.contains(part))
}

/// Enough for every day; EXTMAP_MKFS_CASES asks for more.
fn generated_count() -> u64 {
    let count = std::env::var("EXTMAP_MKFS_CASES");
    count.map_or(60, |count| count.parse().expect("a number"))
}

/// A case made of its number.
fn generated(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let mut pick = |among: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % among
    };
    let kib = (1 << (6 + pick(25))) + pick(1 << 20) * pick(3) + pick(70_000);
    let mut line = String::from("64M");
    let mut add = |words: String| {
        line.push(' ');
        line.push_str(&words);
    };
    if pick(2) == 0 {
        add(format!("-b {}", 1024 << pick(7)));
    }
    if pick(3) == 0 {
        add(format!("-I {}", 128 << pick(5)));
    }
    match pick(6) {
        0 => {
            let most = 1 << (4 + pick(26));
            add(format!("-N {}", pick(most) + 1));
        }
        1 => add(format!("-i {}", 1024 << pick(14))),
        _ => {}
    }
    if pick(5) == 0 {
        let most = 1 << (3 + pick(10));
        add(format!("-g {}", 256 + 8 * pick(most)));
    }
    if pick(4) == 0 {
        add(format!("-m {}.{}", pick(50), pick(100)));
    }
    if pick(4) == 0 {
        add(format!("-t ext{}", 2 + pick(3)));
    }
    let features = [
        "^has_journal",
        "^resize_inode",
        "^64bit",
        "^extent",
        "meta_bg",
        "^sparse_super",
        "sparse_super2",
        "^flex_bg",
        "^metadata_csum",
        "uninit_bg",
        "inline_data",
        "mmp",
        "fast_commit",
        "^ext_attr",
    ];
    let chosen: Vec<&str> = features.into_iter().filter(|_| pick(6) == 0).collect();
    if !chosen.is_empty() {
        add(format!("-O {}", chosen.join(",")));
    }
    add(format!("-- {kib}k"));
    line
}

/// Parts of what `mke2fs -v` announces.
fn announcement(request: &Request) -> Vec<String> {
    let shape = &request.geometry;
    let inodes = u64::from(shape.inodes_per_group) * u64::from(shape.groups);
    let groups = match shape.groups {
        1 => "1 block group\n".to_owned(),
        groups => format!("\n{groups} block groups\n"),
    };
    vec![
        format!("Block size={} ", shape.block_bytes),
        format!("\n{inodes} inodes, {} blocks\n", shape.blocks),
        format!("\n{} blocks (", shape.reserved_blocks),
        format!("First data block={}\n", shape.first_data_block),
        groups,
        format!("\n{} blocks per group", shape.blocks_per_group),
        format!("\n{} inodes per group\n", shape.inodes_per_group),
    ]
}

fn agree_on(table: &str) {
    if !skipping::have_programs(&["mke2fs", "dumpe2fs", "debugfs"]) {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let differences: Vec<String> = cases(table)
        .flat_map(|case| differences(dir.path(), &case))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What differs between the image mke2fs makes and what is resolved.
fn differences(dir: &Path, case: &Case<'_>) -> Vec<String> {
    let made = make(dir, case);
    assert!(
        made.status.success(),
        "mke2fs {}: {}",
        case.line,
        String::from_utf8_lossy(&made.stderr)
    );
    let theirs = fields_of_image(&dir.join("image"), case);
    let ours = match resolve(case) {
        Ok(request) => fields_of_request(&request, case),
        Err(error) => return vec![format!("{}: {error}", case.line)],
    };
    assert_eq!(ours.len(), theirs.len());
    ours.iter()
        .zip(&theirs)
        .filter(|(our, their)| our != their)
        .map(|(our, their)| format!("{}: {our:?}, mke2fs {their:?}", case.line))
        .collect()
}

struct Case<'a> {
    line: &'a str,
    file_bytes: u64,
    arguments: Vec<(&'a str, &'a str)>,
    size: Option<&'a str>,
    profile: &'a str,
}

impl<'a> Case<'a> {
    fn argument(&self, letter: &str) -> Option<&'a str> {
        let mut found = self.arguments.iter().filter(|(key, _)| *key == letter);
        found.next().map(|(_, value)| *value)
    }
}

fn cases(table: &str) -> impl Iterator<Item = Case<'_>> {
    let lines = table.lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).map(|line| {
        let mut words = line.split_whitespace();
        let size = words.next().expect("a size");
        // "128M1" is a byte more.
        let (size, more) = size
            .split_once('M')
            .filter(|(_, more)| !more.is_empty())
            .map_or((size.to_owned(), 0), |(mib, more)| {
                (format!("{mib}M"), more.parse().expect("a number"))
            });
        let mut case = Case {
            line,
            file_bytes: size
                .parse::<Size>()
                .expect("a size")
                .in_bytes(1)
                .expect("a size")
                + more,
            arguments: Vec::new(),
            size: None,
            profile: PROFILE,
        };
        while let Some(word) = words.next() {
            match word {
                "--" => case.size = words.next(),
                "-j" => case.arguments.push((word, "")),
                key => case.arguments.push((key, words.next().expect("a value"))),
            }
        }
        case
    })
}

fn make(dir: &Path, case: &Case<'_>) -> Output {
    let (image, profile) = (dir.join("image"), dir.join("profile"));
    std::fs::write(&profile, case.profile).expect("the profile is written");
    let file = File::create(&image).expect("the image is made");
    file.set_len(case.file_bytes).expect("the image is sparse");
    let mut command = Command::new("mke2fs");
    command.env("MKE2FS_CONFIG", profile).env("LC_ALL", "C");
    command.args(["-q", "-F"]);
    for (key, value) in &case.arguments {
        command.arg(key);
        if !value.is_empty() {
            command.arg(value);
        }
    }
    command.arg(&image).args(case.size);
    command.output().expect("mke2fs runs")
}

/// The command line's work: strings to options.
fn options(case: &Case<'_>) -> Result<Options> {
    let number = |value: &str| value.parse().expect("a number");
    let mut options = Options::default();
    if case.profile != PROFILE {
        options.profile = Some(case.profile.parse()?);
    }
    for &(key, value) in &case.arguments {
        match key {
            "-b" => options.block_size = Some(value.parse()?),
            "-g" => options.blocks_per_group = Some(number(value)),
            "-G" => options.groups_per_flex = Some(number(value)),
            "-I" => options.inode_bytes = Some(number(value)),
            "-i" => options.bytes_per_inode = Some(value.parse()?),
            "-N" => options.inodes = Some(value.parse().expect("a number")),
            "-j" => options.journal = true,
            "-J" => {
                let list: JournalOptions = value.parse()?;
                options.journal_options = options.journal_options.and(list);
            }
            "-L" => options.label = value.into(),
            "-M" => options.last_mounted = value.into(),
            "-m" => options.reserved_percent = Some(value.parse()?),
            "-e" => options.errors_behavior = Some(value.parse()?),
            "-o" => options.creator_os = value.parse()?,
            "-O" => options.features.extend(value.parse()?),
            "-r" => options.revision = Some(number(value)),
            "-t" => options.fs_type = Some(value.to_owned()),
            "-T" => options.usage_types = value.parse()?,
            "-U" => options.uuid = value.parse()?,
            "-E" => {
                let list: Extended = value.parse()?;
                options.extended = options.extended.and(list);
            }
            key => panic!("no option {key}"),
        }
    }
    Ok(options)
}

fn resolve(case: &Case<'_>) -> Result<Request> {
    let options = options(case)?;
    let size_bytes = match case.size {
        Some(size) => size.parse::<Size>()?.in_bytes(options.size_unit_bytes())?,
        None => case.file_bytes,
    };
    options.resolve(&Target {
        size_bytes,
        explicit_size: case.size.is_some(),
        ..Target::default()
    })
}

fn fields_of_request(request: &Request, case: &Case<'_>) -> Fields {
    let (shape, identity) = (&request.geometry, &request.identity);
    let journal = shape.journal;
    let mut fields = vec![
        (
            "inodes",
            u64::from(shape.inodes_per_group) * u64::from(shape.groups),
        ),
        ("blocks", shape.blocks),
        ("reserved blocks", shape.reserved_blocks),
        ("first data block", shape.first_data_block.into()),
        ("block bytes", shape.block_bytes.into()),
        ("blocks per group", shape.blocks_per_group.into()),
        ("inodes per group", shape.inodes_per_group.into()),
        (
            "mounts between checks",
            u64::from(shape.max_mount_count.cast_unsigned()),
        ),
        ("on errors", shape.errors_behavior.into()),
        ("check interval", shape.check_interval_seconds.into()),
        ("creator", shape.creator_os.into()),
        ("revision", shape.revision.into()),
        ("first inode", shape.first_inode.into()),
        ("inode bytes", shape.inode_bytes.into()),
        ("compat", shape.features.compat.bits().into()),
        ("incompat", shape.features.incompat.bits().into()),
        ("ro_compat", shape.features.ro_compat.bits().into()),
        ("reserved GDT blocks", shape.reserved_gdt_blocks.into()),
        ("hash version", shape.hash_version.into()),
        ("descriptor bytes", shape.descriptor_bytes.into()),
        ("mount options", shape.default_mount_options.into()),
        ("first meta_bg", shape.first_meta_bg.into()),
        ("min extra isize", shape.extra_isize.into()),
        ("want extra isize", shape.extra_isize.into()),
        ("flags", shape.superblock_flags.into()),
        ("stride", shape.raid_stride.into()),
        ("mmp interval", shape.mmp_interval_seconds.into()),
        ("stripe width", shape.raid_stripe_width.into()),
        ("groups per flex", shape.log_groups_per_flex.into()),
        ("backup group 0", shape.backup_groups[0].into()),
        ("backup group 1", shape.backup_groups[1].into()),
        (
            "journal",
            journal.map_or(0, |journal| journal.blocks.into()),
        ),
        (
            "fast commit",
            journal.map_or(0, |journal| journal.fast_commit_blocks.into()),
        ),
        ("orphan file", shape.orphan_file_blocks.into()),
        ("label", sum(&identity.label)),
        ("last mounted", sum(&identity.last_mounted)),
    ];
    if case.argument("-U").is_some() {
        fields.push(("uuid", sum(identity.uuid.as_bytes())));
    }
    if case.line.contains("hash_seed") {
        fields.push(("hash seed", sum(identity.hash_seed.as_bytes())));
    }
    fields
}

fn fields_of_image(image: &Path, case: &Case<'_>) -> Fields {
    let mut bytes = [0; 1024];
    let file = File::open(image).expect("the image opens");
    file.read_exact_at(&mut bytes, 1024).expect("a superblock");
    let superblock = Superblock(bytes);
    let block_bytes = 1024_u64 << superblock.number(0x18, 4);
    let journal = dumpe2fs(image);
    let mut fields = vec![
        ("inodes", superblock.number(0x0, 4)),
        (
            "blocks",
            superblock.number(0x4, 4) | superblock.number(0x150, 4) << 32,
        ),
        (
            "reserved blocks",
            superblock.number(0x8, 4) | superblock.number(0x154, 4) << 32,
        ),
        ("first data block", superblock.number(0x14, 4)),
        ("block bytes", block_bytes),
        ("blocks per group", superblock.number(0x20, 4)),
        ("inodes per group", superblock.number(0x28, 4)),
        ("mounts between checks", superblock.number(0x36, 2)),
        ("on errors", superblock.number(0x3c, 2)),
        ("check interval", superblock.number(0x44, 4)),
        ("creator", superblock.number(0x48, 4)),
        ("revision", superblock.number(0x4c, 4)),
        ("first inode", superblock.number(0x54, 4)),
        ("inode bytes", superblock.number(0x58, 2)),
        ("compat", superblock.number(0x5c, 4)),
        ("incompat", superblock.number(0x60, 4)),
        ("ro_compat", superblock.number(0x64, 4)),
        ("reserved GDT blocks", superblock.number(0xce, 2)),
        ("hash version", superblock.number(0xfc, 1)),
        ("descriptor bytes", superblock.number(0xfe, 2).max(32)),
        ("mount options", superblock.number(0x100, 4)),
        ("first meta_bg", superblock.number(0x104, 4)),
        ("min extra isize", superblock.number(0x15c, 2)),
        ("want extra isize", superblock.number(0x15e, 2)),
        ("flags", superblock.number(0x160, 4)),
        ("stride", superblock.number(0x164, 2)),
        ("mmp interval", superblock.number(0x166, 2)),
        ("stripe width", superblock.number(0x170, 4)),
        ("groups per flex", superblock.number(0x174, 1)),
        ("backup group 0", superblock.number(0x24c, 4)),
        ("backup group 1", superblock.number(0x250, 4)),
        ("journal", journal("Total journal blocks:")),
        ("fast commit", journal("Fast commit length:")),
        (
            "orphan file",
            orphan_file_bytes(image, superblock.number(0x280, 4)) / block_bytes,
        ),
        ("label", sum(&superblock.0[0x78..0x88])),
        ("last mounted", sum(&superblock.0[0x88..0xc8])),
    ];
    if case.argument("-U").is_some() {
        fields.push(("uuid", sum(&superblock.0[0x68..0x78])));
    }
    if case.line.contains("hash_seed") {
        fields.push(("hash seed", sum(&superblock.0[0xec..0xfc])));
    }
    fields
}

struct Superblock([u8; 1024]);

impl Superblock {
    fn number(&self, offset: usize, len: usize) -> u64 {
        let bytes = self.0[offset..offset + len].iter().rev();
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// A number for some bytes; zeros at the end do not change it.
fn sum(bytes: &[u8]) -> u64 {
    let places = bytes.iter().enumerate();
    places.fold(0, |sum, (place, byte)| {
        sum + (place as u64 + 1).pow(3) * u64::from(*byte)
    })
}

/// What dumpe2fs says about the journal; 0 for what it does not mention.
fn dumpe2fs(image: &Path) -> impl Fn(&str) -> u64 + use<> {
    let output = Command::new("dumpe2fs")
        .env("LC_ALL", "C")
        .arg("-h")
        .arg(image)
        .output()
        .expect("dumpe2fs runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    move |label| {
        text.lines()
            .find_map(|line| line.strip_prefix(label))
            .map_or(0, |value| value.trim().parse().expect("a number"))
    }
}

fn orphan_file_bytes(image: &Path, inode: u64) -> u64 {
    if inode == 0 {
        return 0;
    }
    let output = Command::new("debugfs")
        .args(["-R", &format!("stat <{inode}>")])
        .arg(image)
        .output()
        .expect("debugfs runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace();
    words
        .find(|word| *word == "Size:")
        .and_then(|_| words.next())
        .and_then(|size| size.parse().ok())
        .expect("a size")
}
