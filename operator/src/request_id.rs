//! Which request a change came from: from its answer to the message that takes it to DNS.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A number that no other request has, of this process or another; shown as 16 hexadecimal digits.
/// It is never taken from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Makes them: a keyed hash of a count, since the system's randomness for each would cost more than
/// the rest of a `nochg`.
#[derive(Debug, Default)]
pub struct RequestIds {
    key: RandomState,
    count: AtomicU64,
}

impl RequestIds {
    pub fn next(&self) -> RequestId {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        RequestId(self.key.hash_one(count))
    }
}

/// Changes that are remembered: so many may wait for a name server. A replica that does not write
/// DNS never forgets them otherwise.
const MOST: usize = 1024;

/// How long a change is remembered where there are that many.
const LIFE: Duration = Duration::from_secs(60);

/// The requests whose changes are not in DNS yet, by the UID of the host; the last of each.
#[derive(Debug, Default)]
pub struct Traces(Mutex<HashMap<Arc<str>, (RequestId, Instant)>>);

impl Traces {
    /// A change of this host is about to be stored.
    pub fn begin(&self, host: &Arc<str>, request: RequestId) {
        let now = Instant::now();
        let mut traces = self.lock();
        if traces.len() >= MOST {
            traces.retain(|_, (_, begun)| now.duration_since(*begun) < LIFE);
        }
        if traces.len() < MOST || traces.contains_key(host) {
            traces.insert(host.clone(), (request, now));
        }
    }

    /// Nothing was stored.
    pub fn abandon(&self, host: &Arc<str>, request: RequestId) {
        let mut traces = self.lock();
        if traces.get(host).is_some_and(|(of, _)| *of == request) {
            traces.remove(host);
        }
    }

    /// What is known of the host is in DNS.
    pub fn end(&self, host: &Arc<str>) -> Option<RequestId> {
        self.lock().remove(host).map(|(request, _)| request)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, (RequestId, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_the_last_request_that_stored_it() {
        let (ids, traces) = (RequestIds::default(), Traces::default());
        let (first, second) = (ids.next(), ids.next());
        assert_ne!(first, second);
        assert_eq!(first.to_string().len(), 16);
        let host: Arc<str> = "u".into();
        traces.begin(&host, first);
        traces.begin(&host, second);
        traces.abandon(&host, first);
        assert_eq!(traces.end(&host), Some(second));
        assert_eq!(traces.end(&host), None);
        traces.begin(&host, first);
        traces.abandon(&host, first);
        assert_eq!(traces.end(&host), None);
    }

    #[test]
    fn memory_is_bounded() {
        let (ids, traces) = (RequestIds::default(), Traces::default());
        for number in 0..2 * MOST {
            traces.begin(&number.to_string().into(), ids.next());
        }
        assert_eq!(traces.lock().len(), MOST);
        // Whoever is remembered already is so with the last request.
        let last = ids.next();
        traces.begin(&"0".into(), last);
        assert_eq!(traces.end(&"0".into()), Some(last));
    }
}
