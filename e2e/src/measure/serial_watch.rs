//! When a zone last changed, asked of the name server all the time at little cost.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hickory_net::proto::op::{Message, Query};
use hickory_net::proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Between two questions: what a time may be wrong by.
const STEP: Duration = Duration::from_millis(2);

/// A zone's changes are over when there was none for this long.
const QUIET: Duration = Duration::from_millis(500);

const LIMIT: Duration = Duration::from_secs(2);

/// Follows the serial of a zone's SOA until it is dropped.
pub struct SerialWatch {
    last: tokio::sync::watch::Receiver<Instant>,
    task: JoinHandle<Result<()>>,
}

impl SerialWatch {
    pub async fn start(server: SocketAddr, apex: &str) -> Result<Self> {
        let mut name = Name::from_ascii(apex)?;
        name.set_fqdn(true);
        let mut question = Message::query();
        question.add_query(Query::query(name, RecordType::SOA));
        let question = question.to_vec()?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(server).await?;
        let mut serial = ask(&socket, &question).await?;
        let (changed, last) = tokio::sync::watch::channel(Instant::now());
        let task = tokio::spawn(async move {
            loop {
                sleep(STEP).await;
                let now = ask(&socket, &question).await?;
                if now != serial {
                    serial = now;
                    changed.send_replace(Instant::now());
                }
            }
        });
        Ok(Self { last, task })
    }

    /// Waits until the zone rests, and says when it last changed (or when this began).
    pub async fn rest(&self) -> Result<Instant> {
        loop {
            let last = *self.last.borrow();
            let Some(wait) = QUIET.checked_sub(last.elapsed()) else {
                return Ok(last);
            };
            anyhow::ensure!(!self.task.is_finished(), "the name server does not answer");
            sleep(wait).await;
        }
    }
}

impl Drop for SerialWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(socket: &UdpSocket, question: &[u8]) -> Result<u32> {
    let mut octets = [0; 512];
    socket.send(question).await?;
    let length = timeout(LIMIT, socket.recv(&mut octets)).await??;
    let answer = Message::from_vec(&octets[..length])?;
    let serial = answer.answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    });
    serial.context("no SOA")
}
