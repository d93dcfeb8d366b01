//! Looks at DNS all the time: no host's address may ever become an older one.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use hickory_net::proto::{
    op::ResponseCode::{NXDomain, NoError},
    rr::RecordType,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{Population, value};
use crate::name_server::query;

/// Between two questions.
const STEP: Duration = Duration::from_millis(5);

/// A host whose value was the first, and then the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backward {
    /// Whose.
    pub hostname: String,
    /// What was seen before.
    pub from: u32,
    /// What was seen then.
    pub to: Option<u32>,
}

/// Asks for one host after the other. Drop ends it.
#[derive(Debug)]
pub struct Reader {
    stop: watch::Sender<bool>,
    task: JoinHandle<(u64, Vec<Backward>)>,
}

impl Reader {
    /// Starts to ask.
    pub fn start(server: SocketAddr, population: &Population) -> Self {
        let (stop, stopped) = watch::channel(false);
        let hostnames = population.hostnames.clone();
        let task = tokio::spawn(read(server, hostnames, stopped));
        Self { stop, task }
    }

    /// How many answers there were, and each that was older than one before.
    ///
    /// # Errors
    /// Where it has ended by itself.
    pub async fn finish(mut self) -> Result<(u64, Vec<Backward>)> {
        self.stop.send_replace(true);
        Ok((&mut self.task).await?)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(
    server: SocketAddr,
    hostnames: Vec<String>,
    mut stopped: watch::Receiver<bool>,
) -> (u64, Vec<Backward>) {
    let mut due = interval(STEP);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen: Vec<Option<u32>> = vec![None; hostnames.len()];
    let (mut answers, mut backward) = (0, Vec::new());
    for number in (0..hostnames.len()).cycle() {
        tokio::select! {
            _ended = stopped.wait_for(|stopped| *stopped) => break,
            _ = due.tick() => {}
        }
        let hostname = &hostnames[number];
        // It is away now and then, and knows no zone before it has loaded them.
        let answer = match query::ask(server, hostname, RecordType::A).await {
            Ok(answer) if matches!(answer.rcode, NoError | NXDomain) => answer,
            _ => continue,
        };
        answers += 1;
        let addresses = answer.rdata.iter().filter_map(|rdata| rdata.parse().ok());
        let to = addresses.filter_map(value).max();
        match seen[number] {
            Some(from) if to < Some(from) => backward.push(Backward {
                hostname: hostname.clone(),
                from,
                to,
            }),
            _ => seen[number] = to,
        }
    }
    (answers, backward)
}
