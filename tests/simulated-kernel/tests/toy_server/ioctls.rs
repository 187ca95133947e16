//! Every errno of the device's ioctls (1.2, 2.2, 2.3).

use std::sync::Arc;

use simulated_kernel::numbers::ioctl;
use simulated_kernel::wire::{BackingInfo, BackingMap, Support};
use simulated_kernel::{Descriptor, Errno, Variant};
use zerocopy::{FromBytes, IntoBytes};

use crate::toy::{FD, Mounted, Options, VARIANTS};

const OTHER_FD: i32 = 8;
const PATH_FD: i32 = 9;

fn support(mounted: &Mounted) -> Result<u64, Errno> {
    let mut answer = [0; 16];
    mounted.handle.ioctl(ioctl::IOMAP_SUPPORT, &mut answer)?;
    Ok(Support::read_from_bytes(&answer).unwrap().flags)
}

fn open(mounted: &Mounted, map: BackingMap) -> Result<u32, Errno> {
    let mut map = map;
    mounted
        .handle
        .ioctl(ioctl::BACKING_OPEN, map.as_mut_bytes())
}

#[test]
fn support_is_told_before_the_mount() {
    for (change, answer) in [
        ((|_| {}) as fn(&mut Options), Ok(3)),
        (|options| options.settings.enabled = false, Ok(0)),
        (|options| options.settings.capable = false, Ok(0)),
        (
            |options| options.settings.compiled_in = false,
            Err(Errno::OPNOTSUPP),
        ),
        (
            |options| options.settings.knows_iomap = false,
            Err(Errno::NOTTY),
        ),
    ] {
        let mut options = Options::new(Variant::L);
        change(&mut options);
        assert_eq!(support(&Mounted::connect(options)), answer);
    }
}

#[test]
fn granting_and_the_rest() {
    for variant in VARIANTS {
        let mounted = Mounted::connect(Options::new(variant));
        let call = |command, argument: &mut [u8]| mounted.handle.ioctl(command, argument);
        assert_eq!(call(ioctl::ADD_IOMAP, &mut []), Ok(0));
        assert_eq!(call(0x1234, &mut []), Err(Errno::NOTTY));
        mounted.kernel.mount().unwrap();
        mounted.kernel.wait_ready().unwrap();
        let late = match variant {
            Variant::S => Ok(0),
            Variant::L => Err(Errno::INVAL),
        };
        assert_eq!(call(ioctl::ADD_IOMAP, &mut []), late);
        assert_eq!(call(ioctl::SYNC_INIT, &mut []), Err(Errno::INVAL));
        assert_eq!(call(ioctl::SET_NOFS, &mut 1u32.to_ne_bytes()), Ok(0));
        assert_eq!(
            call(ioctl::SET_NOFS, &mut 2u32.to_ne_bytes()),
            Err(Errno::INVAL)
        );
        assert_eq!(call(ioctl::SET_NOFS, &mut [1]), Err(Errno::FAULT));
        assert_eq!(mounted.kernel.counts().nofs_threads, 1);
    }
    let mut options = Options::new(Variant::S);
    options.settings.capable = false;
    let mounted = Mounted::connect(options);
    assert_eq!(
        mounted.handle.ioctl(ioctl::ADD_IOMAP, &mut []),
        Err(Errno::PERM)
    );
}

#[test]
fn registering_devices() {
    for variant in VARIANTS {
        let mounted = Mounted::new(Options::new(variant));
        mounted.kernel.plug(OTHER_FD, Descriptor::Other);
        let device = Arc::clone(&mounted.device);
        mounted.kernel.plug(PATH_FD, Descriptor::PathOnly(device));
        let good = BackingMap {
            fd: FD,
            flags: 1,
            padding: 0,
        };
        let path = match variant {
            Variant::S => Ok(3),
            Variant::L => Err(Errno::BADF),
        };
        for (map, answer) in [
            (good, Ok(2)),
            (BackingMap { flags: 2, ..good }, Err(Errno::OPNOTSUPP)),
            (BackingMap { flags: 0, ..good }, Err(Errno::PERM)),
            (
                BackingMap {
                    flags: 0x101,
                    ..good
                },
                Err(Errno::INVAL),
            ),
            (
                BackingMap {
                    padding: 1,
                    fd: 99,
                    ..good
                },
                Err(Errno::INVAL),
            ),
            (BackingMap { fd: 99, ..good }, Err(Errno::BADF)),
            (
                BackingMap {
                    fd: OTHER_FD,
                    ..good
                },
                Err(Errno::NODEV),
            ),
            (
                BackingMap {
                    fd: PATH_FD,
                    ..good
                },
                path,
            ),
        ] {
            assert_eq!(open(&mounted, map), answer, "{map:?}");
        }
        let mut last = Ok(0);
        for _ in 0..1024 {
            last = open(&mounted, good);
        }
        assert_eq!(last, Err(Errno::NOSPC));
    }
}

#[test]
fn a_device_needs_iomap() {
    let mut options = Options::new(Variant::S);
    options.settings.capable = false;
    let mounted = Mounted::connect(options);
    mounted.kernel.mount().unwrap();
    mounted.kernel.wait_ready().unwrap();
    let map = BackingMap {
        fd: FD,
        flags: 1,
        padding: 0,
    };
    assert_eq!(open(&mounted, map), Err(Errno::PERM));
}

#[test]
fn closing_devices() {
    for variant in VARIANTS {
        let mounted = Mounted::new(Options::new(variant));
        let close = |id: u32| {
            mounted
                .handle
                .ioctl(ioctl::BACKING_CLOSE, &mut id.to_ne_bytes())
        };
        assert_eq!(close(0), Err(Errno::INVAL));
        assert_eq!(close(u32::MAX), Err(Errno::INVAL));
        assert_eq!(close(5), Err(Errno::NOENT));
        assert_eq!(close(1), Err(Errno::BUSY));
        mounted.kernel.forget(crate::toy::NODE).unwrap();
        let answer = match variant {
            Variant::S => Err(Errno::BUSY),
            Variant::L => Ok(0),
        };
        assert_eq!(close(1), answer);
    }
}

#[test]
fn block_sizes_of_devices() {
    let mounted = Mounted::new(Options::new(Variant::L));
    for (backing_id, blocksize, answer) in [
        (1, 4096, Ok(0)),
        (1, 4097, Err(Errno::INVAL)),
        (9, 4096, Err(Errno::NOENT)),
    ] {
        let mut info = BackingInfo {
            backing_id,
            blocksize,
        };
        let answered = mounted
            .handle
            .ioctl(ioctl::SET_BLOCKSIZE, info.as_mut_bytes());
        assert_eq!(answered, answer);
    }
}
