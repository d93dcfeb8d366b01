//! What DNS says when everything is back.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{
    History, Population, Replicas, Verdict,
    history::{address, judge},
};
use crate::{Stack, await_condition};

/// The verdicts on all hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// All hosts.
    pub hosts: usize,
    /// Those that have a value later than the last acknowledged one.
    pub later: usize,
    /// Those that have nothing, though something was acknowledged.
    pub lost: usize,
    /// Those that have an older value than the last acknowledged one.
    pub stale: usize,
    /// Those that have what nobody reported.
    pub strange: usize,
    /// The hosts that are not right, in words.
    pub wrong: Vec<String>,
}

/// Waits until all replicas are ready, and DNS is right or the limit has passed.
///
/// # Errors
/// Where a replica does not become ready, or BIND does not answer in the end.
pub async fn settle(
    stack: &Stack,
    replicas: &Replicas,
    population: &Population,
    histories: &[History],
    limit: Duration,
) -> Result<Judged> {
    replicas.await_ready().await?;
    let right = await_condition("DNS is right", limit, async || {
        let judged = judged(stack, population, histories).await?;
        ensure!(judged.wrong.is_empty(), "{:?}", judged.wrong);
        Ok(Some(judged))
    });
    match right.await {
        Ok(judged) => Ok(judged),
        Err(_) => judged(stack, population, histories).await,
    }
}

async fn judged(stack: &Stack, population: &Population, histories: &[History]) -> Result<Judged> {
    let in_dns = population.in_dns(stack).await?;
    let mut judged = Judged {
        hosts: histories.len(),
        ..Judged::default()
    };
    ensure!(in_dns.len() == histories.len(), "a host without history");
    let hosts = population.hostnames.iter().zip(histories).zip(&in_dns);
    for ((hostname, history), found) in hosts {
        let verdict = judge(history, found);
        match verdict {
            Verdict::Right => {}
            Verdict::MayBeRight => judged.later += 1,
            Verdict::Lost => judged.lost += 1,
            Verdict::Stale => judged.stale += 1,
            Verdict::Strange => judged.strange += 1,
        }
        if !verdict.is_right() {
            let last = history.acknowledged().map(address);
            judged.wrong.push(format!(
                "{hostname} is {verdict:?}: {last:?} was acknowledged last, DNS has {found:?}"
            ));
        }
    }
    Ok(judged)
}
