//! Hosts of which a write has an unknown outcome.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::index::View;
use crate::update::decide::Families;

/// Below this many, nothing is looked through.
const FEW: usize = 1024;

/// Families in doubt, by the host's UID. Not bounded by itself: see [`Doubts::forget_deleted`].
#[derive(Default)]
pub(super) struct Doubts(Mutex<State>);

#[derive(Default)]
struct State {
    families: HashMap<Arc<str>, Families>,
    /// How many there were when deleted hosts were last forgotten.
    kept: usize,
}

impl Doubts {
    /// The families of the host that are in doubt.
    pub(super) fn of(&self, uid: &str) -> Families {
        self.state().families.get(uid).copied().unwrap_or_default()
    }

    /// Adds families, and says which were in doubt before.
    ///
    /// Called *before* a write is sent: whatever ends it, a dropped future included, leaves the
    /// doubt until an outcome is known.
    pub(super) fn enter(&self, uid: &Arc<str>, families: Families) -> Families {
        let mut state = self.state();
        let known = state.families.entry(uid.clone()).or_default();
        let before = *known;
        known.ipv4 |= families.ipv4;
        known.ipv6 |= families.ipv6;
        known.prefix |= families.prefix;
        before
    }

    /// The write did not happen: what was in doubt before still is.
    pub(super) fn restore(&self, uid: &str, before: Families) {
        self.set(uid, |families| *families = before);
    }

    /// The families were stored, and no earlier write of them can be stored any more.
    pub(super) fn settle(&self, uid: &str, stored: Families) {
        self.set(uid, |families| {
            families.ipv4 &= !stored.ipv4;
            families.ipv6 &= !stored.ipv6;
            families.prefix &= !stored.prefix;
        });
    }

    /// Keeps the number of entries below about twice the number of hosts.
    pub(super) fn forget_deleted(&self, view: &View<'_>) {
        let mut state = self.state();
        if state.families.len() < FEW.max(2 * state.kept) {
            return;
        }
        let known: HashSet<_> = view.hosts().map(|host| host.meta.uid.clone()).collect();
        state.families.retain(|uid, _| known.contains(&**uid));
        state.kept = state.families.len();
    }

    fn set(&self, uid: &str, change: impl FnOnce(&mut Families)) {
        let mut state = self.state();
        if let Some(families) = state.families.get_mut(uid) {
            change(families);
            if *families == Families::default() {
                state.families.remove(uid);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::index::Index;

    const NONE: Families = families(false, false);
    const IPV4: Families = families(true, false);
    const IPV6: Families = families(false, true);
    const BOTH: Families = families(true, true);

    const fn families(ipv4: bool, ipv6: bool) -> Families {
        let prefix = false;
        Families { ipv4, ipv6, prefix }
    }

    #[test]
    fn a_doubt_stays_until_a_write_of_the_family_is_known_to_be_stored() {
        let doubts = Doubts::default();
        let uid: Arc<str> = "u".into();
        assert_eq!(doubts.of("u"), NONE);
        assert_eq!(doubts.enter(&uid, IPV4), NONE);
        assert_eq!(doubts.of("u"), IPV4);
        // Another write, which is refused.
        assert_eq!(doubts.enter(&uid, IPV6), IPV4);
        assert_eq!(doubts.of("u"), BOTH);
        doubts.restore("u", IPV4);
        assert_eq!(doubts.of("u"), IPV4);
        // Another one, which is stored.
        doubts.enter(&uid, IPV6);
        doubts.settle("u", IPV6);
        assert_eq!(doubts.of("u"), IPV4);
        doubts.enter(&uid, BOTH);
        doubts.settle("u", BOTH);
        assert_eq!(doubts.of("u"), NONE);
        assert!(doubts.state().families.is_empty());
    }

    #[test]
    fn deleted_hosts_are_forgotten() {
        let index = Index::default();
        let doubts = Doubts::default();
        for n in 0..FEW {
            doubts.enter(&n.to_string().into(), BOTH);
        }
        doubts.forget_deleted(&index.view());
        assert!(doubts.state().families.is_empty());
    }
}
