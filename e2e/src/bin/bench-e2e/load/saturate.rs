//! As many answers as the server can give, from a client that does nothing but ask for octets.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::answer::Answer;
use super::{Rate, Saturate};
use crate::memory::cpu_time;
use crate::request::Exchange;

/// Before anything is counted.
const WARM_UP: Duration = Duration::from_millis(200);

pub(super) fn run(load: &Saturate) -> Result<Rate> {
    let connect = |exchange| Connection::open(load, exchange);
    let exchanges = load.exchanges.iter().cycle().take(load.connections);
    let mut connections = exchanges.map(connect).collect::<Result<Vec<_>>>()?;
    drive(&mut connections, WARM_UP)?;
    let (start, busy) = (Instant::now(), cpu_time(load.pid)?);
    let answers = drive(&mut connections, load.time)?;
    let (wall, busy) = (start.elapsed(), cpu_time(load.pid)? - busy);
    Ok(Rate {
        per_second: answers / wall.as_secs_f64(),
        per_cpu_second: answers / busy.as_secs_f64(),
    })
}

/// The number of answers in this time.
fn drive(connections: &mut [Connection<'_>], time: Duration) -> Result<f64> {
    let start = Instant::now();
    let mut answers = 0.0;
    while start.elapsed() < time {
        for connection in &mut *connections {
            if connection.has_answer()? {
                answers += 1.0;
            }
        }
    }
    Ok(answers)
}

struct Connection<'a> {
    stream: TcpStream,
    exchange: &'a Exchange,
    buffer: [u8; 1024],
    filled: usize,
}

impl<'a> Connection<'a> {
    /// Opens it and sends the first request.
    fn open(load: &Saturate, exchange: &'a Exchange) -> Result<Self> {
        let mut stream = TcpStream::connect(load.server)?;
        stream.set_nodelay(true)?;
        stream.write_all(exchange.request.as_bytes())?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            exchange,
            buffer: [0; 1024],
            filled: 0,
        })
    }

    /// Whether the answer has come; the next request has been sent then.
    fn has_answer(&mut self) -> Result<bool> {
        match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => bail!("the server closed a connection, or its answer is too long"),
            Ok(octets) => self.filled += octets,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let octets = &self.buffer[..self.filled];
        let Some(answer) = Answer::read(octets)? else {
            return Ok(false);
        };
        ensure!(
            self.exchange.expects(answer.status, answer.body) && answer.length == octets.len(),
            "answered {:?}",
            String::from_utf8_lossy(octets)
        );
        self.filled = 0;
        self.stream.write_all(self.exchange.request.as_bytes())?;
        Ok(true)
    }
}
