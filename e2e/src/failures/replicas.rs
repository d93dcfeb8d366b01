//! The operator's replicas, one of which writes.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{Operator, Signal, Stack, await_condition};

/// How long BIND answers nothing before the writer is stopped: changes pile up behind those that are
/// under way, and would go out as soon as the writer goes on.
const PILE_UP: Duration = Duration::from_millis(300);

/// A lease that ends, and somebody who takes it up: where the API server has just come back, with
/// all that waits for it.
const LIMIT: Duration = Duration::from_secs(60);

/// All clients have one address here, and wait together where nobody answers.
const ONE_SOURCE: &[&str] = &["--max-connections-per-source", "4096"];

/// All of them.
#[derive(Debug)]
pub struct Replicas {
    all: Vec<Operator>,
    arguments: Vec<String>,
}

impl Replicas {
    /// Starts so many with these further arguments. The stack's own operator must not run.
    ///
    /// # Errors
    /// Where one of them does not become ready.
    pub async fn start(stack: &Stack, count: usize, arguments: &[&str]) -> Result<Self> {
        let mut replicas = Self {
            all: Vec::with_capacity(count),
            arguments: [ONE_SOURCE, arguments]
                .concat()
                .into_iter()
                .map(str::to_owned)
                .collect(),
        };
        for _ in 0..count {
            replicas.add(stack).await?;
        }
        Ok(replicas)
    }

    /// Starts one more.
    ///
    /// # Errors
    /// Where it does not become ready.
    pub async fn add(&mut self, stack: &Stack) -> Result<()> {
        let replica = stack.start_replica(self.arguments.clone()).await?;
        self.all.push(replica);
        Ok(())
    }

    /// Takes the oldest one from the list, which goes on until it is dropped.
    ///
    /// # Errors
    /// Where there is none.
    pub fn take_oldest(&mut self) -> Result<Operator> {
        anyhow::ensure!(!self.all.is_empty(), "there are no replicas");
        Ok(self.all.remove(0))
    }

    /// Each of them, in the order in which they were started.
    pub fn all(&self) -> &[Operator] {
        &self.all
    }

    /// Where clients may ask.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.all.iter().map(Operator::update_address).collect()
    }

    /// The number of the one that writes, as soon as one does.
    ///
    /// # Errors
    /// Where none does.
    pub async fn writer(&self) -> Result<usize> {
        self.writer_but(None).await
    }

    /// The number of the one that writes, as soon as one does that is not this one.
    ///
    /// # Errors
    /// Where none of the others does.
    pub async fn writer_but(&self, excepted: Option<usize>) -> Result<usize> {
        await_condition("a replica writes", LIMIT, async || {
            for (number, replica) in self.all.iter().enumerate() {
                if Some(number) != excepted && replica.is_leader().await? {
                    return Ok(Some(number));
                }
            }
            Ok(None)
        })
        .await
        .with_context(|| self.logs())
    }

    /// Stops the writer by SIGSTOP in the middle of its updates, for so long and until another one
    /// writes, and lets it go on until it knows that it writes no more.
    ///
    /// # Errors
    /// Where no other one takes over, or this one does not notice.
    pub async fn stop_writer(&self, stack: &Stack, length: Duration) -> Result<()> {
        let number = self.writer().await?;
        let writer = &self.all[number];
        stack.bind.freeze().await?;
        sleep(PILE_UP).await;
        let end = Instant::now() + length;
        writer.freeze().await?;
        stack.bind.thaw().await?;
        self.writer_but(Some(number)).await?;
        sleep_until(end).await;
        writer.signal(Signal::CONT).await?;
        await_condition("it writes no more", LIMIT, async || {
            Ok((!writer.is_leader().await?).then_some(()))
        })
        .await
        .with_context(|| writer.log_tail(20))
    }

    /// Waits until all are ready.
    ///
    /// # Errors
    /// Where one has ended, or does not become ready.
    pub async fn await_ready(&self) -> Result<()> {
        for replica in &self.all {
            replica.await_ready(LIMIT).await?;
        }
        Ok(())
    }

    /// The ends of their logs.
    pub fn logs(&self) -> String {
        let tail = |replica: &Operator| format!("{}\n", replica.log_tail(15));
        self.all.iter().map(tail).collect()
    }
}
