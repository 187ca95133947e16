//! The types of tests: those of real threads, or, made while a scheduler explores the orders
//! of a test's threads, that scheduler's.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;

thread_local! {
    static IS_EXPLORING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `explore`, which runs a scheduler; what is made meanwhile is the scheduler's.
pub(crate) fn exploring(explore: impl FnOnce()) {
    IS_EXPLORING.set(true);
    explore();
    IS_EXPLORING.set(false);
}

#[derive(Debug)]
pub(crate) enum Mutex<T> {
    Usual(parking_lot::Mutex<T>),
    Explored(shuttle::sync::Mutex<T>),
}

pub(crate) enum MutexGuard<'m, T> {
    Usual(parking_lot::MutexGuard<'m, T>),
    /// Empty only while its thread waits for a condition.
    Explored(Option<shuttle::sync::MutexGuard<'m, T>>),
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        if IS_EXPLORING.get() {
            Self::Explored(shuttle::sync::Mutex::new(value))
        } else {
            Self::Usual(parking_lot::Mutex::new(value))
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        match self {
            Self::Usual(mutex) => MutexGuard::Usual(mutex.lock()),
            Self::Explored(mutex) => {
                let guard = mutex.lock().unwrap_or_else(|p| p.into_inner());
                MutexGuard::Explored(Some(guard))
            }
        }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Usual(guard) => guard,
            Self::Explored(guard) => guard.as_ref().unwrap(),
        }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match self {
            Self::Usual(guard) => guard,
            Self::Explored(guard) => guard.as_mut().unwrap(),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Condvar {
    Usual(parking_lot::Condvar),
    Explored(shuttle::sync::Condvar),
}

impl Condvar {
    pub(crate) fn new() -> Self {
        if IS_EXPLORING.get() {
            Self::Explored(shuttle::sync::Condvar::new())
        } else {
            Self::Usual(parking_lot::Condvar::new())
        }
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        match (self, guard) {
            (Self::Usual(condition), MutexGuard::Usual(guard)) => condition.wait(guard),
            (Self::Explored(condition), MutexGuard::Explored(guard)) => {
                let waited = condition.wait(guard.take().unwrap());
                *guard = Some(waited.unwrap_or_else(|p| p.into_inner()));
            }
            _ => panic!("a condition and a mutex of two kinds"),
        }
    }

    pub(crate) fn notify_all(&self) {
        match self {
            Self::Usual(condition) => {
                condition.notify_all();
            }
            Self::Explored(condition) => condition.notify_all(),
        }
    }
}

#[derive(Debug)]
pub(crate) enum AtomicU64 {
    Usual(std::sync::atomic::AtomicU64),
    Explored(shuttle::sync::atomic::AtomicU64),
}

impl AtomicU64 {
    pub(crate) fn new(value: u64) -> Self {
        if IS_EXPLORING.get() {
            Self::Explored(shuttle::sync::atomic::AtomicU64::new(value))
        } else {
            Self::Usual(std::sync::atomic::AtomicU64::new(value))
        }
    }

    pub(crate) fn load(&self, order: Ordering) -> u64 {
        match self {
            Self::Usual(atomic) => atomic.load(order),
            Self::Explored(atomic) => atomic.load(order),
        }
    }

    pub(crate) fn store(&self, value: u64, order: Ordering) {
        match self {
            Self::Usual(atomic) => atomic.store(value, order),
            Self::Explored(atomic) => atomic.store(value, order),
        }
    }
}

/// Others may come between before each look at it, and before it is set.
#[derive(Debug)]
pub(crate) struct OnceLock<T>(std::sync::OnceLock<T>);

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        Self(std::sync::OnceLock::new())
    }

    pub(crate) fn get(&self) -> Option<&T> {
        thread::come_between();
        self.0.get()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        thread::come_between();
        self.0.set(value)
    }
}

/// Threads of either kind.
pub(crate) mod thread {
    use super::IS_EXPLORING;

    pub(crate) enum JoinHandle<T> {
        Usual(std::thread::JoinHandle<T>),
        Explored(shuttle::thread::JoinHandle<T>),
    }

    pub(crate) fn spawn<T: Send + 'static>(
        act: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        if IS_EXPLORING.get() {
            JoinHandle::Explored(shuttle::thread::spawn(act))
        } else {
            JoinHandle::Usual(std::thread::spawn(act))
        }
    }

    impl<T> JoinHandle<T> {
        pub(crate) fn join(self) -> std::thread::Result<T> {
            match self {
                Self::Usual(thread) => thread.join(),
                Self::Explored(thread) => thread.join(),
            }
        }
    }

    /// Lets other threads go first, if their orders are explored.
    pub(crate) fn come_between() {
        if IS_EXPLORING.get() {
            shuttle::thread::yield_now();
        }
    }

    pub(crate) fn yield_now() {
        if IS_EXPLORING.get() {
            shuttle::thread::yield_now();
        } else {
            std::thread::yield_now();
        }
    }
}
