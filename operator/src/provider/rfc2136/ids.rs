//! Message ids (RFC 1035 section 4.1.1): none is used by two messages in flight.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The ids of the messages of one provider.
#[derive(Debug, Default)]
pub(super) struct MessageIds(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u16,
    in_use: HashSet<u16>,
}

/// Ids that count up from `first`, and are free again when this is dropped.
#[derive(Debug)]
pub(super) struct TakenIds<'a> {
    ids: &'a MessageIds,
    pub first: u16,
    count: u16,
}

impl MessageIds {
    /// So many ids that no message in flight has, each the last one's successor.
    pub(super) fn take(&self, count: u16) -> TakenIds<'_> {
        let mut state = self.state();
        let is_free = |first: &u16| {
            let mut ids = (0..count).map(|offset| first.wrapping_add(offset));
            ids.all(|id| !state.in_use.contains(&id))
        };
        let mut from_next = (0..=u16::MAX).map(|offset| state.next.wrapping_add(offset));
        // Nobody has 65,536 messages in flight.
        let first = from_next.find(is_free).unwrap_or(state.next);
        state.next = first.wrapping_add(count);
        let ids = (0..count).map(|offset| first.wrapping_add(offset));
        state.in_use.extend(ids);
        drop(state);
        TakenIds {
            ids: self,
            first,
            count,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TakenIds<'_> {
    fn drop(&mut self) {
        let mut state = self.ids.state();
        for offset in 0..self.count {
            state.in_use.remove(&self.first.wrapping_add(offset));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_flight_are_passed_over_and_used_again_later() {
        let ids = MessageIds::default();
        let held = ids.take(2);
        assert_eq!(held.first, 0);
        let also_held = (ids.take(1), ids.take(4));
        assert_eq!((also_held.0.first, also_held.1.first), (2, 3));
        drop(also_held);
        // Once around.
        while ids.take(1).first != u16::MAX - 1 {}
        assert_eq!(ids.take(4).first, 2);
        drop(held);
        while ids.take(1).first != u16::MAX - 1 {}
        assert_eq!(ids.take(4).first, u16::MAX);
    }
}
