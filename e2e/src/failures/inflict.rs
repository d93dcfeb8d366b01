//! Lets things fail as a plan says.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use tokio::time::{Instant, sleep};

use super::{
    Replicas,
    plan::{Fault, Manner, Plan, Target},
};
use crate::{Operator, Signal, Stack};

/// What has failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inflicted {
    /// How often, by what failed and how.
    pub kinds: BTreeMap<(&'static str, &'static str), usize>,
    /// From the signal until it served again; of a replica, until it was started or went on.
    pub longest: Duration,
}

impl Inflicted {
    /// Of all kinds.
    pub fn faults(&self) -> usize {
        self.kinds.values().sum()
    }

    /// Adds what failed another time.
    pub fn add(&mut self, other: &Self) {
        for (kind, count) in &other.kinds {
            *self.kinds.entry(*kind).or_default() += count;
        }
        self.longest = self.longest.max(other.longest);
    }
}

/// Inflicts the faults of both sequences of the plan, beside each other. What it depends on is back
/// in the end; replicas may still be starting.
///
/// # Errors
/// Where something does not come back, or had ended by itself.
pub async fn inflict(stack: &Stack, replicas: &Replicas, plan: &Plan) -> Result<Inflicted> {
    let (mut all, servers) = tokio::try_join!(
        sequence(stack, replicas, &plan.replicas),
        sequence(stack, replicas, &plan.servers)
    )?;
    all.add(&servers);
    Ok(all)
}

async fn sequence(stack: &Stack, replicas: &Replicas, faults: &[Fault]) -> Result<Inflicted> {
    let mut inflicted = Inflicted::default();
    for fault in faults {
        sleep(fault.pause).await;
        let start = Instant::now();
        let context = || format!("{fault:?}");
        begin(stack, replicas, fault).await.with_context(context)?;
        sleep(fault.outage).await;
        end(stack, replicas, fault).await.with_context(context)?;
        let kind = (fault.target.name(), fault.manner.name());
        *inflicted.kinds.entry(kind).or_default() += 1;
        inflicted.longest = inflicted.longest.max(start.elapsed());
    }
    Ok(inflicted)
}

fn replica(replicas: &Replicas, number: usize) -> Result<&Operator> {
    replicas
        .all()
        .get(number)
        .context("there is no such replica")
}

async fn begin(stack: &Stack, replicas: &Replicas, fault: &Fault) -> Result<()> {
    use Manner::{Freeze, Kill, Stop};
    let (control_plane, bind) = (&stack.control_plane, &stack.bind);
    match (fault.target, fault.manner) {
        (Target::Replica(number), Kill) => replica(replicas, number)?.kill().await,
        (Target::Replica(number), Freeze) => replica(replicas, number)?.freeze().await,
        (Target::Replica(number), Stop) => {
            replica(replicas, number)?.terminate().await?;
            Ok(())
        }
        (Target::ApiServer, Kill) => control_plane.kill_api_server().await,
        (Target::ApiServer, Freeze) => control_plane.freeze_api_server().await,
        (Target::ApiServer, Stop) => control_plane.stop_api_server().await,
        (Target::Etcd, Kill) => control_plane.kill_etcd().await,
        (Target::Etcd, Freeze) => control_plane.freeze_etcd().await,
        (Target::Etcd, Stop) => control_plane.stop_etcd().await,
        (Target::NameServer, Kill) => bind.kill().await,
        (Target::NameServer, Freeze) => bind.freeze().await,
        (Target::NameServer, Stop) => bind.stop().await,
    }
}

async fn end(stack: &Stack, replicas: &Replicas, fault: &Fault) -> Result<()> {
    use Manner::{Freeze, Kill, Stop};
    let (control_plane, bind) = (&stack.control_plane, &stack.bind);
    match (fault.target, fault.manner) {
        (Target::Replica(number), Freeze) => replica(replicas, number)?.signal(Signal::CONT).await,
        (Target::Replica(number), Kill | Stop) => replica(replicas, number)?.launch().await,
        (Target::ApiServer, Freeze) => {
            control_plane.thaw_api_server().await?;
            control_plane.await_ready().await
        }
        (Target::ApiServer, Kill | Stop) => control_plane.start_api_server().await,
        (Target::Etcd, Freeze) => {
            control_plane.thaw_etcd().await?;
            control_plane.await_ready().await
        }
        (Target::Etcd, Kill | Stop) => {
            control_plane.start_etcd().await?;
            control_plane.await_ready().await
        }
        (Target::NameServer, Freeze) => bind.thaw().await,
        (Target::NameServer, Kill | Stop) => bind.start_again().await,
    }
}
