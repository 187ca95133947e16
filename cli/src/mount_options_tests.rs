//! What is said after `-o`, and what is made of it.

use super::*;

fn person(list: &str) -> Result<MountOptions, String> {
    MountOptions::parse(&[list], Caller::Person)
}

fn helper(list: &str) -> Result<MountOptions, String> {
    MountOptions::parse(&[list], Caller::MountHelper { sloppy: false })
}

fn refused(list: &str) -> String {
    person(list).expect_err(list)
}

#[test]
fn nothing_said_is_the_default() {
    assert_eq!(person(""), Ok(MountOptions::default()));
    let read = Ok(MountOptions {
        intent: Intent::Read,
        ..MountOptions::default()
    });
    assert_eq!(person("ro"), read);
    assert_eq!(person(",,ro,"), read);
}

#[test]
fn noise_of_fstab_is_accepted() {
    let list = "defaults,auto,noauto,user,user=joe,users,nouser,nofail,_netdev,\
                x-systemd.automount,x-gvfs-name=a=b,X-mount.mkdir,comment=anything";
    assert_eq!(person(list), Ok(MountOptions::default()));
    assert_eq!(helper(list), Ok(MountOptions::default()));
}

#[test]
fn values_reach_their_fields() {
    let options = person(
        "ro,offset=1M,sb=32768,noload,allow_other,default_permissions,uid=1000,gid=0,\
         umask=022,threads=4,cache=64M,fsname=disk",
    );
    let expected = MountOptions {
        offset_bytes: Some(1 << 20),
        partition: None,
        superblock_kib: Some(32768),
        norecovery: true,
        access: Access::Other,
        default_permissions: true,
        uid: Some(1000),
        gid: Some(0),
        umask: Some(0o022),
        threads: NonZeroUsize::new(4),
        cache_bytes: Some(64 << 20),
        fs_name: Some("disk".into()),
        iomap: IomapWish::Auto,
        intent: Intent::Read,
        writing: Writing::default(),
        flags: VfsFlags::default(),
    };
    assert_eq!(options, Ok(expected));
}

#[test]
fn every_flag_and_its_opposite() {
    type Field = fn(&VfsFlags) -> Option<bool>;
    let flags: &[(&str, &str, Field)] = &[
        ("suid", "nosuid", |f| f.suid),
        ("dev", "nodev", |f| f.dev),
        ("exec", "noexec", |f| f.exec),
        ("atime", "noatime", |f| f.atime),
    ];
    for (on, off, field) in flags {
        assert_eq!(field(&person(on).expect(on).flags), Some(true), "{on}");
        assert_eq!(field(&person(off).expect(off).flags), Some(false), "{off}");
        let both = person(&format!("{on},{off}")).expect(on);
        assert_eq!(field(&both.flags), Some(false), "the later of {on},{off}");
        let alone = person("ro").expect("ro");
        assert_eq!(field(&alone.flags), None, "{on} not said");
    }
}

#[test]
fn flags_about_times_of_access_are_accepted() {
    for flag in IDLE_FLAGS {
        assert_eq!(person(flag), Ok(MountOptions::default()), "{flag}");
    }
}

#[test]
fn aliases_mean_the_same() {
    assert_eq!(person("noload"), person("norecovery"));
}

#[test]
fn people_insist_on_writing_and_mount_does_not() {
    assert_eq!(person("").expect("").intent, Intent::Either);
    assert_eq!(person("ro,rw").expect("rw").intent, Intent::Write);
    assert_eq!(person("rw,ro").expect("ro").intent, Intent::Read);
    let options = helper("rw,dev,suid").expect("rw");
    assert_eq!(options.intent, Intent::Either);
    assert_eq!(options.flags.suid, Some(true));
    assert!(refused("rw,norecovery").contains("for reading"));
    assert!(refused("sb=8193,rw").contains("for reading"));
}

#[test]
fn who_moves_content() {
    assert_eq!(person("").expect("").iomap, IomapWish::Auto);
    let options = person("iomap=never,iomap=always").expect("always");
    assert_eq!(options.iomap, IomapWish::Always);
    assert!(refused("iomap=perhaps").contains("'always'"));
    assert!(refused("iomap").contains("needs a value"));
    assert!(refused("iomap=always,writethrough").contains("exclude"));
}

#[test]
fn how_changes_are_made() {
    let list = "errors=remount-ro,discard,writethrough,sync,askopen,loop=never,commit=7";
    let expected = Writing {
        errors: Some(OnErrors::RemountReadOnly),
        discard: true,
        writethrough: true,
        sync: true,
        ask_opens: true,
        no_loop: true,
        commit_seconds: Some(7),
    };
    assert_eq!(person(list).expect(list).writing, expected);
    let undone = "discard,nodiscard,sync,async,loop=never,loop=auto,commit=5,commit=0";
    assert_eq!(person(undone).expect(undone).writing, Writing::default());
    for wrong in [
        "errors=",
        "errors=stop",
        "commit=-1",
        "commit=86401",
        "commit=x",
        "loop",
        "loop=always",
    ] {
        assert!(refused(wrong).contains(wrong), "{wrong}");
    }
}

#[test]
fn unknown_options_are_named() {
    assert_eq!(refused("foo"), "unknown mount option 'foo'");
    assert_eq!(refused("ro,foo=bar"), "unknown mount option 'foo=bar'");
    assert_eq!(refused("ro=1"), "unknown mount option 'ro=1'");
    assert_eq!(refused("RO"), "unknown mount option 'RO'");
    assert_eq!(refused(" ro"), "unknown mount option ' ro'");
    assert_eq!(helper("rw,foo"), Err("unknown mount option 'foo'".into()));
}

#[test]
fn sloppy_ignores_the_unknown_but_not_the_wrong() {
    let sloppy = Caller::MountHelper { sloppy: true };
    assert!(MountOptions::parse(&["foo,bar=1,ro"], sloppy).is_ok());
    assert!(MountOptions::parse(&["threads=0"], sloppy).is_err());
}

#[test]
fn missing_values_are_named() {
    for name in [
        "offset",
        "partition",
        "sb",
        "uid",
        "gid",
        "umask",
        "threads",
        "cache",
        "fsname",
        "errors",
        "commit",
    ] {
        let expected = format!("mount option '{name}' needs a value");
        assert_eq!(refused(name), expected);
        assert!(refused(&format!("{name}=")).contains(&format!("'{name}='")));
    }
}

#[test]
fn conflicts_are_refused() {
    assert!(refused("offset=512,partition=1").contains("exclude each other"));
    assert!(refused("partition=1,offset=0").contains("exclude each other"));
    assert!(refused("allow_other,allow_root").contains("exclude each other"));
    assert!(person("allow_other,allow_other").is_ok());
    assert_eq!(person("allow_root").expect("root").access, Access::Root);
}

#[test]
fn boundaries_of_numbers() {
    let good = [
        "offset=0",
        "offset=18446744073709551615",
        "partition=1",
        "partition=4294967295",
        "sb=1",
        "uid=0",
        "uid=4294967294",
        "gid=4294967294",
        "umask=0",
        "umask=777",
        "umask=0777",
        "threads=1",
        "threads=256",
        "cache=1M",
        "cache=1048576",
        "cache=64G",
    ];
    for option in good {
        assert!(person(option).is_ok(), "{option}");
    }
    let bad = [
        "offset=18446744073709551616",
        "offset=-1",
        "offset=x",
        "partition=0",
        "partition=4294967296",
        "partition=1k",
        "sb=0",
        "sb=18446744073709551615",
        "uid=-1",
        "uid=4294967295",
        "uid=root",
        "gid=4294967295",
        "umask=8",
        "umask=1000",
        "umask=+7",
        "umask=0x7",
        "threads=0",
        "threads=257",
        "threads=-1",
        "cache=0",
        "cache=1048575",
        "cache=65G",
        "cache=lots",
    ];
    for option in bad {
        assert!(refused(option).contains(&format!("'{option}'")), "{option}");
    }
}

#[test]
fn several_lists_are_one() {
    let lists = ["ro,threads=2", "threads=3"];
    let options = MountOptions::parse(&lists, Caller::Person).expect("lists");
    assert_eq!(options.threads, NonZeroUsize::new(3));
}
