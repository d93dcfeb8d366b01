//! The objects of one kind, packed, each with a small number as its handle.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash, RandomState};
use std::marker::PhantomData;

use super::object::ObjectKey;
use super::packing::{Pack, Packed};

/// The handle of an object: it stays the same until the object is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(u32);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Slots<T, S = RandomState> {
    state: S,
    slots: Vec<Option<Packed>>,
    free: Vec<Id>,
    /// By the hash of the key, which tells nearly all apart.
    ids: HashMap<u32, Id>,
    /// The others.
    colliding: HashMap<ObjectKey, Id>,
    of: PhantomData<T>,
}

impl<T, S: Default> Default for Slots<T, S> {
    fn default() -> Self {
        Self {
            state: S::default(),
            slots: Vec::new(),
            free: Vec::new(),
            ids: HashMap::new(),
            colliding: HashMap::new(),
            of: PhantomData,
        }
    }
}

impl<T: Pack, S: BuildHasher> Slots<T, S> {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<T> {
        self.at(self.id(key)?)
    }

    pub(super) fn id(&self, key: &ObjectKey) -> Option<Id> {
        let id = self.ids.get(&self.hash(key)).copied();
        id.filter(|id| self.is_at(*id, key))
            .or_else(|| self.colliding.get(key).copied())
    }

    pub(super) fn at(&self, id: Id) -> Option<T> {
        self.packed(id)?.unpack()
    }

    /// Whether this is the handle of that object.
    pub(super) fn is_at(&self, id: Id, key: &ObjectKey) -> bool {
        let packed = self.packed(id);
        packed.is_some_and(|packed| packed.is(&key.namespace, &key.name))
    }

    /// Every object.
    pub(super) fn iter(&self) -> impl Iterator<Item = T> {
        self.slots.iter().flatten().filter_map(Packed::unpack)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = ObjectKey> {
        self.iter().map(|object| object.meta().key.clone())
    }

    /// Keys of objects in the order of their slots from `place` on, and the place to go on from.
    pub(super) fn keys_from(&self, place: usize, most: usize) -> (Vec<ObjectKey>, Option<usize>) {
        let end = place.saturating_add(most).min(self.slots.len());
        let slots = self.slots.get(place..end).unwrap_or_default();
        let objects = slots.iter().flatten().filter_map(Packed::unpack::<T>);
        let keys = objects.map(|object| object.meta().key.clone()).collect();
        (keys, Some(end).filter(|end| *end < self.slots.len()))
    }

    /// Puts an object in the place of its former version, or in a new one. `None` where it cannot be
    /// kept.
    pub(super) fn insert(&mut self, object: &T) -> Option<Id> {
        let packed = Packed::new(object)?;
        let key = &object.meta().key;
        let id = match self.id(key) {
            Some(id) => id,
            None => self.allot(key)?,
        };
        *self.slot(id)? = Some(packed);
        Some(id)
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) -> Option<(Id, T)> {
        let id = self.id(key)?;
        let object = self.slot(id)?.take()?.unpack()?;
        if self.colliding.remove(key).is_none() {
            let hash = self.hash(key);
            self.ids.remove(&hash);
        }
        self.free.push(id);
        Some((id, object))
    }

    fn allot(&mut self, key: &ObjectKey) -> Option<Id> {
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                let id = Id(u32::try_from(self.slots.len()).ok()?);
                self.slots.push(None);
                id
            }
        };
        let hash = self.hash(key);
        match self.ids.entry(hash) {
            Entry::Vacant(free) => drop(free.insert(id)),
            Entry::Occupied(_) => drop(self.colliding.insert(key.clone(), id)),
        }
        Some(id)
    }

    fn hash(&self, key: &ObjectKey) -> u32 {
        short_hash(&self.state, key)
    }

    fn packed(&self, id: Id) -> Option<&Packed> {
        self.slots.get(usize::try_from(id.0).ok()?)?.as_ref()
    }

    fn slot(&mut self, id: Id) -> Option<&mut Option<Packed>> {
        self.slots.get_mut(usize::try_from(id.0).ok()?)
    }
}

/// Half of a hash: few of a hundred thousand objects have the same.
pub(super) fn short_hash(state: &impl BuildHasher, of: &impl Hash) -> u32 {
    let [a, b, c, d, ..] = state.hash_one(of).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
pub(super) mod tests {
    use std::hash::Hasher;

    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::index::object::Meta;

    /// Tells two kinds of things apart at most.
    #[derive(Default)]
    pub(in crate::index) struct Coarse;

    pub(in crate::index) struct CoarseHasher(u64);

    impl BuildHasher for Coarse {
        type Hasher = CoarseHasher;

        fn build_hasher(&self) -> CoarseHasher {
            CoarseHasher(0)
        }
    }

    impl Hasher for CoarseHasher {
        fn finish(&self) -> u64 {
            self.0 % 2
        }

        fn write(&mut self, octets: &[u8]) {
            self.0 += octets.iter().map(|octet| u64::from(*octet)).sum::<u64>();
        }
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(in crate::index) struct Thing {
        pub(in crate::index) meta: Meta,
        pub(in crate::index) names: Vec<u8>,
    }

    impl Pack for Thing {
        fn meta(&self) -> &Meta {
            &self.meta
        }
    }

    pub(in crate::index) fn thing(name: u8, names: &[u8]) -> Thing {
        let meta = Meta {
            key: ObjectKey::new("team", &name.to_string()),
            uid: "u".into(),
            resource_version: 1,
            generation: 1,
            created: Timestamp::from_second(i64::from(name % 3)).unwrap(),
            deleting: false,
        };
        let names = names.to_vec();
        Thing { meta, names }
    }

    proptest! {
        /// Against a map.
        #[test]
        fn what_is_put_is_found_until_it_is_removed(
            operations in prop::collection::vec((any::<bool>(), 0_u8..12, any::<u8>()), 0..100),
        ) {
            let mut slots: Slots<Thing, Coarse> = Slots::default();
            let mut model: HashMap<u8, Thing> = HashMap::new();
            for (is_insert, name, value) in operations {
                let thing = thing(name, &[value]);
                if is_insert {
                    let before = slots.id(&thing.meta.key);
                    let id = slots.insert(&thing);
                    prop_assert!(before.is_none() || before == id);
                    model.insert(name, thing);
                } else {
                    let gone = slots.remove(&thing.meta.key).map(|(_, thing)| thing);
                    prop_assert_eq!(gone, model.remove(&name));
                }
                prop_assert_eq!(slots.len(), model.len());
                prop_assert_eq!(slots.iter().count(), model.len());
                for (name, thing) in &model {
                    prop_assert_eq!(slots.get(&thing.meta.key), Some(thing.clone()), "{}", name);
                }
            }
        }
    }
}
