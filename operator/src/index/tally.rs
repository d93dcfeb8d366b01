//! How many hosts have each condition, kept while they change: nobody unpacks all hosts to count.

use std::collections::HashMap;

use super::host::Host;
use crate::metrics::HostCondition;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Tally(HashMap<HostCondition, usize>);

impl Tally {
    pub(super) fn add(&mut self, host: &Host) {
        for condition in conditions(host) {
            *self.0.entry(condition).or_default() += 1;
        }
    }

    pub(super) fn subtract(&mut self, host: &Host) {
        for condition in conditions(host) {
            if let Some(hosts) = self.0.get_mut(&condition) {
                *hosts = hosts.saturating_sub(1);
                if *hosts == 0 {
                    self.0.remove(&condition);
                }
            }
        }
    }

    pub(super) fn all(&self) -> Vec<(HostCondition, usize)> {
        self.0.iter().map(|(of, hosts)| (*of, *hosts)).collect()
    }
}

fn conditions(host: &Host) -> impl Iterator<Item = HostCondition> {
    let conditions = host.conditions.iter();
    conditions.map(|c| (c.type_, c.status, c.reason))
}
