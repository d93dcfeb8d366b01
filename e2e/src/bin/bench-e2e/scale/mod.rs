//! Thousands of hosts: starting, resting, bursts of reports, a zone that was wiped, and memory.

mod burst;
mod growth;
mod idle;
mod start;
mod wipe;

use anyhow::Result;
use dynhost_e2e::stack::{Stack, StackOptions, ZoneOptions};

pub(crate) use self::burst::clients;
use crate::Group;
use crate::memory;
use crate::population::Population;
use crate::product::await_quiet;
use crate::report::{Part, Target};

/// Of the page: how the hosts came to be.
const HOW: &str = "One host went the whole way through the product; the others are copies of what \
    was stored of it and of its update key, put into etcd and BIND directly, each with a name, UID, \
    key and marker of its own. No controller manager runs beside them.";

/// As many times as many hosts as elsewhere, for memory alone.
const GROWTH: usize = 10;

pub(crate) const GROUPS: [Group; 5] = [
    Group::Start,
    Group::Idle,
    Group::Wipe,
    Group::Burst,
    Group::Memory,
];

/// A stack with a population, whose operator is stopped between measurements.
struct Scale {
    stack: Stack,
    population: Population,
    /// The round of addresses that no host has had yet.
    round: usize,
}

/// Measures the groups that are wanted, each with an operator of its own.
pub(crate) async fn measure(
    is_wanted: impl Fn(Group) -> bool,
    hosts: usize,
    mut show: impl FnMut(Part),
) -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    stack.control_plane.stop_controller_manager().await?;
    let few = {
        await_quiet(&stack.operator).await?;
        memory::peak(stack.operator.pid().await?)?
    };
    let options = ZoneOptions {
        allow_transfer: true,
        ..ZoneOptions::default()
    };
    let population = Population::create(&stack, options, hosts).await?;
    let mut scale = Scale {
        stack,
        population,
        round: 1,
    };
    if is_wanted(Group::Start) {
        show(start::measure(&scale).await?);
    }
    if is_wanted(Group::Idle) {
        show(idle::measure(&scale).await?);
    }
    if is_wanted(Group::Wipe) {
        show(wipe::measure(&mut scale).await?);
    }
    if is_wanted(Group::Burst) {
        show(burst::measure(&mut scale).await?);
    }
    if is_wanted(Group::Memory) {
        show(growth::measure(&mut scale, few, hosts * GROWTH).await?);
    }
    Ok(())
}

impl Scale {
    fn hosts(&self) -> usize {
        self.population.size()
    }

    /// A round of addresses that are new to all hosts.
    fn next_round(&mut self) -> usize {
        self.round += 1;
        self.round
    }

    /// Messages that BIND has had for the zone.
    async fn updates(&self) -> Result<u64> {
        let zone = &self.population.zone;
        Ok(self.stack.bind.update_counts(&zone.apex).await?.total())
    }

    /// The peak of the operator's memory so far.
    async fn peak(&self) -> Result<f64> {
        memory::peak(self.stack.operator.pid().await?)
    }
}

/// The target of memory with 10,000 hosts, whatever happens to them.
fn memory_target(hosts: usize, when: &str, peak: f64) -> Target {
    Target::alone(
        &format!("memory at the peak, {hosts} hosts, {when}"),
        format!("{peak:.1} MiB"),
        "≤ 32 MiB",
        peak <= 32.0,
    )
}
