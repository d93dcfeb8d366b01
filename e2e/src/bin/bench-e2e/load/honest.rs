//! Clients that do nothing wrong, and how long they wait.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until, timeout};

use super::answer::Answer;
use super::{Honest, Served};
use crate::request::Exchange;

/// A client that waits longer has no answer.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn run(load: Honest) -> Result<Served> {
    let start = Instant::now() + Duration::from_millis(100);
    let number = u32::try_from(load.clients.len())?;
    let clients = load.clients.iter().zip(0u32..).map(|(exchanges, i)| {
        // Evenly spread over the interval.
        let client = Client {
            load: &load,
            connection: None,
            closed: 0,
        };
        client.run(exchanges, start + load.interval * i / number)
    });
    let served = try_join_all(clients).await?;
    Ok(Served {
        closed: served.iter().map(|served| served.closed).sum(),
        durations: served.into_iter().flat_map(|one| one.durations).collect(),
    })
}

struct Client<'a> {
    load: &'a Honest,
    connection: Option<TcpStream>,
    closed: u64,
}

impl Client<'_> {
    async fn run(mut self, exchanges: &[Exchange], start: Instant) -> Result<Served> {
        let mut durations = Vec::new();
        let mut due = start;
        for exchange in exchanges.iter().cycle() {
            if due >= start + self.load.time {
                break;
            }
            // The timer is no part of it, but a late answer before this one is.
            let begin = match Instant::now() < due {
                true => {
                    sleep_until(due).await;
                    Instant::now()
                }
                false => due,
            };
            let answered = timeout(LIMIT, self.exchange(exchange)).await;
            answered.context("an honest client had no answer within 10 s")??;
            durations.push(begin.elapsed());
            due += self.load.interval;
        }
        Ok(Served {
            durations,
            closed: self.closed,
        })
    }

    /// Sends a request until it is answered, at once again where its connection was closed.
    async fn exchange(&mut self, exchange: &Exchange) -> Result<()> {
        loop {
            match self.attempt(exchange).await {
                Ok((status, body)) => {
                    ensure!(
                        exchange.expects(status, &body),
                        "an honest client was answered {status} {:?}",
                        String::from_utf8_lossy(&body)
                    );
                    return Ok(());
                }
                Err(_) => self.closed += 1,
            }
        }
    }

    async fn attempt(&mut self, exchange: &Exchange) -> Result<(u16, Vec<u8>)> {
        let mut stream = match self.connection.take() {
            Some(stream) => stream,
            None => connect(self.load.server, self.load.source).await?,
        };
        let answer = ask(&mut stream, exchange).await?;
        self.connection = self.load.keep_alive.then_some(stream);
        Ok(answer)
    }
}

pub(crate) async fn connect(server: SocketAddr, source: Ipv4Addr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_nodelay(true)?;
    socket.bind((source, 0).into())?;
    Ok(socket.connect(server).await?)
}

/// One request and its answer's status and body.
pub(crate) async fn ask(stream: &mut TcpStream, exchange: &Exchange) -> Result<(u16, Vec<u8>)> {
    stream.write_all(exchange.request.as_bytes()).await?;
    let mut octets = Vec::with_capacity(1024);
    loop {
        if let Some(answer) = Answer::read(&octets)? {
            return Ok((answer.status, answer.body.to_vec()));
        }
        let read = stream.read_buf(&mut octets).await?;
        ensure!(read > 0, "the connection ended without an answer");
    }
}
