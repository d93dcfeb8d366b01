//! Tests of who has which names.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::admission::{AliasRefusal, Refusal};
use crate::name::RecordName;

fn with_aliases(hostname: &str, aliases: &[&str]) -> Value {
    let mut spec = spec(hostname);
    spec["aliases"] = aliases.iter().map(|name| json!({"name": name})).collect();
    spec
}

fn day(day: u32) -> String {
    format!("2026-01-{day:02}T00:00:00Z")
}

fn alias(name: &str, why: AliasRefusal) -> Result<(), Refusal> {
    let name = RecordName::parse(name).unwrap();
    Err(Refusal::Alias(name, why))
}

fn all_with(field: &str, value: Value) -> Value {
    let mut allowed = json!({"namespaces": {"from": "All"}});
    allowed[field] = value;
    allowed
}

#[test]
fn patterns_say_which_names_hosts_of_other_namespaces_have() {
    fn check(patterns: &[&str], namespace: &str, hostname: &str, expected: Result<(), Refusal>) {
        let f = Fixture::new();
        f.zone_with(1, all_with("names", json!(patterns)));
        f.host(namespace, "h", 1, spec(hostname));
        let verdict = f.verdict(namespace, "h");
        assert_eq!(verdict, expected, "{patterns:?} {namespace} {hostname}");
    }
    let no = || Err(Refusal::NameNotAllowed);
    let own = &["shop.dyn.example.org", "*.{namespace}.dyn.example.org"][..];
    check(&[], "red", "home.dyn.example.org", Ok(()));
    check(own, "red", "home.red.dyn.example.org", Ok(()));
    check(own, "red", "HOME.Red.dyn.example.org", Ok(()));
    check(own, "red", "shop.dyn.example.org", Ok(()));
    check(own, "red", "a.shop.dyn.example.org", no());
    check(own, "red", "red.dyn.example.org", no());
    check(own, "red", "home.blue.dyn.example.org", no());
    check(own, "red", "home.dyn.example.org", no());
    check(own, "red", "red.example.org", Err(Refusal::OutsideZone));
    // The zone's own namespace is the administrator's.
    check(own, "dns", "home.blue.dyn.example.org", Ok(()));
}

#[test]
fn aliases_lie_below_the_hosts_name_or_where_nobody_elses_can() {
    fn check(patterns: &[&str], namespace: &str, name: &str, expected: Option<AliasRefusal>) {
        let f = Fixture::new();
        f.zone_with(1, all_with("names", json!(patterns)));
        let hostname = "home.red.dyn.example.org";
        f.host(namespace, "h", 1, with_aliases(hostname, &[name]));
        let expected = expected.map_or(Ok(()), |why| alias(name, why));
        let verdict = f.verdict(namespace, "h");
        assert_eq!(verdict, expected, "{patterns:?} {namespace} {name}");
    }
    let not_allowed = Some(AliasRefusal::NotAllowed);
    let outside = Some(AliasRefusal::OutsideZone);
    check(&[], "red", "www.home.red.dyn.example.org", None);
    check(&[], "red", "*.home.red.dyn.example.org", None);
    check(&[], "red", "*.a.home.red.dyn.example.org", None);
    check(&[], "red", "www.red.dyn.example.org", not_allowed.clone());
    check(&[], "red", "xhome.red.dyn.example.org", not_allowed.clone());
    check(&[], "red", "*.red.dyn.example.org", not_allowed.clone());
    check(&[], "red", "*.dyn.example.org", not_allowed.clone());
    check(&[], "red", "dyn.example.org", outside.clone());
    check(&[], "red", "www.example.org", outside.clone());
    check(&[], "red", "*.example.org", outside.clone());

    let own = &["*.{namespace}.dyn.example.org"][..];
    check(own, "red", "www.red.dyn.example.org", None);
    check(own, "red", "*.red.dyn.example.org", None);
    check(own, "red", "red.dyn.example.org", not_allowed.clone());
    check(own, "red", "www.blue.dyn.example.org", not_allowed.clone());
    check(own, "red", "*.dyn.example.org", not_allowed.clone());

    // An alias is as old as its host: what others may have too is only to be had as hostname.
    let shared = &["*.dyn.example.org", "shop.dyn.example.org"][..];
    check(shared, "red", "shop.dyn.example.org", not_allowed.clone());
    check(
        shared,
        "red",
        "www.blue.dyn.example.org",
        not_allowed.clone(),
    );
    check(shared, "red", "*.dyn.example.org", not_allowed);
    check(shared, "red", "www.home.red.dyn.example.org", None);

    check(&[], "dns", "www.dyn.example.org", None);
    check(&[], "dns", "*.dyn.example.org", None);
    check(&[], "dns", "dyn.example.org", outside.clone());
    check(&[], "dns", "www.example.org", outside);
}

#[test]
fn names_are_unique_aliases_included_and_the_oldest_has_them() {
    /// A hostname and aliases, without the domain.
    type Names<'a> = (&'a str, &'a [&'a str]);

    fn check((older, younger): (Names<'_>, Names<'_>), expected: Option<Option<&str>>) {
        let f = Fixture::new();
        f.zone(1, json!({"from": "All"}));
        for (created, name, (hostname, aliases)) in [(2, "younger", younger), (1, "older", older)] {
            let full = |label: &&str| format!("{label}.dyn.example.org");
            let aliases: Vec<_> = aliases.iter().map(full).collect();
            let aliases: Vec<&str> = aliases.iter().map(String::as_str).collect();
            let spec = with_aliases(&full(&hostname), &aliases);
            f.host_with("dns", name, 1, &day(created), spec);
        }
        let older = || ObjectKey::new("dns", "older");
        let expected = match expected {
            None => Ok(()),
            Some(None) => Err(Refusal::NameConflict(older())),
            Some(Some(name)) => alias(
                &format!("{name}.dyn.example.org"),
                AliasRefusal::Conflict(older()),
            ),
        };
        assert_eq!(f.verdict("dns", "older"), Ok(()));
        assert_eq!(f.verdict("dns", "younger"), expected, "{younger:?}");
    }
    check((("a", &[]), ("b", &[])), None);
    check((("a", &[]), ("a", &[])), Some(None));
    check((("a", &[]), ("A", &["x"])), Some(None));
    check((("a", &["x"]), ("x", &[])), Some(None));
    check((("a", &["x"]), ("b", &["y", "X"])), Some(Some("x")));
    check((("a", &[]), ("b", &["a"])), Some(Some("a")));
    // A wildcard is a name of its own, and takes none of those that it stands for.
    check((("a", &["*.a"]), ("b", &["*.a"])), Some(Some("*.a")));
    check((("a", &["*.a"]), ("x.a", &["*.x.a"])), None);
}

#[test]
fn what_a_host_may_not_have_it_does_not_claim_and_its_own_name_it_keeps() {
    let mut f = Fixture::new();
    let selector = json!({"from": "Selector", "selector": {"matchLabels": {"team": "yes"}}});
    f.zone(1, selector);
    let yes = Labels::from([("team".to_owned(), "yes".to_owned())]);
    f.index.apply_namespace("out", Labels::new());
    f.index.apply_namespace("red", yes.clone());
    f.index.apply_namespace("blue", yes.clone());
    f.index.apply_namespace("dns", yes);
    let conflict = |namespace, name| ObjectKey::new(namespace, name);

    // The zone does not admit the oldest: neither its name nor its alias is taken.
    f.claimant(
        "out",
        "h",
        1,
        "a.dyn.example.org",
        &["www.a.dyn.example.org"],
    );
    f.claimant(
        "red",
        "a",
        3,
        "a.dyn.example.org",
        &["www.a.dyn.example.org"],
    );
    assert_eq!(f.verdict("red", "a"), Ok(()));

    // A wrong alias is not claimed; the name of the host that asks for it is.
    f.claimant(
        "blue",
        "thief",
        2,
        "b.dyn.example.org",
        &["shop.dyn.example.org", "www.b.dyn.example.org"],
    );
    let refused = alias("shop.dyn.example.org", AliasRefusal::NotAllowed);
    assert_eq!(f.verdict("blue", "thief"), refused);
    f.claimant("red", "shop", 4, "shop.dyn.example.org", &[]);
    assert_eq!(f.verdict("red", "shop"), Ok(()));
    f.claimant("red", "b", 5, "b.dyn.example.org", &[]);
    assert_eq!(
        f.verdict("red", "b"),
        Err(Refusal::NameConflict(conflict("blue", "thief")))
    );

    // A host without its own name has no aliases either.
    f.claimant(
        "blue",
        "a",
        6,
        "a.dyn.example.org",
        &["*.a.dyn.example.org"],
    );
    f.claimant(
        "dns",
        "wild",
        7,
        "wild.dyn.example.org",
        &["*.a.dyn.example.org"],
    );
    let lost = Err(Refusal::NameConflict(conflict("red", "a")));
    assert_eq!(f.verdict("blue", "a"), lost);
    assert_eq!(f.verdict("dns", "wild"), Ok(()));
    f.affected();
    f.index.remove_host(&ObjectKey::new("red", "a"));
    assert_eq!(f.verdict("blue", "a"), Ok(()));
    let taken = AliasRefusal::Conflict(conflict("blue", "a"));
    assert_eq!(
        f.verdict("dns", "wild"),
        alias("*.a.dyn.example.org", taken)
    );
    assert!(f.affected().contains("host dns/wild"));
}

#[test]
fn who_is_not_judged_yet_leaves_open_only_what_depends_on_it() {
    let mut f = Fixture::new();
    f.zone(1, json!({"from": "Selector", "selector": {}}));
    f.index.apply_namespace("blue", Labels::new());
    f.index.apply_namespace("dns", Labels::new());
    let alias_of_a = &["www.a.dyn.example.org"][..];
    f.claimant("red", "a", 1, "a.dyn.example.org", &[]);
    f.claimant("dns", "a", 4, "a.dyn.example.org", alias_of_a);
    f.claimant("dns", "www", 6, "www.a.dyn.example.org", &[]);
    // Whether the one of the fourth day has its name, and with it the alias, is not known.
    assert_eq!(f.verdict("dns", "www"), Err(Refusal::NotYetJudged));
    // It has not, whatever becomes of the one of the first day.
    f.claimant("blue", "a", 2, "a.dyn.example.org", &[]);
    assert_eq!(f.verdict("dns", "www"), Ok(()));
    assert!(f.affected().contains("host dns/www"));
    f.index.remove_host(&ObjectKey::new("red", "a"));
    assert_eq!(f.verdict("dns", "www"), Ok(()));
}

#[test]
fn an_edited_alias_is_told_to_those_only_who_claim_it() {
    let mut f = Fixture::new();
    f.zone(1, json!({"from": "Same"}));
    for n in 0..100 {
        f.claimant(
            "dns",
            &format!("h{n}"),
            2,
            &format!("h{n}.dyn.example.org"),
            &[],
        );
    }
    f.claimant("dns", "old", 1, "old.dyn.example.org", &[]);
    f.affected();
    let told = names(&["host dns/old", "host dns/h7", "zone dns/dyn"]);

    let mut edit = |version, aliases: &[&str], verdict: Result<(), Refusal>| {
        let spec = with_aliases("old.dyn.example.org", aliases);
        f.host_with("dns", "old", version, &day(1), spec);
        assert_eq!(f.affected(), told);
        assert_eq!(f.verdict("dns", "h7"), verdict);
    };
    let conflict = Err(Refusal::NameConflict(ObjectKey::new("dns", "old")));
    edit(
        2,
        &["h7.dyn.example.org", "www.old.dyn.example.org"],
        conflict,
    );
    edit(3, &[], Ok(()));
}

#[test]
fn of_each_namespace_the_oldest_are_admitted_up_to_the_limit() {
    let mut f = Fixture::new();
    let limit = |limit: Value| all_with("maxPerNamespace", limit);
    f.zone_with(1, limit(json!(2)));
    for (d, name) in [(3, "c"), (1, "a"), (4, "d"), (2, "b")] {
        f.host_with(
            "red",
            name,
            1,
            &day(d),
            spec(&format!("{name}.dyn.example.org")),
        );
    }
    // What is over the limit claims nothing.
    f.host_with("blue", "x", 1, &day(5), spec("c.dyn.example.org"));
    f.host_with("blue", "y", 1, &day(6), spec("y.dyn.example.org"));
    // The zone's own namespace has no more.
    for n in 1..4 {
        f.host_with(
            "dns",
            &format!("n{n}"),
            1,
            &day(n),
            spec(&format!("n{n}.dyn.example.org")),
        );
    }
    let verdicts = |f: &Fixture| -> Vec<&str> {
        let hosts = [
            "red/a", "red/b", "red/c", "red/d", "blue/x", "blue/y", "dns/n1", "dns/n2", "dns/n3",
        ];
        let admitted = hosts.into_iter().filter(|host| {
            let (namespace, name) = host.split_once('/').unwrap();
            let host = f.index.host(&ObjectKey::new(namespace, name));
            host.is_some_and(|host| f.index.view().admission(&host).is_ok())
        });
        admitted.collect()
    };
    assert_eq!(
        verdicts(&f),
        ["red/a", "red/b", "blue/x", "blue/y", "dns/n1", "dns/n2"]
    );
    assert_eq!(f.verdict("red", "c"), Err(Refusal::QuotaExceeded(2)));
    f.affected();

    // The next in age follows, and takes its name from a younger host of another namespace.
    f.index.remove_host(&ObjectKey::new("red", "a"));
    let told = ["host red/a", "host red/c", "host blue/x", "zone dns/dyn"];
    assert_eq!(f.affected(), names(&told));
    let expected = ["red/b", "red/c", "blue/y", "dns/n1", "dns/n2"];
    assert_eq!(verdicts(&f), expected);

    f.zone_with(2, limit(json!(3)));
    assert_eq!(
        verdicts(&f),
        [
            "red/b", "red/c", "red/d", "blue/y", "dns/n1", "dns/n2", "dns/n3"
        ]
    );
    f.zone_with(3, limit(json!(1)));
    assert_eq!(verdicts(&f), ["red/b", "blue/x", "dns/n1"]);
    f.zone_with(4, limit(Value::Null));
    assert_eq!(verdicts(&f).len(), 7);
    assert!(f.affected().contains("host red/d"));
}

/// What happens to the index of a zone and its hosts.
#[derive(Clone, Debug)]
enum Operation {
    Host {
        place: usize,
        hostname: usize,
        aliases: Vec<usize>,
    },
    Remove {
        place: usize,
    },
    Team {
        namespace: usize,
        yes: bool,
    },
    Zone {
        limit: Option<u32>,
        patterns: bool,
    },
}

/// Namespace, name and day of creation of those hosts that there may be.
const PLACES: [(&str, &str, u32); 8] = [
    ("red", "a", 1),
    ("red", "b", 3),
    ("red", "c", 3),
    ("blue", "a", 2),
    ("blue", "b", 3),
    ("blue", "c", 5),
    ("dns", "a", 4),
    ("dns", "b", 2),
];

const NAMES: [&str; 5] = [
    "red.dyn.example.org",
    "a.red.dyn.example.org",
    "b.a.red.dyn.example.org",
    "blue.dyn.example.org",
    "a.blue.dyn.example.org",
];

fn operation() -> impl Strategy<Value = Operation> {
    let aliases = prop::collection::hash_set(0..NAMES.len(), 0..3);
    prop_oneof![
        6 => (0..PLACES.len(), 0..NAMES.len(), aliases).prop_map(|(place, hostname, aliases)| {
            let aliases = aliases.into_iter().filter(|a| *a != hostname).collect();
            Operation::Host { place, hostname, aliases }
        }),
        3 => (0..PLACES.len()).prop_map(|place| Operation::Remove { place }),
        2 => (0..3_usize, any::<bool>()).prop_map(|(namespace, yes)| Operation::Team { namespace, yes }),
        1 => (prop::option::of(1_u32..3), any::<bool>())
            .prop_map(|(limit, patterns)| Operation::Zone { limit, patterns }),
    ]
}

impl Fixture {
    /// A host that claims these names, created on that day.
    fn claimant(
        &self,
        namespace: &str,
        name: &str,
        created: u32,
        hostname: &str,
        aliases: &[&str],
    ) {
        let spec = with_aliases(hostname, aliases);
        self.host_with(namespace, name, 1, &day(created), spec);
    }

    fn perform(&self, version: u64, operation: &Operation) {
        match operation {
            Operation::Host {
                place,
                hostname,
                aliases,
            } => {
                let (namespace, name, created) = PLACES[*place];
                let aliases: Vec<_> = aliases.iter().map(|a| NAMES[*a]).collect();
                let spec = with_aliases(NAMES[*hostname], &aliases);
                self.host_with(namespace, name, version, &day(created), spec);
            }
            Operation::Remove { place } => {
                let (namespace, name, _) = PLACES[*place];
                self.index.remove_host(&ObjectKey::new(namespace, name));
            }
            Operation::Team { namespace, yes } => {
                let labels = yes.then(|| ("team".to_owned(), "yes".to_owned()));
                let namespace = ["red", "blue", "dns"][*namespace];
                self.index
                    .apply_namespace(namespace, labels.into_iter().collect());
            }
            Operation::Zone { limit, patterns } => {
                let patterns: &[&str] = match patterns {
                    true => &[
                        "{namespace}.dyn.example.org",
                        "*.{namespace}.dyn.example.org",
                    ],
                    false => &[],
                };
                let selector = json!({"matchLabels": {"team": "yes"}});
                self.zone_with(
                    version,
                    json!({
                        "namespaces": {"from": "Selector", "selector": selector},
                        "names": patterns, "maxPerNamespace": limit,
                    }),
                );
            }
        }
    }

    fn verdicts(&self) -> HashMap<String, Result<(), Refusal>> {
        let view = self.index.view();
        let hosts = view.hosts();
        hosts
            .map(|host| {
                (
                    format!("host {}", host.meta.key),
                    view.admission(&host).map(|_| ()),
                )
            })
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_name_is_anybody_elses_too_and_every_turn_of_a_verdict_is_told(
        operations in prop::collection::vec(operation(), 1..40),
    ) {
        let mut f = Fixture::new();
        f.zone_with(1, json!({"namespaces": {"from": "All"}}));
        let mut before = HashMap::new();
        for (version, operation) in (2..).zip(&operations) {
            f.perform(version, operation);
            let now = f.verdicts();
            let told = f.affected();
            for (host, verdict) in &now {
                let is_same = before.get(host) == Some(verdict);
                prop_assert!(is_same || told.contains(host), "{:?}: {}", operation, host);
            }
            let view = f.index.view();
            let mut taken = HashSet::new();
            for host in view.hosts().filter(|host| view.admission(host).is_ok()) {
                let spec = host.spec.as_ref().unwrap();
                let own = RecordName::from(spec.hostname.clone());
                for name in spec.aliases.iter().map(|a| a.name.clone()).chain([own]) {
                    prop_assert!(taken.insert(name.clone()), "{} is had twice", name);
                }
            }
            drop(view);
            before = now;
        }
    }
}
