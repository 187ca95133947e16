//! A reader that pauses while names come and go.

use std::collections::BTreeMap;

use super::{Random, Subject};

/// A name that is there all the time was seen twice, or never, after its leaf had been
/// split between two calls of readdir.
#[test]
fn old_names_are_seen_exactly_once() {
    for (features, before) in [
        ("inline_data", 3),
        ("^inline_data", 10),
        ("^inline_data", 300),
        ("^metadata_csum", 2000),
    ] {
        let options = ["-t", "ext4", "-b", "1024", "-O", features];
        let Some(mut subject) = Subject::new(&options, "16M") else {
            return;
        };
        let mut random = Random::new(7);
        for number in 0..before {
            subject.add(&random.name(number)).unwrap();
        }
        let old = subject.model.clone();
        let mut seen: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        let (mut cookie, mut number) = (0, 0);
        loop {
            let page = subject.page(cookie, 1 + random.below(20) as usize);
            let Some(last) = page.last() else { break };
            cookie = last.2;
            for (name, _, _) in page {
                *seen.entry(name).or_default() += 1;
            }
            let mut added = Vec::new();
            for _ in 0..random.below(30) {
                let name = [b"new", &random.name(number)[..]].concat();
                number += 1;
                subject.add(&name).unwrap();
                added.push(name);
            }
            for name in added.iter().filter(|name| name.len() % 3 == 0) {
                subject.remove(name).unwrap();
            }
        }
        for name in old.keys() {
            assert_eq!(seen.get(name), Some(&1), "{}", name.escape_ascii());
        }
        assert!(seen.values().all(|times| *times == 1));
        subject.check();
        subject.close();
    }
}

#[test]
fn a_reader_may_stop_and_go_on_anywhere() {
    let Some(mut subject) = Subject::new(&["-t", "ext4", "-b", "1024"], "8M") else {
        return;
    };
    let mut random = Random::new(8);
    for number in 0..500 {
        subject.add(&random.name(number)).unwrap();
    }
    let all = subject.page(0, usize::MAX);
    assert_eq!(all.len(), 502);
    for (at, (_, _, cookie)) in all.iter().enumerate() {
        assert_eq!(
            subject.page(*cookie, 3),
            all[at + 1..].iter().take(3).cloned().collect::<Vec<_>>()
        );
    }
    assert!(subject.page(u64::MAX, 3).is_empty());
    subject.close();
}
