//! What a conformant server sees, and that bytes are right.

use simulated_kernel::numbers::{ioend, op, opflag};
use simulated_kernel::wire::{IoendIn, IoendOut};
use simulated_kernel::{Errno, Lock, Whence};

use crate::toy::{BLOCK, Mounted, NODE, Options, VARIANTS, set_error};

fn each(test: fn(&Mounted)) {
    for variant in VARIANTS {
        for plain in [false, true] {
            let mut options = Options::new(variant);
            options.plain = plain;
            let mounted = Mounted::new(options);
            test(&mounted);
            mounted.assert_clean();
        }
    }
}

#[test]
fn direct_writes_ask_once_and_complete_once() {
    for variant in VARIANTS {
        let options =
            Options::new(variant).body(op::IOMAP_IOEND, |request: &IoendIn, _: &mut IoendOut| {
                let flags = ioend::UNWRITTEN | ioend::DIRECT | ioend::APPEND;
                assert_eq!(request.flags, flags, "as seen on a real kernel");
            });
        let mounted = Mounted::new(options);
        let kernel = &mounted.kernel;
        kernel.write_direct(NODE, 0, &[3; 65536]).unwrap();
        let counts = kernel.counts();
        assert_eq!(counts.begin_count(), 1);
        assert_eq!(counts.request_count(op::IOMAP_IOEND), 1);
        for _ in 0..50 {
            kernel.read_direct(NODE, 4096, 4096).unwrap();
        }
        assert_eq!(kernel.counts().begin_count(), 2);
        assert_eq!(mounted.toy.file.lock().size, 65536);
        mounted.assert_clean();
    }
}

#[test]
fn what_is_written_is_read_by_all_ways() {
    each(|mounted| {
        let kernel = &mounted.kernel;
        kernel.write(NODE, 100, b"buffered").unwrap();
        assert_eq!(kernel.read(NODE, 98, 12).unwrap(), b"\0\0buffered");
        assert_eq!(
            kernel.read_direct(NODE, 0, 512).unwrap()[100..],
            *b"buffered"
        );
        kernel.write_direct(NODE, 8192, &[9; 512]).unwrap();
        assert_eq!(kernel.map_read(NODE, 8191, 3).unwrap(), [0, 9, 9]);
        kernel.map_write(NODE, 102, b"FF").unwrap();
        assert_eq!(
            kernel.read_direct(NODE, 0, 512).unwrap()[100..108],
            *b"buFFered"
        );
        assert_eq!(kernel.map_write(NODE, 9000, b"F"), Err(Errno::FAULT));
        kernel.write(NODE, 20000, &[1]).unwrap();
        assert_eq!(kernel.read(NODE, 8192, 20000).unwrap().len(), 11809);
        kernel.fsync(NODE, 5).unwrap();
        assert_eq!(mounted.toy.file.lock().size, 20001);
    });
}

#[test]
fn truncating_and_growing_shows_zeroes() {
    each(|mounted| {
        let kernel = &mounted.kernel;
        kernel.write(NODE, 0, &[5; 10_000]).unwrap();
        kernel.truncate(NODE, 4100).unwrap();
        kernel.truncate(NODE, 9000).unwrap();
        let content = kernel.read_direct(NODE, 0, 9216).unwrap();
        assert!(content[..4100].iter().all(|byte| *byte == 5));
        assert!(content[4100..].iter().all(|byte| *byte == 0));
        assert_eq!(content.len(), 9000);
    });
}

#[test]
fn punching_zeroing_and_preallocating() {
    each(|mounted| {
        let kernel = &mounted.kernel;
        kernel.write(NODE, 0, &[5; 40_000]).unwrap();
        kernel.fallocate(NODE, 5, 3, 1000, 10_000).unwrap();
        kernel.fallocate(NODE, 5, 17, 20_000, 10_000).unwrap();
        kernel.fallocate(NODE, 5, 0, 39_000, 20_000).unwrap();
        let content = kernel.read(NODE, 0, 1 << 20).unwrap();
        assert_eq!(content.len(), 59_000);
        for (at, byte) in content.iter().enumerate() {
            let zero =
                (1000..11_000).contains(&at) || (20_000..30_000).contains(&at) || at >= 40_000;
            assert_eq!(*byte, if zero { 0 } else { 5 }, "at {at}");
        }
        let refused = kernel.fallocate(NODE, 5, 8, 0, BLOCK);
        assert_eq!(refused, Err(Errno::OPNOTSUPP));
        assert_eq!(kernel.seek(NODE, 0, Whence::Hole), Ok(4096));
        assert_eq!(kernel.seek(NODE, 4096, Whence::Data), Ok(8192));
        assert_eq!(kernel.seek(NODE, 59_000, Whence::Data), Err(Errno::NXIO));
    });
}

#[test]
fn errors_reach_who_they_belong_to() {
    for variant in VARIANTS {
        let mut options = Options::new(variant);
        options.tamper = std::sync::Arc::new(|opcode, request, reply| {
            let writeback = opflag::WRITEBACK.to_ne_bytes();
            if opcode == op::IOMAP_BEGIN && request[..4] == writeback {
                set_error(reply, -28);
            }
        });
        let mounted = Mounted::new(options);
        let kernel = &mounted.kernel;
        kernel.write(NODE, 0, &[1; 100]).unwrap();
        kernel.mapping_cache(NODE).unwrap();
        // A write into a hole has no cached mapping that writeback could use only if the
        // server answers plainly; drop it.
        let inval = simulated_kernel::wire::Inval {
            nodeid: NODE,
            attr_ino: crate::toy::INO,
            read_length: u64::MAX,
            ..Default::default()
        };
        let code = simulated_kernel::numbers::notify::IOMAP_INVAL;
        let message = crate::toy::message(code, zerocopy::IntoBytes::as_bytes(&inval));
        mounted.handle.notify(&message).unwrap();
        assert_eq!(kernel.fsync(NODE, 5), Err(Errno::NOSPC));
        assert_eq!(kernel.fsync(NODE, 5), Ok(()), "an error is reported once");
        assert_eq!(mounted.toy.file.lock().size, 0);
        mounted.assert_clean();
    }
}

#[test]
fn strays_are_reported() {
    let mounted = Mounted::new(Options::new(VARIANTS[0]));
    let kernel = &mounted.kernel;
    kernel.write_direct(NODE, 0, &[1; 8192]).unwrap();
    kernel.read_direct(NODE, 0, 8192).unwrap();
    mounted.toy.free_all();
    kernel.read_direct(NODE, 4096, 4096).unwrap();
    let strays = mounted.device.strays();
    assert_eq!(strays.len(), 1);
    assert_eq!((strays[0].block, strays[0].owner), (101, None));
}

#[test]
fn locks_are_recorded_with_pending_requests() {
    let gate = std::sync::Arc::new(parking_lot::Mutex::new(()));
    let wait = std::sync::Arc::clone(&gate);
    let options = Options::new(VARIANTS[1]).raw(op::IOMAP_BEGIN, move |_| drop(wait.lock()));
    let mounted = Mounted::new(options);
    let held = gate.lock();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| mounted.kernel.write_direct(NODE, 0, &[1; 512]));
        let pending = loop {
            if let [request] = mounted.kernel.pending().as_slice() {
                break request.clone();
            }
            std::thread::yield_now();
        };
        assert_eq!(pending.opcode, op::IOMAP_BEGIN);
        assert_eq!(pending.locks, [Lock::RwsemExclusive]);
        drop(held);
        writer.join().unwrap().unwrap();
    });
}

#[test]
fn swap_files_have_no_holes() {
    each(|mounted| {
        let kernel = &mounted.kernel;
        kernel.write_direct(NODE, 0, &[1; 8192]).unwrap();
        assert_eq!(kernel.swapon(NODE).unwrap().len(), 1);
        kernel.swapoff(NODE).unwrap();
        kernel.truncate(NODE, 20_000).unwrap();
        assert_eq!(kernel.swapon(NODE), Err(Errno::INVAL));
    });
}

#[test]
fn a_power_cut_keeps_what_was_flushed() {
    let device = simulated_kernel::SimDevice::new(1 << 20, BLOCK);
    device.write_at(0, &[1; 8192]).unwrap();
    device.flush();
    device.write_at(4000, &[2; 200]).unwrap();
    device.power_cut(|chunk| chunk == 1);
    let mut bytes = [0; 8192];
    device.read_at(0, &mut bytes).unwrap();
    assert!(bytes[..4096].iter().all(|byte| *byte == 1));
    assert!(bytes[4096..4200].iter().all(|byte| *byte == 2));
    assert!(device.read_at((1 << 20) - 1, &mut bytes[..2]).is_err());
}
