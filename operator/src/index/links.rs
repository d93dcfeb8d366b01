//! From something that objects name to those objects, the oldest first.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hash, RandomState};
use std::marker::PhantomData;

use super::Seniority;
use super::packing::Pack;
use super::slots::{Id, Slots, short_hash};

/// Links by hash, without what they link from: what is found has to be asked whether it names that.
///
/// Nearly everything is named by one object, and that takes eight octets.
#[derive(Debug)]
pub(super) struct Links<F, S = RandomState> {
    state: S,
    one: HashMap<u32, Id>,
    /// All of them, where there are more than one.
    several: HashMap<u32, BTreeSet<Seniority>>,
    from: PhantomData<F>,
}

impl<F, S: Default> Default for Links<F, S> {
    fn default() -> Self {
        Self {
            state: S::default(),
            one: HashMap::new(),
            several: HashMap::new(),
            from: PhantomData,
        }
    }
}

/// What may name something.
pub(super) enum Linked<'a> {
    Nothing,
    One(Id),
    Several(&'a BTreeSet<Seniority>),
}

impl<F: Hash, S: BuildHasher> Links<F, S> {
    /// Links to an object that is in `slots`.
    pub(super) fn insert<T: Pack>(&mut self, from: &F, id: Id, slots: &Slots<T, impl BuildHasher>) {
        let hash = short_hash(&self.state, from);
        let seniority = |id| slots.at(id).map(|object: T| seniority(&object));
        if let Some(several) = self.several.get_mut(&hash) {
            several.extend(seniority(id));
            return;
        }
        match self.one.get(&hash).copied() {
            None => drop(self.one.insert(hash, id)),
            Some(known) if known == id => {}
            Some(known) => {
                self.one.remove(&hash);
                let both = [known, id].into_iter().filter_map(seniority);
                self.several.insert(hash, both.collect());
            }
        }
    }

    /// Takes the link to an object out, which `slots` may have no more.
    pub(super) fn remove<T: Pack>(
        &mut self,
        from: &F,
        id: Id,
        object: &T,
        slots: &Slots<T, impl BuildHasher>,
    ) {
        let hash = short_hash(&self.state, from);
        if self.one.get(&hash) == Some(&id) {
            self.one.remove(&hash);
        }
        let Some(several) = self.several.get_mut(&hash) else {
            return;
        };
        several.remove(&seniority(object));
        if several.len() > 1 {
            return;
        }
        let last = several.pop_first();
        self.several.remove(&hash);
        if let Some(id) = last.and_then(|(_, key)| slots.id(&key)) {
            self.one.insert(hash, id);
        }
    }

    pub(super) fn get(&self, from: &F) -> Linked<'_> {
        let hash = short_hash(&self.state, from);
        match (self.one.get(&hash), self.several.get(&hash)) {
            (Some(id), _) => Linked::One(*id),
            (None, Some(several)) => Linked::Several(several),
            (None, None) => Linked::Nothing,
        }
    }
}

impl Linked<'_> {
    /// The objects, each unpacked when it is come to.
    pub(super) fn objects<T: Pack>(
        self,
        slots: &Slots<T, impl BuildHasher>,
    ) -> impl Iterator<Item = T> {
        let (one, several) = match self {
            Self::Nothing => (None, None),
            Self::One(id) => (Some(id), None),
            Self::Several(several) => (None, Some(several)),
        };
        let several = several.into_iter().flatten();
        let several = several.filter_map(|(_, key)| slots.id(key));
        one.into_iter().chain(several).filter_map(|id| slots.at(id))
    }
}

fn seniority(object: &impl Pack) -> Seniority {
    let meta = object.meta();
    (meta.created, meta.key.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::slots::tests::{Coarse, Thing, thing};
    use super::*;

    proptest! {
        /// Against a look through all objects.
        #[test]
        fn those_that_name_something_are_found_the_oldest_first(
            operations in prop::collection::vec(
                (0_u8..8, prop::collection::vec(0_u8..4, 0..3)), 0..60,
            ),
        ) {
            let mut slots: Slots<Thing, Coarse> = Slots::default();
            let mut links: Links<u8, Coarse> = Links::default();
            let mut model: BTreeMap<u8, Thing> = BTreeMap::new();
            for (name, names) in operations {
                let thing = thing(name, &names);
                if let Some((id, former)) = slots.remove(&thing.meta.key) {
                    for named in &former.names {
                        links.remove(named, id, &former, &slots);
                    }
                    model.remove(&name);
                }
                // Without names it is gone.
                if !names.is_empty() {
                    let id = slots.insert(&thing).unwrap();
                    for named in &names {
                        links.insert(named, id, &slots);
                    }
                    model.insert(name, thing);
                }
                for named in 0..4 {
                    let found = links.get(&named).objects(&slots);
                    let found = found.filter(|thing: &Thing| thing.names.contains(&named));
                    let mut expected: Vec<_> = model.values().cloned().collect();
                    expected.retain(|thing| thing.names.contains(&named));
                    expected.sort_by_key(seniority);
                    prop_assert_eq!(found.collect::<Vec<_>>(), expected);
                }
            }
        }
    }
}
