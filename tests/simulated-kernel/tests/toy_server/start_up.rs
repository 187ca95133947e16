//! Start-up in both modes, what is offered, CONFIG refused, unmount (1.2 to 1.7).

use simulated_kernel::numbers::{INIT_IOMAP, ioctl, op};
use simulated_kernel::wire::{ConfigIn, ConfigOut, InitIn, InitOut};
use simulated_kernel::{Errno, Rule, StartError, Variant};

use crate::toy::{Mounted, Options, VARIANTS, set_error};

#[test]
fn ordinary_requests_come_after_config() {
    for variant in VARIANTS {
        for sync in [false, true] {
            let mounted = Mounted::connect(Options::new(variant));
            if sync {
                mounted.handle.ioctl(ioctl::SYNC_INIT, &mut []).unwrap();
            }
            mounted.kernel.mount().unwrap();
            mounted.kernel.lookup(1, "file").unwrap();
            let counts = mounted.kernel.counts();
            for opcode in [op::INIT, op::IOMAP_CONFIG, op::LOOKUP] {
                assert_eq!(counts.request_count(opcode), 1);
            }
            mounted.kernel.unmount().unwrap();
            assert_eq!(mounted.kernel.counts().request_count(op::DESTROY), 1);
            assert_eq!(mounted.kernel.counts().request_count(op::SYNCFS), 1);
            mounted.assert_clean();
            let Mounted {
                servers, kernel, ..
            } = mounted;
            drop(kernel);
            for server in servers {
                server
                    .join()
                    .expect("a server finds the end of its channel");
            }
        }
    }
}

#[test]
fn config_refused_fails_the_mount() {
    for variant in VARIANTS {
        let both = |_: Variant| true;
        let only_l = |variant| variant == Variant::L;
        type Case = (fn(&ConfigIn, &mut ConfigOut), Rule, fn(Variant) -> bool);
        let cases: [Case; 6] = [
            (|_, reply| reply.flags |= 1 << 7, Rule::ConfigFlags, both),
            (|_, reply| reply.s_uuid_len = 17, Rule::ConfigUuid, both),
            (|_, reply| reply.s_pad[0] = 1, Rule::ConfigPad, both),
            (
                |_, reply| reply.s_blocksize = 5000,
                Rule::ConfigBlockSize,
                only_l,
            ),
            (|_, reply| reply.flags |= 1 << 4, Rule::ConfigTime, only_l),
            (
                |_, reply| reply.s_maxbytes = -1,
                Rule::ConfigMaxbytes,
                only_l,
            ),
        ];
        for (change, rule, refuses) in cases {
            let options = Options::new(variant).body(op::IOMAP_CONFIG, change);
            let mounted = Mounted::connect(options);
            mounted.handle.ioctl(ioctl::SYNC_INIT, &mut []).unwrap();
            let outcome = mounted.kernel.mount();
            match refuses(variant) {
                true => assert!(matches!(outcome, Err(StartError::Mount(Errno::INVAL)))),
                false => outcome.unwrap(),
            }
            assert_eq!(mounted.rules(), [rule], "{variant:?}");
        }
    }
}

#[test]
fn config_too_long_or_failed() {
    for (rule, options) in [
        (
            Rule::ConfigLength,
            Options::new(Variant::S).raw(op::IOMAP_CONFIG, |reply| reply.extend([0; 8])),
        ),
        (
            Rule::ConfigFailed,
            Options::new(Variant::S).raw(op::IOMAP_CONFIG, |reply| set_error(reply, -12)),
        ),
    ] {
        let mounted = Mounted::connect(options);
        mounted.kernel.mount().unwrap();
        assert_eq!(mounted.kernel.wait_ready(), Err(Errno::IO));
        assert_eq!(mounted.rules(), [rule]);
    }
}

#[test]
fn a_shorter_config_reply_is_fine() {
    let options = Options::new(Variant::L).raw(op::IOMAP_CONFIG, |reply| reply.truncate(16 + 96));
    let mounted = Mounted::new(options);
    mounted.assert_clean();
}

#[test]
fn without_rights_iomap_is_not_offered() {
    type Change = fn(&mut Options);
    let cases: [Change; 4] = [
        |options| options.settings.capable = false,
        |options| options.settings.enabled = false,
        |options| options.settings.compiled_in = false,
        |options| options.settings.knows_iomap = false,
    ];
    for change in cases {
        let mut options =
            Options::new(Variant::L).body(op::INIT, |request: &InitIn, _: &mut InitOut| {
                let offered = u64::from(request.flags2) << 32;
                assert_eq!(offered & INIT_IOMAP, 0);
            });
        change(&mut options);
        let mounted = Mounted::connect(options);
        mounted.kernel.mount().unwrap();
        mounted.kernel.wait_ready().unwrap();
        let counts = mounted.kernel.counts();
        assert_eq!(counts.request_count(op::IOMAP_CONFIG), 0);
    }
}

#[test]
fn a_minor_below_99_or_a_bit_not_offered_is_named() {
    let low = |_: &InitIn, reply: &mut InitOut| reply.minor = 45;
    let mounted = Mounted::connect(Options::new(Variant::S).body(op::INIT, low));
    mounted.kernel.mount().unwrap();
    mounted.kernel.wait_ready().unwrap();
    assert_eq!(mounted.rules(), [Rule::InitReply]);
    let take = |_: &InitIn, reply: &mut InitOut| reply.flags2 |= 1 << 11;
    let mut options = Options::new(Variant::S).body(op::INIT, take);
    options.settings.capable = false;
    let mounted = Mounted::connect(options);
    mounted.kernel.mount().unwrap();
    mounted.kernel.wait_ready().unwrap();
    assert_eq!(mounted.rules(), [Rule::InitReply]);
}
