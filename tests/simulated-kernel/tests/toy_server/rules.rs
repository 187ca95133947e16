//! The list of section 9: the toy server breaks a rule in its replies, the kernel names it.

use simulated_kernel::numbers::{fopen, ioend, map, op, opflag};
use simulated_kernel::wire::{
    AttrOut, BeginIn, BeginOut, IoendIn, IoendOut, MapIo, OpenIn, OpenOut, SetattrIn,
};
use simulated_kernel::{Access, Errno, Kernel, Kind, Rule, Variant};

use crate::toy::{BLOCK, Mounted, NODE, Options, VARIANTS, set_error, special};

type Act = fn(&Kernel) -> Result<(), Errno>;

fn write_direct(kernel: &Kernel) -> Result<(), Errno> {
    kernel.write_direct(NODE, 0, &[7; 4096])
}

fn write_and_read(kernel: &Kernel) -> Result<(), Errno> {
    write_direct(kernel)?;
    kernel.read_direct(NODE, 0, 4096).map(drop)
}

fn write_back(kernel: &Kernel) -> Result<(), Errno> {
    kernel.write(NODE, 0, &[7; 4096])?;
    kernel.write_back(NODE)
}

fn swapon(kernel: &Kernel) -> Result<(), Errno> {
    write_direct(kernel)?;
    kernel.swapon(NODE).map(drop)
}

/// Runs; what the application got and which rule was named first.
fn run(options: Options, act: Act) -> (Result<(), Errno>, Option<Rule>) {
    let mounted = Mounted::new(options);
    let outcome = act(&mounted.kernel);
    (outcome, mounted.rules().first().copied())
}

/// A BEGIN reply changed where `when` has bits in common with the request's flags (0: reads).
fn begin(variant: Variant, when: u32, change: fn(&BeginIn, &mut BeginOut)) -> Options {
    let options = Options::new(variant).plain();
    options.body(
        op::IOMAP_BEGIN,
        move |request: &BeginIn, reply: &mut BeginOut| {
            let is_read = request.opflags & opflag::WRITE_TYPE == 0;
            if request.opflags & when != 0 || when == 0 && is_read {
                change(request, reply);
            }
        },
    )
}

/// The type of the read mapping, without a place.
fn placeless(reply: &mut BeginOut, kind: Kind) {
    let io = reply.read;
    reply.read = MapIo {
        kind: kind.number(),
        addr: map::NONE,
        dev: 0,
        flags: 0,
        ..io
    };
}

#[test]
fn mappings_of_a_reply() {
    type Case = (
        u32,
        fn(&BeginIn, &mut BeginOut),
        Act,
        Rule,
        [Option<Errno>; 2],
    );
    let corrupt = [Some(Errno::UCLEAN); 2];
    let io = [Some(Errno::IO); 2];
    let cases: [Case; 20] = [
        (
            opflag::WRITE,
            |_, r| r.read.kind = 9,
            write_direct,
            Rule::MappingType,
            corrupt,
        ),
        (
            opflag::WRITE,
            |_, r| r.read.flags = 0x100,
            write_direct,
            Rule::MappingFlags,
            corrupt,
        ),
        (
            opflag::WRITE,
            |_, r| r.read.length = 0,
            write_direct,
            Rule::MappingLength,
            corrupt,
        ),
        (
            opflag::WRITE,
            |_, r| r.read.length -= 1,
            write_direct,
            Rule::MappingAlignment,
            corrupt,
        ),
        (
            opflag::WRITE,
            |_, r| r.read.dev = 0,
            write_direct,
            Rule::DeviceMissing,
            corrupt,
        ),
        (
            opflag::WRITE,
            |_, r| r.read.addr = map::NONE,
            write_direct,
            Rule::AddressMissing,
            corrupt,
        ),
        (
            opflag::WRITE,
            |_, r| r.read.kind = 0,
            write_direct,
            Rule::PlaceGiven,
            corrupt,
        ),
        (
            opflag::WRITE,
            |_, r| r.read.dev = 77,
            write_direct,
            Rule::UnknownDevice,
            corrupt,
        ),
        (
            0,
            |_, r| placeless(r, Kind::PureOverwrite),
            write_and_read,
            Rule::PureOverwriteAsRead,
            corrupt,
        ),
        (
            0,
            |_, r| r.write.kind = 253,
            write_and_read,
            Rule::NocacheInReply,
            corrupt,
        ),
        (
            0,
            |_, r| r.write = MapIo::default(),
            write_and_read,
            Rule::MappingLength,
            corrupt,
        ),
        (
            0,
            |_, r| r.write.offset += 64 * BLOCK,
            write_and_read,
            Rule::PositionNotCovered,
            corrupt,
        ),
        (
            0,
            |_, r| placeless(r, Kind::RetryCache),
            write_and_read,
            Rule::RetryWithoutCache,
            corrupt,
        ),
        (
            0,
            |_, r| r.write.dev = 1,
            write_and_read,
            Rule::SpecialFields,
            [None, Some(Errno::UCLEAN)],
        ),
        (
            opflag::WRITE,
            |_, r| placeless(r, Kind::Hole),
            write_direct,
            Rule::HoleForWrite,
            io,
        ),
        (
            opflag::WRITE,
            |_, r| placeless(r, Kind::Delalloc),
            write_direct,
            Rule::DelallocForIo,
            io,
        ),
        (
            opflag::WRITEBACK,
            |_, r| placeless(r, Kind::Hole),
            write_back,
            Rule::HoleForWrite,
            [None; 2],
        ),
        (
            opflag::WRITEBACK,
            |_, r| placeless(r, Kind::Inline),
            write_back,
            Rule::InlineForWriteback,
            io,
        ),
        (
            opflag::WRITEBACK,
            |_, r| placeless(r, Kind::Delalloc),
            write_back,
            Rule::DelallocForIo,
            io,
        ),
        (
            opflag::WRITE,
            |_, r| r.read.flags = map::ANON_WRITE,
            write_direct,
            Rule::AnonWrite,
            [None; 2],
        ),
    ];
    for (when, change, act, rule, errnos) in cases {
        for (variant, errno) in VARIANTS.into_iter().zip(errnos) {
            let (outcome, named) = run(begin(variant, when, change), act);
            assert_eq!(named, Some(rule), "{variant:?}");
            assert_eq!(outcome.err(), errno, "{variant:?} {rule:?}");
        }
    }
}

#[test]
fn retry_in_write_only_is_a_hole_to_s() {
    let change = |_: &BeginIn, reply: &mut BeginOut| reply.write.kind = Kind::RetryCache.number();
    let act: Act = |kernel| {
        kernel.write(NODE, 0, &[1; 10])?;
        kernel.write_back(NODE)?;
        write_direct(kernel)
    };
    // The first write's upsert makes the cache that RETRY_CACHE needs.
    let options = Options::new(Variant::S).body(
        op::IOMAP_BEGIN,
        move |request: &BeginIn, reply: &mut BeginOut| {
            if request.opflags & opflag::DIRECT != 0 {
                reply.read = MapIo {
                    kind: 2,
                    addr: 100 * BLOCK,
                    dev: 1,
                    ..reply.read
                };
                change(request, reply);
            }
        },
    );
    let (outcome, named) = run(options, act);
    assert_eq!(outcome, Err(Errno::IO));
    assert_eq!(named, Some(Rule::RetryOnlyInWrite));
}

#[test]
fn retry_for_what_is_never_cached() {
    let change = |request: &BeginIn, reply: &mut BeginOut| {
        if request.opflags & opflag::SWAPFILE != 0 {
            placeless(reply, Kind::RetryCache);
        }
    };
    for (variant, errno) in [(Variant::S, None), (Variant::L, Some(Errno::UCLEAN))] {
        let options = Options::new(variant).body(op::IOMAP_BEGIN, change);
        let act: Act = |kernel| {
            write_direct(kernel)?;
            kernel.read_direct(NODE, 0, 4096)?;
            swapon(kernel)
        };
        let (outcome, named) = run(options, act);
        assert_eq!(named, Some(Rule::RetryUncacheable));
        assert_eq!(outcome.err(), errno);
    }
}

#[test]
fn retry_without_a_mapping_spins_and_is_stopped() {
    let change = |request: &BeginIn, reply: &mut BeginOut| {
        if request.opflags == opflag::DIRECT {
            placeless(reply, Kind::RetryCache);
        }
    };
    for variant in VARIANTS {
        let mut options = Options::new(variant).body(op::IOMAP_BEGIN, change);
        // Every upsert vanishes at once.
        options.settings.chaos.evict_permille = 1000;
        options.settings.chaos.seed = 5;
        let mounted = Mounted::new(options.plain());
        let upsert = crate::toy::upsert_message(&simulated_kernel::wire::Upsert {
            nodeid: NODE,
            attr_ino: crate::toy::INO,
            read: simulated_kernel::Mapping::hole(0, BLOCK).to_wire(),
            write: special(&simulated_kernel::Mapping::hole(0, BLOCK), Kind::Nocache),
        });
        mounted.handle.notify(&upsert).unwrap();
        write_direct(&mounted.kernel).unwrap();
        assert_eq!(mounted.kernel.read_direct(NODE, 0, 4096), Err(Errno::IO));
        assert_eq!(mounted.rules(), [Rule::RetryLimit]);
    }
}

#[test]
fn a_device_that_is_read_only() {
    for (variant, errno) in [(Variant::S, None), (Variant::L, Some(Errno::ACCESS))] {
        let mut options = Options::new(variant);
        options.access = Access::Read;
        let (outcome, named) = run(options, write_direct);
        assert_eq!(named, Some(Rule::DeviceMode));
        assert_eq!(outcome.err(), errno);
    }
}

#[test]
fn forms_of_replies() {
    let begin = op::IOMAP_BEGIN;
    type Case = (u32, fn(&mut Vec<u8>), Rule);
    let cases: [Case; 6] = [
        (begin, |reply| reply.truncate(16 + 63), Rule::ReplyLength),
        (begin, |reply| reply.push(0), Rule::ReplyLength),
        (
            op::IOMAP_IOEND,
            |reply| reply.extend([0; 8]),
            Rule::ReplyLength,
        ),
        (
            begin,
            |reply| reply[4..8].copy_from_slice(&(-5i32).to_ne_bytes()),
            Rule::ErrorWithBody,
        ),
        (begin, |reply| set_error(reply, -512), Rule::ErrorRange),
        (begin, |reply| set_error(reply, 5), Rule::ErrorRange),
    ];
    for variant in VARIANTS {
        for (opcode, change, rule) in cases {
            let outcome = run(Options::new(variant).raw(opcode, change), write_direct);
            assert_eq!(outcome, (Err(Errno::IO), Some(rule)));
        }
    }
}

#[test]
fn a_reply_for_nobody() {
    let mut options = Options::new(Variant::L).raw(op::GETATTR, |reply| reply[8..16].fill(0x55));
    options.settings.answer_limit = std::time::Duration::from_millis(200);
    let mounted = Mounted::new(options);
    assert_eq!(mounted.kernel.getattr(NODE), Err(Errno::TIMEDOUT));
    assert_eq!(mounted.rules(), [Rule::ReplyUnknown, Rule::Unanswered]);
}

#[test]
fn sizes_in_replies_to_ioend() {
    for variant in VARIANTS {
        let small = |_: &IoendIn, reply: &mut IoendOut| reply.newsize = 0;
        let options = Options::new(variant).body(op::IOMAP_IOEND, small);
        let (_, named) = run(options, write_direct);
        assert_eq!(named, Some(Rule::NewsizeTooSmall));
        let small = |request: &IoendIn, reply: &mut IoendOut| {
            if request.pos == 0 {
                reply.newsize = 4096;
            }
        };
        let options = Options::new(variant).body(op::IOMAP_IOEND, small);
        let (_, named) = run(options, |kernel| {
            kernel.write_direct(NODE, 8192, &[1; 4096])?;
            write_direct(kernel)
        });
        assert_eq!(named, Some(Rule::NewsizeShrinks));
    }
}

#[test]
fn a_size_update_although_writing_failed() {
    let options = Options::new(Variant::L).body(
        op::IOMAP_IOEND,
        |request: &IoendIn, reply: &mut IoendOut| {
            assert_ne!(request.error, 0);
            reply.newsize = 4096;
        },
    );
    let mounted = Mounted::new(options);
    mounted.device.set_failing(true);
    assert_eq!(write_direct(&mounted.kernel), Err(Errno::IO));
    assert_eq!(mounted.rules(), [Rule::NewsizeOnError]);
    assert_eq!(mounted.kernel.size(NODE), Ok(0));
}

#[test]
fn enosys_to_ioend() {
    let options = Options::new(Variant::S).raw(op::IOMAP_IOEND, |reply| set_error(reply, -38));
    let (_, named) = run(options, write_direct);
    assert_eq!(named, Some(Rule::IoendEnosys));
}

#[test]
fn errors_of_ioend_are_lost_by_s_in_writeback_only() {
    for (variant, lost) in [(Variant::S, true), (Variant::L, false)] {
        let options = |bit: u32| {
            let mut options = Options::new(variant);
            options.tamper = std::sync::Arc::new(move |opcode, request, reply| {
                let flags = u32::from_ne_bytes(request[..4].try_into().unwrap_or_default());
                if opcode == op::IOMAP_IOEND && flags & bit != 0 {
                    set_error(reply, -28);
                }
            });
            options
        };
        let (outcome, _) = run(options(ioend::WRITEBACK), write_back);
        assert_eq!(outcome.is_ok(), lost);
        let (outcome, _) = run(options(ioend::DIRECT), write_direct);
        assert_eq!(outcome, Err(Errno::NOSPC));
    }
}

#[test]
fn attributes_and_open_flags() {
    let act: Act = |kernel| kernel.getattr(NODE).map(drop);
    let flags = |_: &u64, reply: &mut AttrOut| reply.attr.flags = 0;
    let options = Options::new(Variant::S).body(op::GETATTR, flags);
    assert_eq!(run(options, act).1, Some(Rule::AttrFlagsChanged));
    let ino = |_: &u64, reply: &mut AttrOut| reply.attr.ino += 1;
    let options = Options::new(Variant::S).body(op::GETATTR, ino);
    assert_eq!(run(options, act).1, Some(Rule::AttrInoChanged));
    let size = |_: &SetattrIn, reply: &mut AttrOut| reply.attr.size += 1;
    let options = Options::new(Variant::S).body(op::SETATTR, size);
    let outcome = run(options, |kernel| kernel.truncate(NODE, 5000));
    assert_eq!(outcome.1, Some(Rule::SetattrSize));
    for bit in [fopen::PASSTHROUGH, fopen::STREAM, fopen::NONSEEKABLE] {
        let options =
            Options::new(Variant::L).body(op::OPEN, move |_: &OpenIn, reply: &mut OpenOut| {
                reply.open_flags |= bit;
            });
        let outcome = run(options, |kernel| kernel.open(NODE, 0).map(drop));
        assert_eq!(outcome, (Err(Errno::INVAL), Some(Rule::OpenFlags)));
    }
}
