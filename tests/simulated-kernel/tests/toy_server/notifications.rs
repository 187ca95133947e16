//! Upserts and invalidations a server must not send (5.3, 5.4, 2.4, 6.2, 10.2).

use std::sync::Arc;

use simulated_kernel::numbers::{attr, map, notify, op};
use simulated_kernel::wire::{DevInval, EntryOut, InHeader, Inval, InvalInode, MapIo, Upsert};
use simulated_kernel::{Errno, Kind, Mapping, Rule, Variant};
use zerocopy::IntoBytes;

use crate::toy::{
    BLOCK, FIRST, INO, Mounted, NODE, Options, VARIANTS, message, special, upsert_message,
};

fn good() -> Upsert {
    let read = Mapping {
        kind: Kind::Mapped,
        addr: FIRST * BLOCK,
        dev: 1,
        ..Mapping::hole(0, 4 * BLOCK)
    };
    Upsert {
        nodeid: NODE,
        attr_ino: INO,
        read: read.to_wire(),
        write: special(&read, Kind::Nocache),
    }
}

/// Sends; the answer and the rules that were named.
fn send(variant: Variant, message: &[u8]) -> (Result<(), Errno>, Vec<Rule>) {
    let mounted = Mounted::new(Options::new(variant));
    let answer = mounted.handle.notify(message);
    (answer, mounted.rules())
}

#[test]
fn upserts_that_are_refused() {
    let good = good();
    let read = good.read;
    for variant in VARIANTS {
        for (upsert, errno, rule) in [
            (
                Upsert { nodeid: 3, ..good },
                Errno::STALE,
                Rule::NodeUnknown,
            ),
            (
                Upsert {
                    attr_ino: 3,
                    ..good
                },
                Errno::INVAL,
                Rule::ForeignAttrIno,
            ),
            (
                Upsert {
                    read: MapIo { length: 1, ..read },
                    ..good
                },
                Errno::UCLEAN,
                Rule::MappingAlignment,
            ),
            (
                Upsert {
                    read: MapIo {
                        kind: 254,
                        addr: map::NONE,
                        dev: 0,
                        ..read
                    },
                    ..good
                },
                Errno::UCLEAN,
                Rule::RetryInUpsert,
            ),
            (
                Upsert {
                    read: MapIo {
                        kind: 255,
                        addr: map::NONE,
                        dev: 0,
                        ..read
                    },
                    ..good
                },
                Errno::UCLEAN,
                Rule::PureOverwriteAsRead,
            ),
            (
                Upsert {
                    read: MapIo { dev: 2, ..read },
                    ..good
                },
                Errno::UCLEAN,
                Rule::UnknownDevice,
            ),
            (
                Upsert {
                    write: MapIo {
                        addr: 8 << 20,
                        ..read
                    },
                    ..good
                },
                Errno::UCLEAN,
                Rule::BeyondDevice,
            ),
        ] {
            let sent = send(variant, &upsert_message(&upsert));
            assert_eq!(sent, (Err(errno), vec![rule]), "{variant:?} {upsert:?}");
        }
    }
}

#[test]
fn an_upsert_that_is_accepted_is_used() {
    for variant in VARIANTS {
        let mounted = Mounted::new(Options::new(variant));
        mounted.handle.notify(&upsert_message(&good())).unwrap();
        let cache = mounted.kernel.mapping_cache(NODE).unwrap().unwrap();
        assert_eq!(cache.read_tree().records().count(), 1);
        assert!(cache.write_tree().is_none());
        mounted.assert_clean();
    }
}

#[test]
fn nocache_filled_with_zeroes_passes_s_only_and_is_named_by_both() {
    let upsert = Upsert {
        write: MapIo {
            kind: 253,
            ..MapIo::default()
        },
        ..good()
    };
    let message = upsert_message(&upsert);
    assert_eq!(
        send(Variant::S, &message),
        (Ok(()), vec![Rule::MappingLength])
    );
    let refused = (Err(Errno::UCLEAN), vec![Rule::MappingLength]);
    assert_eq!(send(Variant::L, &message), refused);
}

#[test]
fn anon_write_is_legal_by_mask_but_named() {
    let good = good();
    let upsert = Upsert {
        read: MapIo {
            flags: map::ANON_WRITE,
            ..good.read
        },
        ..good
    };
    for variant in VARIANTS {
        let sent = send(variant, &upsert_message(&upsert));
        assert_eq!(sent, (Ok(()), vec![Rule::AnonWrite]));
    }
}

#[test]
fn a_device_that_is_gone_and_injected_errors_are_no_faults() {
    let mounted = Mounted::new(Options::new(Variant::L));
    mounted.device.resize(0);
    let message = upsert_message(&good());
    assert_eq!(mounted.handle.notify(&message), Err(Errno::INVAL));
    mounted.device.resize(8 << 20);
    mounted.kernel.refuse_upsert(Errno::NOMEM);
    assert_eq!(mounted.handle.notify(&message), Err(Errno::NOMEM));
    assert_eq!(mounted.handle.notify(&message), Ok(()));
    mounted.assert_clean();
}

#[test]
fn invalidations_that_are_refused() {
    let good = Inval {
        nodeid: NODE,
        attr_ino: INO,
        read_offset: 0,
        read_length: BLOCK,
        write_offset: 0,
        write_length: map::NONE,
    };
    for variant in VARIANTS {
        let send_inval =
            |inval: Inval| send(variant, &message(notify::IOMAP_INVAL, inval.as_bytes()));
        assert_eq!(send_inval(good), (Ok(()), vec![]));
        for (inval, errno, rule) in [
            (Inval { nodeid: 9, ..good }, Errno::STALE, Rule::NodeUnknown),
            (
                Inval {
                    attr_ino: 9,
                    ..good
                },
                Errno::INVAL,
                Rule::ForeignAttrIno,
            ),
            (
                Inval {
                    read_offset: 1,
                    ..good
                },
                Errno::UCLEAN,
                Rule::InvalAlignment,
            ),
            (
                Inval {
                    read_length: 1,
                    ..good
                },
                Errno::UCLEAN,
                Rule::InvalAlignment,
            ),
            (
                Inval {
                    write_offset: 1 << 44,
                    ..good
                },
                Errno::UCLEAN,
                Rule::InvalBeyondMaxbytes,
            ),
        ] {
            assert_eq!(send_inval(inval), (Err(errno), vec![rule]));
        }
        let wraps = Inval {
            read_offset: BLOCK,
            read_length: u64::MAX - BLOCK + 1,
            ..good
        };
        let (answer, rules) = send_inval(wraps);
        assert_eq!(answer.is_ok(), variant == Variant::S);
        assert_eq!(rules, [Rule::InvalOverflow]);
    }
}

#[test]
fn invalidated_mappings_are_asked_for_again() {
    for variant in VARIANTS {
        let mounted = Mounted::new(Options::new(variant));
        let kernel = &mounted.kernel;
        kernel.write_direct(NODE, 0, &[1; 8192]).unwrap();
        kernel.read_direct(NODE, 0, 4096).unwrap();
        let before = kernel.counts().begin_count();
        kernel.read_direct(NODE, 0, 8192).unwrap();
        assert_eq!(kernel.counts().begin_count(), before);
        let inval = Inval {
            nodeid: NODE,
            attr_ino: INO,
            read_length: BLOCK,
            ..Inval::default()
        };
        let message = message(notify::IOMAP_INVAL, inval.as_bytes());
        mounted.handle.notify(&message).unwrap();
        kernel.read_direct(NODE, 0, 8192).unwrap();
        assert_eq!(kernel.counts().begin_count(), before + 1);
        mounted.assert_clean();
    }
}

#[test]
fn device_invalidations_that_are_refused() {
    let good = DevInval {
        dev: 1,
        reserved: 0,
        offset: 0,
        length: BLOCK,
    };
    for (inval, answer) in [
        (DevInval { dev: 0, ..good }, Err(Errno::INVAL)),
        (DevInval { dev: 3, ..good }, Err(Errno::NODEV)),
        (
            DevInval {
                reserved: 1,
                ..good
            },
            Err(Errno::INVAL),
        ),
        (
            DevInval {
                offset: 8 << 20,
                ..good
            },
            Err(Errno::INVAL),
        ),
        (
            DevInval {
                length: u64::MAX,
                ..good
            },
            Err(Errno::INVAL),
        ),
        (DevInval { length: 0, ..good }, Ok(())),
    ] {
        let sent = send(
            Variant::L,
            &message(notify::IOMAP_DEV_INVAL, inval.as_bytes()),
        );
        assert_eq!(sent, (answer, vec![Rule::DevInval]));
    }
    let sent = send(
        Variant::L,
        &message(notify::IOMAP_DEV_INVAL, good.as_bytes()),
    );
    assert_eq!(sent, (Ok(()), vec![]));
}

#[test]
fn lengths_kinds_and_stores() {
    for (sent, errno, rule) in [
        (
            message(notify::IOMAP_UPSERT, &[0; 79]),
            Errno::INVAL,
            Rule::NotifyLength,
        ),
        (
            message(notify::IOMAP_INVAL, &[0; 49]),
            Errno::INVAL,
            Rule::NotifyLength,
        ),
        (vec![0; 15], Errno::INVAL, Rule::NotifyLength),
        (message(55, &[]), Errno::INVAL, Rule::NotifyUnknown),
        (
            message(notify::STORE, &[&NODE.to_ne_bytes()[..], &[0; 24]].concat()),
            Errno::OPNOTSUPP,
            Rule::StoreOnIomap,
        ),
    ] {
        assert_eq!(send(Variant::S, &sent), (Err(errno), vec![rule]));
    }
}

#[test]
fn without_iomap_there_are_no_mappings() {
    let mut options = Options::new(Variant::S);
    options.settings.capable = false;
    let mounted = Mounted::new(options);
    let answer = mounted.handle.notify(&upsert_message(&good()));
    assert_eq!(answer, Err(Errno::INVAL));
    assert_eq!(mounted.rules(), [Rule::NotifyWithoutIomap]);
}

#[test]
fn mappings_for_a_file_without_iomap() {
    for variant in VARIANTS {
        let plain = |_: &InHeader, reply: &mut EntryOut| reply.attr.flags = attr::EXCLUSIVE;
        let mut options = Options::new(variant);
        let inner = options.clone().body(op::LOOKUP, plain).tamper;
        options.tamper = Arc::new(move |opcode, request, reply| {
            // A LOOKUP's body is a name, not a structure.
            let padded = [request, &[0; 64]].concat();
            inner(opcode, &padded, reply);
        });
        let mounted = Mounted::new(options);
        let answer = mounted.handle.notify(&upsert_message(&good()));
        assert_eq!(answer.is_ok(), variant == Variant::S);
        assert_eq!(mounted.rules(), [Rule::NotIomap, Rule::NodeWithoutIomap]);
    }
}

#[test]
fn invalidating_data_while_a_folio_is_held_is_a_deadlock() {
    let slot: Arc<parking_lot::Mutex<Option<simulated_kernel::Handle>>> = Arc::default();
    let handle = Arc::clone(&slot);
    let options = Options::new(Variant::S).raw(op::IOMAP_BEGIN, move |_| {
        let inval = InvalInode {
            ino: NODE,
            off: 0,
            len: 0,
        };
        let handle = handle.lock().clone().unwrap();
        let _ = handle.notify(&message(notify::INVAL_INODE, inval.as_bytes()));
    });
    let mounted = Mounted::new(options);
    *slot.lock() = Some(mounted.handle.clone());
    mounted.kernel.write(NODE, 0, &[1; 100]).unwrap();
    assert_eq!(mounted.rules(), [], "a write holds no folio while it asks");
    mounted.kernel.write_back(NODE).unwrap();
    mounted.kernel.drop_pages(NODE).unwrap();
    mounted.kernel.read(NODE, 0, 100).unwrap();
    assert!(mounted.rules().contains(&Rule::NotifyDeadlock));
    *slot.lock() = None;
}
