//! One writer at a time for each host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::index::object::ObjectKey;

/// Locks by host, in order of arrival; a host that nobody waits for takes no memory.
#[derive(Default)]
pub(super) struct HostLocks(Mutex<HashMap<ObjectKey, Arc<AsyncMutex<()>>>>);

/// Holds a host's lock until it is dropped.
pub(super) struct HostLock<'a> {
    // Declared first: the lock is free before its place in the map is given up.
    _guard: OwnedMutexGuard<()>,
    _place: Place<'a>,
}

/// A place in the map, of a holder or of one who waits.
struct Place<'a> {
    locks: &'a HostLocks,
    host: &'a ObjectKey,
    lock: Arc<AsyncMutex<()>>,
}

impl HostLocks {
    /// Waits for the host's lock.
    pub(super) async fn lock<'a>(&'a self, host: &'a ObjectKey) -> HostLock<'a> {
        let lock = self.map().entry(host.clone()).or_default().clone();
        let place = Place {
            locks: self,
            host,
            lock,
        };
        HostLock {
            _guard: place.lock.clone().lock_owned().await,
            _place: place,
        }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<ObjectKey, Arc<AsyncMutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut map = self.locks.map();
        // The map's and this one; more are made under the map's lock only.
        if Arc::strong_count(&self.lock) == 2 {
            map.remove(self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_hosts_lock_is_held_by_one_and_forgotten_when_idle() {
        let locks = HostLocks::default();
        let (home, nas) = (ObjectKey::new("a", "home"), ObjectKey::new("a", "nas"));
        let held = locks.lock(&home).await;
        let other = locks.lock(&nas).await;
        let mut waiting = Box::pin(locks.lock(&home));
        assert!(waiting.as_mut().now_or_never().is_none());
        let given_up = Box::pin(locks.lock(&home)).now_or_never();
        assert!(given_up.is_none());
        drop((held, other));
        let held = waiting.as_mut().now_or_never().unwrap();
        assert_eq!(locks.map().len(), 1);
        drop(held);
        assert!(locks.map().is_empty());
    }
}
