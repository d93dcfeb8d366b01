//! The guard over time: who asks when, and what is answered.

use super::*;

const QUIET: Word = Word {
    approved: false,
    paused: false,
};
const APPROVED: Word = Word {
    approved: true,
    paused: false,
};
const PAUSED_BEFORE: Word = Word {
    approved: false,
    paused: true,
};

/// A guard, its zone, and the time in milliseconds.
struct Play {
    guard: Guard,
    start: Instant,
    now: u64,
    word: Word,
    /// Names in the zone, and in each namespace of it.
    all: (usize, usize),
}

impl Play {
    fn new(zone: usize, namespace: usize) -> Self {
        Self {
            guard: Guard::default(),
            start: Instant::now(),
            now: 0,
            word: QUIET,
            all: (zone, namespace),
        }
    }

    fn zone() -> ObjectKey {
        ObjectKey::new("dns", "dyn")
    }

    fn at(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    /// The answer to the host `number` of a namespace, with so many names.
    fn ask_for(&mut self, namespace: &str, number: usize, names: usize, cause: Cause) -> Permit {
        let request = Request {
            host: &ObjectKey::new(namespace, &number.to_string()),
            uid: &"u".into(),
            zone: &Self::zone(),
            names,
            cause,
        };
        let (zone, in_namespace) = self.all;
        let (word, now) = (self.word, self.at());
        self.guard
            .ask(request, word, now, |namespace| match namespace {
                None => zone,
                Some(_) => in_namespace,
            })
    }

    fn ask(&mut self, namespace: &str, number: usize) -> Permit {
        self.ask_for(namespace, number, 1, Cause::Namespace)
    }

    /// Lets all these ask, and how many are granted, have to wait, and are paused.
    fn ask_all(&mut self, namespace: &str, hosts: std::ops::Range<usize>) -> (u32, u32, u32) {
        let mut answers = (0, 0, 0);
        for host in hosts {
            match self.ask(namespace, host) {
                Permit::Granted => answers.0 += 1,
                Permit::Wait(_) => answers.1 += 1,
                Permit::Paused => answers.2 += 1,
            }
        }
        answers
    }

    fn withdraw(&mut self, namespace: &str, hosts: std::ops::Range<usize>) {
        for host in hosts {
            let (host, now) = (ObjectKey::new(namespace, &host.to_string()), self.at());
            self.guard.withdraw(&host, |_| true, now);
        }
    }

    fn report(&mut self) -> Report {
        let (word, now) = (self.word, self.at());
        self.guard.report(&Self::zone(), word, now)
    }

    fn is_paused(&mut self) -> bool {
        self.report() != Report::NotPaused
    }
}

const SETTLED: u64 = 2000;

#[test]
fn ten_names_or_one_in_twenty_go_and_more_do_not() {
    fn check(hosts: usize, zone: usize, namespace: usize, goes: bool) {
        let mut play = Play::new(zone, namespace);
        play.ask_all("a", 0..hosts);
        play.now = SETTLED;
        let (granted, waiting, paused) = play.ask_all("a", 0..hosts);
        let hosts = u32::try_from(hosts).unwrap();
        let expected = if goes { (hosts, 0, 0) } else { (0, 0, hosts) };
        assert_eq!(
            (granted, waiting, paused),
            expected,
            "{hosts} of {zone}, {namespace}"
        );
        assert_eq!(play.is_paused(), !goes);
    }
    check(10, 10, 10, true);
    check(11, 11, 11, false);
    check(11, 219, 219, false);
    check(11, 220, 220, true);
    check(50, 1000, 1000, true);
    check(51, 1000, 1000, false);
    // A small part of the zone, and all of a team's names.
    check(40, 1000, 40, false);
}

#[test]
fn the_first_of_a_mass_waits_for_the_others() {
    let mut play = Play::new(100, 100);
    assert_eq!(play.ask("a", 0), Permit::Wait(SETTLE));
    play.now = 1500;
    assert_eq!(
        play.ask("a", 0),
        Permit::Wait(SETTLE - Duration::from_millis(1500))
    );
    // With the eleventh it is a mass, whoever asked first.
    assert_eq!(play.ask_all("a", 1..11), (0, 10, 0));
    play.now = SETTLED;
    assert_eq!(play.ask("a", 0), Permit::Paused);
    // Whoever comes to a pause need not wait to be told.
    assert_eq!(play.ask("a", 11), Permit::Paused);
}

#[test]
fn what_was_granted_counts_for_a_minute() {
    let mut play = Play::new(100, 100);
    play.ask_all("a", 0..8);
    play.now = SETTLED;
    assert_eq!(play.ask_all("a", 0..8), (8, 0, 0));
    assert_eq!(play.ask_all("a", 8..10), (0, 2, 0));
    play.now += SETTLED;
    assert_eq!(play.ask_all("a", 8..10), (2, 0, 0));
    // Granted is granted, however often its removal is tried.
    play.withdraw("a", 0..4);
    assert_eq!(play.ask_all("a", 4..10), (6, 0, 0));

    // Eight of the ten are a minute old, and then are not.
    play.now = SETTLED + 57_999;
    assert_eq!(play.ask_all("a", 10..11), (0, 1, 0));
    play.now = SETTLED + 59_999;
    assert_eq!(play.ask_all("a", 10..11), (0, 0, 1));
    play.withdraw("a", 10..11);
    play.now = SETTLED + 60_000;
    assert_eq!(play.ask_all("a", 10..18), (0, 8, 0));
}

#[test]
fn aliases_are_names_too() {
    let mut play = Play::new(100, 100);
    let mut ask_twice = |host, names| {
        play.ask_for("a", host, names, Cause::Consent);
        play.now += SETTLED;
        play.ask_for("a", host, names, Cause::Consent)
    };
    assert_eq!(ask_twice(0, 4), Permit::Granted);
    assert_eq!(ask_twice(1, 4), Permit::Granted);
    assert_eq!(ask_twice(2, 2), Permit::Granted);
    assert_eq!(ask_twice(3, 1), Permit::Paused);
}

#[test]
fn no_host_alone_is_a_mass_however_many_aliases_it_has() {
    let mut play = Play::new(34, 17);
    play.ask_for("a", 0, 17, Cause::Stale);
    play.ask_for("b", 0, 17, Cause::Stale);
    play.now = SETTLED;
    for namespace in ["a", "b"] {
        let permit = play.ask_for(namespace, 0, 17, Cause::Stale);
        assert_eq!(permit, Permit::Granted);
    }
    // What was granted counts likewise, and what is told are names.
    play.ask_for("a", 1, 17, Cause::Stale);
    play.now += SETTLED;
    assert_eq!(play.ask_for("a", 1, 17, Cause::Stale), Permit::Paused);
    assert_eq!(play.guard.paused_names(), 17);
}

#[test]
fn what_a_namespaces_pause_holds_is_no_reason_to_hold_what_others_have() {
    let mut play = Play::new(60, 20);
    play.ask_all("a", 0..5);
    play.ask_all("b", 0..3);
    play.ask_all("a", 5..20);
    play.now = SETTLED;
    // Also where the others are looked at first.
    assert_eq!(play.ask_all("b", 0..3), (3, 0, 0));
    assert_eq!(play.ask_all("a", 0..20), (0, 0, 20));
    assert_eq!(play.ask_all("c", 0..7), (0, 7, 0));
    play.now += SETTLED;
    assert_eq!(play.ask_all("c", 0..7), (7, 0, 0));
    assert_eq!(play.guard.paused_names(), 20);
    // Those others together are a mass all the same.
    play.ask_all("d", 0..1);
    play.now += SETTLED;
    assert_eq!(play.ask_all("d", 0..1), (0, 0, 1));
    assert_eq!(play.guard.paused_names(), 21);
    // With them it ends, and not with the last of the namespace.
    play.withdraw("d", 0..1);
    play.now += 60_000;
    play.ask_all("e", 0..1);
    play.now += SETTLED;
    assert_eq!(play.ask_all("e", 0..1), (1, 0, 0));
    assert_eq!(play.ask_all("a", 0..20), (0, 0, 20));
}

#[test]
fn a_namespaces_pause_is_no_other_namespaces_and_a_zones_is_everybodys() {
    let mut play = Play::new(1000, 20);
    play.ask_all("a", 0..11);
    assert_eq!(play.ask("b", 0), Permit::Wait(SETTLE));
    play.now = SETTLED;
    assert_eq!(play.ask_all("a", 0..11), (0, 0, 11));
    assert_eq!(play.ask("b", 0), Permit::Granted);
    let Report::Paused(message) = play.report() else {
        panic!("it is paused");
    };
    assert!(
        message.contains("11 of namespace a (it is being deleted)"),
        "{message}"
    );
    assert!(!message.contains("namespace b"), "{message}");

    let mut play = Play::new(100, 20);
    play.ask_all("a", 0..6);
    play.ask_all("b", 0..5);
    play.now = SETTLED;
    assert_eq!(play.ask_all("a", 0..6), (0, 0, 6));
    assert_eq!(play.ask_all("b", 0..5), (0, 0, 5));
    assert_eq!(play.guard.paused_names(), 11);
}

#[test]
fn a_pause_ends_with_an_approval_or_with_its_last_host() {
    let mut play = Play::new(100, 100);
    play.ask_all("a", 0..12);
    play.now = SETTLED;
    assert_eq!(play.ask_all("a", 0..12), (0, 0, 12));
    // It does not melt away as some of its hosts come back.
    play.withdraw("a", 0..11);
    play.now += 120_000;
    assert_eq!(play.ask("a", 11), Permit::Paused);
    play.withdraw("a", 11..12);
    assert!(!play.is_paused());
    assert_eq!(play.ask("a", 11), Permit::Wait(SETTLE));

    play.ask_all("a", 0..12);
    play.now += SETTLED;
    play.ask_all("a", 0..12);
    assert!(play.is_paused());
    play.word = APPROVED;
    assert_eq!(play.guard.waiting(&Play::zone()).len(), 12);
    assert_eq!(play.ask_all("a", 0..12), (12, 0, 0));
    assert!(!play.is_paused());
    // What was approved does not pause the next.
    play.word = QUIET;
    assert_eq!(play.ask_all("a", 12..22), (0, 10, 0));
}

#[test]
fn a_pause_outlives_the_controller_that_found_it() {
    let mut play = Play::new(100, 100);
    play.word = PAUSED_BEFORE;
    assert_eq!(play.report(), Report::AsBefore);
    // Nine of twelve would be few, were the pause forgotten.
    play.now = SETTLED;
    assert_eq!(play.ask_all("a", 0..9), (0, 0, 9));
    play.now = 120_000;
    assert_eq!(play.ask_all("a", 0..9), (0, 0, 9));
    play.withdraw("a", 0..9);
    assert_eq!(play.report(), Report::NotPaused);

    // An approval leaves nothing to hold.
    let mut play = Play::new(100, 100);
    play.word = PAUSED_BEFORE;
    assert_eq!(play.ask_all("a", 0..9), (0, 0, 9));
    play.word = APPROVED;
    assert_eq!(play.ask_all("a", 0..9), (9, 0, 0));
    play.word = PAUSED_BEFORE;
    assert_eq!(play.report(), Report::NotPaused);

    // Nobody asks any more.
    let mut play = Play::new(100, 100);
    play.word = PAUSED_BEFORE;
    assert_eq!(play.report(), Report::AsBefore);
    play.now = 29_999;
    assert_eq!(play.report(), Report::AsBefore);
    play.now = 30_000;
    assert_eq!(play.report(), Report::NotPaused);
    // Status says so a little longer, and nobody believes it any more.
    assert_eq!(play.ask("a", 0), Permit::Wait(SETTLE));
}

#[test]
fn nothing_is_remembered_of_those_who_do_not_ask_any_more() {
    let mut play = Play::new(100, 100);
    let uid = "u".into();
    play.ask_for("a", 0, 1, Cause::Stale);
    let host = ObjectKey::new("a", "0");
    assert_eq!(play.guard.cause(&host, &uid), Some(Cause::Stale));
    assert_eq!(play.guard.cause(&host, &"another".into()), None);
    // It is seen again; that it is admitted was no news.
    play.guard
        .withdraw(&host, |cause| cause != Cause::Stale, play.at());
    assert_eq!(play.guard.cause(&host, &uid), Some(Cause::Stale));
    play.guard
        .withdraw(&host, |cause| cause == Cause::Stale, play.at());
    assert_eq!(play.guard.cause(&host, &uid), None);

    play.ask_all("b", 0..12);
    play.now = SETTLED;
    play.ask_all("b", 0..12);
    assert!(play.is_paused());
    play.guard.forget(&Play::zone());
    assert!(play.guard.candidates.is_empty() && play.guard.zones.is_empty());

    play.ask_all("c", 0..3);
    play.now += SETTLED;
    assert_eq!(play.ask_all("c", 0..3), (3, 0, 0));
    play.withdraw("c", 0..3);
    play.now += 60_000;
    play.report();
    assert!(play.guard.candidates.is_empty());
    assert!(play.guard.zones[&Play::zone()].namespaces.is_empty());
    assert!(play.guard.zones[&Play::zone()].whole.granted.is_empty());
}

#[test]
fn the_message_says_whose_names_and_what_to_do() {
    let row = |namespace: &str, cause, names| (namespace.into(), cause, names);
    let rows = [
        row("a", Cause::Namespace, 12),
        row("b", Cause::Consent, 1),
        row("b", Cause::Stale, 2),
        row("c", Cause::Definition, 4),
        row("d", Cause::Definition, 5),
    ];
    assert_eq!(
        message(&Play::zone(), &rows),
        "removing 24 names at once is paused: 12 of namespace a (it is being deleted), \
         1 of namespace b (the zone no longer admits them), 2 of namespace b (they are stale), \
         9 of others. If that is intended: kubectl -n dns annotate dynamiczone dyn --overwrite \
         dynhost.dev/approve-deletions=$(date -u +%FT%TZ)"
    );
    let longest = "n".repeat(63);
    let rows = vec![row(&longest, Cause::Definition, 100_000); 9];
    let zone = ObjectKey::new(&longest, &"z".repeat(253));
    assert!(message(&zone, &rows).len() < 1000);
}

#[test]
fn an_approval_counts_for_ten_minutes_of_its_own_time() {
    fn check(approval: Option<&str>, expected: bool) {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let approval = approval.map(|at| at.parse().unwrap());
        assert_eq!(is_approved(approval, now), expected, "{approval:?}");
    }
    check(None, false);
    check(Some("2026-11-21T12:00:00Z"), true);
    check(Some("2026-11-21T13:00:00+01:00"), true);
    check(Some("2026-11-21T11:50:00Z"), true);
    check(Some("2026-11-21T11:49:59Z"), false);
    check(Some("2026-11-21T12:05:00Z"), true);
    check(Some("2026-11-21T12:05:01Z"), false);
}
