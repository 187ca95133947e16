//! What the kernel noted down about the server.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::counters::{Counter, Counts};
use crate::rule::Rule;

/// A thing a conformant server never does (section 9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// The inputs of the check that failed.
    pub detail: String,
}

/// The notes of one kernel.
#[derive(Debug, Default)]
pub(crate) struct Record {
    violations: Mutex<Vec<Violation>>,
    refused: Mutex<BTreeMap<Rule, u64>>,
    pub(crate) counter: Counter,
}

/// Violations kept; a broken server would otherwise fill the memory.
const VIOLATIONS_MAX: usize = 1000;

impl Record {
    pub(crate) fn violation(&self, rule: Rule, detail: impl Into<String>) {
        let mut violations = self.violations.lock();
        if violations.len() < VIOLATIONS_MAX {
            violations.push(Violation {
                rule,
                detail: detail.into(),
            });
        }
    }

    /// Something was refused by `rule`.
    pub(crate) fn refused(&self, rule: Rule) {
        *self.refused.lock().entry(rule).or_default() += 1;
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        self.violations.lock().clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counter.counts(self.refused.lock().clone())
    }
}
