//! PURE: which faults there are, in which order and for how long, from a seed.

use std::time::Duration;

use crate::SeededRandom;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// One of the operator's replicas, counted from 0.
    Replica(usize),
    /// kube-apiserver.
    ApiServer,
    /// etcd.
    Etcd,
    /// BIND.
    NameServer,
}

impl Target {
    /// What it is called in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replica(_) => "operator",
            Self::ApiServer => "API server",
            Self::Etcd => "etcd",
            Self::NameServer => "BIND",
        }
    }
}

/// How it fails, and so how it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manner {
    /// SIGKILL, and a new start.
    Kill,
    /// SIGSTOP, and SIGCONT.
    Freeze,
    /// SIGTERM, and a new start.
    Stop,
}

impl Manner {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Kill, Self::Freeze, Self::Stop];

    /// What it is called in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL",
            Self::Freeze => "SIGSTOP",
            Self::Stop => "SIGTERM",
        }
    }
}

/// One outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What fails.
    pub target: Target,
    /// How.
    pub manner: Manner,
    /// From the end of the outage before.
    pub pause: Duration,
    /// From the signal until it is started or goes on; until it serves takes longer.
    pub outage: Duration,
}

/// How much is to fail.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Replicas that there are.
    pub replicas: usize,
    /// Faults in all: three fifths of them of replicas, which are back sooner than what they depend on.
    pub faults: usize,
    /// The shortest and the longest of the usual outages.
    pub usual: (Duration, Duration),
    /// How long the last fault of each sequence takes.
    pub longest: Duration,
}

/// Two sequences of faults that run beside each other, so that more than one thing is away at times.
/// Within one nothing fails before the former is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Of the replicas.
    pub replicas: Vec<Fault>,
    /// Of what they depend on.
    pub servers: Vec<Fault>,
}

/// Between two outages of one sequence.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(1500));

/// The plan of a seed: every kind of fault comes about equally often.
pub fn plan(seed: u64, scale: &Scale) -> Plan {
    let mut random = SeededRandom(seed);
    let servers = [Target::ApiServer, Target::Etcd, Target::NameServer];
    let replicas: Vec<_> = (0..scale.replicas).map(Target::Replica).collect();
    let of_replicas = scale.faults * 3 / 5;
    Plan {
        replicas: sequence(&mut random, &replicas, of_replicas, scale),
        servers: sequence(&mut random, &servers, scale.faults - of_replicas, scale),
    }
}

fn sequence(
    random: &mut SeededRandom,
    targets: &[Target],
    faults: usize,
    scale: &Scale,
) -> Vec<Fault> {
    let mut deck = Vec::new();
    let mut sequence = Vec::with_capacity(faults);
    for number in 1..=faults {
        if deck.is_empty() {
            let of = |target: &Target| Manner::ALL.map(|manner| (*target, manner));
            deck = targets.iter().flat_map(of).collect();
        }
        let (target, manner) = deck.swap_remove(random.below(deck.len()));
        let pause = between(random, PAUSE);
        let usual = between(random, scale.usual);
        let outage = if number == faults {
            scale.longest
        } else {
            usual
        };
        sequence.push(Fault {
            target,
            manner,
            pause,
            outage,
        });
    }
    sequence
}

/// Short ones are more frequent: the square of an even choice.
fn between(random: &mut SeededRandom, (least, most): (Duration, Duration)) -> Duration {
    const STEPS: u32 = 1000;
    let choice = u32::try_from(random.below(STEPS as usize)).unwrap_or(0);
    least + (most - least) / (STEPS * STEPS) * (choice * choice)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const SCALE: Scale = Scale {
        replicas: 3,
        faults: 40,
        usual: (Duration::from_secs(1), Duration::from_secs(5)),
        longest: Duration::from_secs(60),
    };

    #[test]
    fn a_plan_is_its_seeds() {
        assert_eq!(plan(7, &SCALE), plan(7, &SCALE));
        assert_ne!(plan(7, &SCALE), plan(8, &SCALE));
    }

    #[test]
    fn every_kind_of_fault_comes_about_equally_often_and_lasts_as_long_as_it_may() {
        for seed in 0..50 {
            let plan = plan(seed, &SCALE);
            assert_eq!(plan.replicas.len() + plan.servers.len(), SCALE.faults);
            for sequence in [plan.replicas, plan.servers] {
                let mut kinds = BTreeMap::new();
                for fault in &sequence {
                    *kinds.entry((fault.target, fault.manner)).or_insert(0) += 1;
                    let (least, most) = SCALE.usual;
                    let is_usual = fault.outage >= least && fault.outage <= most;
                    assert!(is_usual || fault.outage == SCALE.longest, "{fault:?}");
                }
                assert_eq!(kinds.len(), 9, "{kinds:?}");
                let (least, most) = (kinds.values().min(), kinds.values().max());
                assert!(most.unwrap() - least.unwrap() <= 1, "{kinds:?}");
                let longest = sequence.iter().map(|fault| fault.outage).max();
                assert_eq!(longest, Some(SCALE.longest));
            }
        }
    }
}
