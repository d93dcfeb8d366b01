//! Two and three candidates, an API server that judges by versions, and everything that may go wrong
//! between them: nobody ever writes beside another, by true time, and in the end somebody does.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;

use super::candidate::{Answer, Candidate, Method, Next, Request, Times};
use super::decide::Record;
use super::moment::Moment;

const TIMES: Times = Times {
    duration: Duration::from_secs(6),
};

/// What may happen, to the candidate of that number.
#[derive(Clone, Debug)]
enum Event {
    /// Milliseconds of true time.
    Pass(u64),
    /// It looks at its clock and asks, if it has nothing in flight.
    Run(usize),
    /// Its request comes to the API server.
    Arrive(usize),
    /// It hears the answer.
    Hear(usize),
    /// It gives a request up, which may come to the API server later.
    GiveUp(usize),
    /// One of the requests that were given up comes to the API server.
    ArriveLate(Index),
    /// Its watch shows it the Lease as it is now, or as it was some versions ago.
    See(usize, usize),
    /// It sees the Lease as it is, and all goes well.
    Turn(usize),
    /// It is killed and started again; under the same name or another one.
    Restart(usize, bool),
    /// It releases the lease.
    Release(usize),
    /// Somebody deletes the Lease by hand, writes another holder into it, or another duration.
    Delete,
    Steal,
    Shorten,
}

fn event(candidates: usize) -> impl Strategy<Value = Event> {
    let one = 0..candidates;
    prop_oneof![
        20 => (1_u64..400).prop_map(Event::Pass),
        10 => (400_u64..8000).prop_map(Event::Pass),
        30 => one.clone().prop_map(Event::Turn),
        30 => one.clone().prop_map(Event::Run),
        24 => one.clone().prop_map(Event::Arrive),
        24 => one.clone().prop_map(Event::Hear),
        4 => one.clone().prop_map(Event::GiveUp),
        4 => any::<Index>().prop_map(Event::ArriveLate),
        20 => (one.clone(), 0_usize..3).prop_map(|(one, old)| Event::See(one, old)),
        1 => (one.clone(), any::<bool>()).prop_map(|(one, same)| Event::Restart(one, same)),
        1 => one.prop_map(Event::Release),
        1 => Just(Event::Delete),
        1 => Just(Event::Steal),
        1 => Just(Event::Shorten),
    ]
}

/// How a candidate's clock runs: ahead by so many milliseconds, and faster by so many per mille.
fn clock() -> impl Strategy<Value = (u64, i64)> {
    (0_u64..1_000_000, -20_i64..=20)
}

struct Process {
    name: String,
    candidate: Candidate,
    clock: (u64, i64),
    in_flight: Option<(Request, Option<Answer>)>,
    /// What its watch has shown, as an index of the history.
    has_seen: usize,
    is_released: bool,
}

struct World {
    millis: u64,
    version: u64,
    /// Every state of the Lease, the present one last.
    history: Vec<Option<Record>>,
    processes: Vec<Process>,
    /// Requests whose senders wait no more.
    late: Vec<Request>,
    started: usize,
}

impl World {
    fn new(clocks: &[(u64, i64)]) -> Self {
        let mut world = Self {
            millis: 0,
            version: 0,
            history: Vec::new(),
            processes: Vec::new(),
            late: Vec::new(),
            started: 0,
        };
        // As deploy/ makes it.
        world.store(Some(Record {
            version: 0,
            holder: None,
            duration: None,
            acquired: None,
            transitions: 0,
            is_renewed: false,
        }));
        for clock in clocks {
            let process = world.start(None, *clock);
            world.processes.push(process);
        }
        world
    }

    fn start(&mut self, name: Option<String>, clock: (u64, i64)) -> Process {
        self.started += 1;
        let name = name.unwrap_or(format!("p{}", self.started));
        Process {
            candidate: Candidate::new(&name, TIMES, local(clock, self.millis)),
            name,
            clock,
            in_flight: None,
            has_seen: self.history.len() - 1,
            is_released: false,
        }
    }

    fn lease(&self) -> Option<Record> {
        self.history.last().cloned().flatten()
    }

    fn store(&mut self, lease: Option<Record>) {
        self.version += 1;
        let version = self.version;
        self.history
            .push(lease.map(|lease| Record { version, ..lease }));
    }

    /// The API server: what is stored, or refused.
    fn serve(&mut self, request: &Request) -> Answer {
        let lease = self.lease();
        match (request.method, &lease) {
            (Method::Read, _) => return Answer::Read(lease),
            (Method::Create, None) => {}
            (Method::Replace { version }, Some(lease)) if lease.version == version => {}
            _ => return Answer::Overtaken,
        }
        self.store(Some(Record {
            version: 0,
            holder: request.holder.clone(),
            duration: Some(TIMES.duration),
            acquired: Some(request.claim.acquired),
            transitions: request.claim.transitions,
            is_renewed: request.method != Method::Create,
        }));
        self.lease().map_or(Answer::Failed, Answer::Stored)
    }

    /// No two processes of one name live at a time, as whoever names them has promised.
    fn happen(&mut self, event: &Event) {
        let millis = self.millis;
        match event {
            Event::Pass(time) => self.millis += time,
            Event::Run(one) => {
                let process = &mut self.processes[*one];
                let now = local(process.clock, millis);
                if process.in_flight.is_none()
                    && !process.is_released
                    && let Next::Ask(request) =
                        process.candidate.next(now, wall(process.clock, millis))
                {
                    process.in_flight = Some((request, None));
                }
            }
            Event::Arrive(one) => {
                if let Some((request, None)) = self.processes[*one].in_flight.clone() {
                    let answer = self.serve(&request);
                    self.processes[*one].in_flight = Some((request, Some(answer)));
                }
            }
            Event::Hear(one) => {
                let process = &mut self.processes[*one];
                let now = local(process.clock, millis);
                match process.in_flight.take() {
                    Some((request, Some(answer))) => {
                        process.candidate.answered(&request, answer, now);
                    }
                    other => process.in_flight = other,
                }
            }
            Event::GiveUp(one) => {
                let process = &mut self.processes[*one];
                let now = local(process.clock, millis);
                if let Some((request, answer)) = process.in_flight.take() {
                    process.candidate.answered(&request, Answer::Failed, now);
                    self.late.extend(answer.is_none().then_some(request));
                }
            }
            Event::ArriveLate(which) => {
                if !self.late.is_empty() {
                    let request = self.late.swap_remove(which.index(self.late.len()));
                    let _ = self.serve(&request);
                }
            }
            Event::See(one, versions_ago) => {
                let latest = self.history.len() - 1;
                let process = &mut self.processes[*one];
                process.has_seen = process.has_seen.max(latest.saturating_sub(*versions_ago));
                let lease = self.history[process.has_seen].clone();
                let now = local(process.clock, millis);
                process.candidate.see(lease, now);
            }
            Event::Turn(one) => {
                for event in [
                    Event::See(*one, 0),
                    Event::Run(*one),
                    Event::Arrive(*one),
                    Event::Hear(*one),
                ] {
                    self.happen(&event);
                }
            }
            Event::Restart(one, is_same) => {
                let former = &mut self.processes[*one];
                let name = is_same.then(|| former.name.clone());
                let clock = former.clock;
                if let Some((request, None)) = former.in_flight.take() {
                    self.late.push(request);
                }
                self.processes[*one] = self.start(name, clock);
            }
            Event::Release(one) => {
                let process = &mut self.processes[*one];
                let now = local(process.clock, millis);
                process.is_released = true;
                let given_up = process.in_flight.take();
                self.late
                    .extend(given_up.and_then(|(request, answer)| match answer {
                        None => Some(request),
                        Some(_) => None,
                    }));
                let release = process.candidate.release(now, wall(process.clock, millis));
                process.in_flight = release.map(|request| (request, None));
            }
            Event::Delete => self.store(None),
            Event::Steal => self.edit(|lease| lease.holder = Some("somebody".into())),
            Event::Shorten => self.edit(|lease| lease.duration = Some(Duration::from_secs(1))),
        }
    }

    fn edit(&mut self, change: impl FnOnce(&mut Record)) {
        // Whoever writes into a Lease that nobody holds changes no holder's time.
        if let Some(mut lease) = self.lease() {
            change(&mut lease);
            self.store(Some(lease));
        }
    }

    /// Who may write, by true time.
    fn writers(&self) -> Vec<&str> {
        let writes = |process: &&Process| {
            let now = local(process.clock, self.millis);
            process.candidate.may_write_until(now).is_some()
        };
        let writers = self.processes.iter().filter(writes);
        writers.map(|process| &*process.name).collect()
    }

    /// From now on all goes well, for as long as three leases.
    fn calm_down(&mut self) -> Result<(), TestCaseError> {
        self.late.clear();
        for one in 0..self.processes.len() {
            if self.processes[one].is_released {
                self.happen(&Event::Restart(one, false));
            }
        }
        let ticks = 3 * TIMES.duration.as_millis() / 100;
        for tick in 0..ticks {
            for one in 0..self.processes.len() {
                self.happen(&Event::Turn(one));
                prop_assert!(self.writers().len() <= 1);
            }
            self.happen(&Event::Pass(100));
            if tick > 2 * ticks / 3 {
                prop_assert_eq!(self.writers().len(), 1, "{:?}", self.lease());
            }
        }
        Ok(())
    }
}

fn local((ahead, per_mille): (u64, i64), millis: u64) -> Moment {
    let millis = i64::try_from(millis).unwrap();
    let runs = millis + millis * per_mille / 1000;
    Moment::from_nanos((ahead + u64::try_from(runs).unwrap()) * 1_000_000)
}

/// Times of day differ by days, and mean nothing.
fn wall((ahead, _): (u64, i64), millis: u64) -> Timestamp {
    Timestamp::from_millisecond(i64::try_from(ahead * 1000 + millis).unwrap()).unwrap()
}

fn check(clocks: &[(u64, i64)], events: &[Event]) -> Result<(), TestCaseError> {
    let mut world = World::new(clocks);
    for event in events {
        world.happen(event);
        prop_assert!(
            world.writers().len() <= 1,
            "{:?} after {event:?}",
            world.writers()
        );
    }
    world.calm_down()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn of_two_candidates_never_both_write_and_in_the_end_one_does(
        clocks in [clock(), clock()],
        events in prop::collection::vec(event(2), 0..400),
    ) {
        check(&clocks, &events)?;
    }

    #[test]
    fn of_three_candidates_never_two_write_and_in_the_end_one_does(
        clocks in [clock(), clock(), clock()],
        events in prop::collection::vec(event(3), 0..500),
    ) {
        check(&clocks, &events)?;
    }
}

/// The candidate writes, after it has run, been served and heard.
fn turn(world: &mut World, one: usize) -> bool {
    for event in [Event::Run(one), Event::Arrive(one), Event::Hear(one)] {
        world.happen(&event);
    }
    let process = &world.processes[one];
    let now = local(process.clock, world.millis);
    process.candidate.may_write_until(now).is_some()
}

fn two() -> World {
    let mut world = World::new(&[(0, 0), (5_000, 0)]);
    world.happen(&Event::See(0, 0));
    assert!(turn(&mut world, 0));
    world
}

#[test]
fn who_is_stopped_for_longer_than_the_lease_may_write_no_more_when_it_goes_on() {
    let mut world = two();
    world.happen(&Event::See(1, 0));
    world.happen(&Event::Pass(4_999));
    assert_eq!(world.writers(), ["p1"]);
    world.happen(&Event::Pass(1));
    assert_eq!(world.writers(), [""; 0]);
    assert!(!turn(&mut world, 1));
    world.happen(&Event::Pass(1_000));
    assert!(turn(&mut world, 1));
    // It tries to renew what it had, and hears that it is another's.
    assert!(!turn(&mut world, 0) && !turn(&mut world, 0));
    assert_eq!(world.processes[0].candidate.holder(), Some("p2"));
}

#[test]
fn who_sees_that_somebody_else_holds_the_lease_writes_no_more() {
    let mut world = two();
    world.happen(&Event::Steal);
    assert_eq!(world.writers(), ["p1"]);
    world.happen(&Event::See(0, 0));
    assert_eq!(world.writers(), [""; 0]);
}

#[test]
fn a_renewal_whose_answer_was_lost_is_found_and_renewed() {
    let mut world = two();
    world.happen(&Event::Pass(2_000));
    for event in [
        Event::Run(0),
        Event::Arrive(0),
        Event::GiveUp(0),
        Event::Pass(500),
    ] {
        world.happen(&event);
    }
    // Refused, read, renewed: not counted before.
    assert!(turn(&mut world, 0));
    assert!(turn(&mut world, 0));
    assert!(turn(&mut world, 0));
    world.happen(&Event::Pass(4_999));
    assert_eq!(world.writers(), ["p1"]);
}

#[test]
fn who_releases_lets_the_other_in_at_once() {
    let mut world = two();
    world.happen(&Event::Release(0));
    assert_eq!(world.writers(), [""; 0]);
    world.happen(&Event::Arrive(0));
    world.happen(&Event::See(1, 0));
    assert!(turn(&mut world, 1));
}

#[test]
fn who_is_killed_and_comes_again_under_its_name_goes_on_at_once() {
    let mut world = two();
    world.happen(&Event::Restart(0, true));
    world.happen(&Event::See(0, 0));
    assert!(turn(&mut world, 0));
    world.happen(&Event::Restart(0, false));
    world.happen(&Event::See(0, 0));
    assert!(!turn(&mut world, 0));
}

#[test]
fn the_holder_of_a_lease_that_was_deleted_makes_it_again_and_goes_on() {
    let mut world = two();
    world.happen(&Event::Delete);
    world.happen(&Event::See(1, 0));
    world.happen(&Event::See(0, 0));
    assert!(turn(&mut world, 0));
    world.happen(&Event::Pass(4_999));
    assert_eq!(world.writers(), ["p1"]);
}

#[test]
fn an_older_version_that_a_watch_shows_late_is_no_news() {
    let mut world = two();
    let older = world.history[0].clone();
    let now = local((0, 0), world.millis);
    world.processes[0].candidate.see(older, now);
    assert_eq!(world.writers(), ["p1"]);
}

#[test]
fn an_acquisition_that_was_stored_late_is_known_as_our_own() {
    let mut world = World::new(&[(0, 0)]);
    for event in [
        Event::See(0, 0),
        Event::Run(0),
        Event::GiveUp(0),
        Event::Pass(500),
        Event::Run(0),
    ] {
        world.happen(&event);
    }
    let late = world.late.remove(0);
    assert!(matches!(world.serve(&late), Answer::Stored(_)));
    // Refused, read, renewed: it waits for nobody's time to end.
    assert!(!turn(&mut world, 0) && !turn(&mut world, 0) && turn(&mut world, 0));
}
