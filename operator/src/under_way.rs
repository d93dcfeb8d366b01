//! How many calls of a kind are under way, for those who let others go first.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of calls under way.
#[derive(Debug, Default)]
pub struct Calls(AtomicUsize);

/// A call, waiting or in flight, while it lives.
#[derive(Debug)]
pub struct UnderWay<'a>(&'a Calls);

impl Calls {
    /// Another call begins; it ends when what is returned is dropped.
    pub fn begin(&self) -> UnderWay<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }

    pub fn number(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
