//! Replicas under a load, from the first report to the verdict.

use std::time::Duration;

use anyhow::Result;

use super::{Inflicted, Load, Pace, Population, Reader, Replicas, Summary, settle};
use crate::{Stack, ZoneOptions};

/// Replicas, and clients that report to them all the time.
#[derive(Debug)]
pub struct Run<'a> {
    /// Whose own operator does not run.
    pub stack: &'a Stack,
    /// Who is asked.
    pub replicas: Replicas,
    /// Who asks.
    pub load: Load,
    population: Population,
    reader: Reader,
}

impl<'a> Run<'a> {
    /// Starts so many hosts' clients, and a reader of DNS.
    ///
    /// # Errors
    /// Where the hosts do not become Ready.
    pub async fn start(
        stack: &'a Stack,
        replicas: Replicas,
        hosts: usize,
        pace: Pace,
    ) -> Result<Self> {
        let population = Population::create(stack, ZoneOptions::default(), hosts).await?;
        let load = Load::start(&population, replicas.addresses(), pace);
        let reader = Reader::start(stack.bind.address(), &population);
        Ok(Self {
            stack,
            replicas,
            load,
            population,
            reader,
        })
    }

    /// Ends the load, waits until DNS is right or `limit` has passed, and sums up. The replicas are
    /// ended.
    ///
    /// # Errors
    /// Where a client was answered what it should not be, or something does not come back.
    pub async fn end(
        self,
        what: String,
        inflicted: Inflicted,
        stops: usize,
        limit: Duration,
    ) -> Result<Summary> {
        let (histories, reports) = self.load.finish().await?;
        let (replicas, population) = (&self.replicas, &self.population);
        let judged = settle(self.stack, replicas, population, &histories, limit).await?;
        let (reads, backward) = self.reader.finish().await?;
        let mut summary = Summary {
            what,
            inflicted,
            stops,
            reports,
            judged,
            reads,
            backward,
            logs: String::new(),
        };
        if !summary.is_right() {
            summary.logs = replicas.logs();
        }
        Ok(summary)
    }
}
