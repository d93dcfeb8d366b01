//! Clients that mean ill.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{interval, sleep};

use super::honest::{ask, connect};
use super::{Counts, Trouble, TroubleKind};
use crate::request::{Exchange, dyndns2};

/// Between two tellings of the counts.
const TELL: Duration = Duration::from_millis(100);

/// After a connection that could not be opened.
const PAUSE: Duration = Duration::from_millis(10);

const HALF_A_HEAD: &[u8] =
    b"GET /nic/update?hostname=home.dyn.example.org HTTP/1.1\r\nHost: dyn.ex";

pub(super) async fn run(load: Trouble) -> Result<()> {
    let counts = RefCell::new(Counts::default());
    let sources = load.sources.iter().cycle().take(load.connections);
    let all = join_all(sources.map(|source| repeat(&load, *source, &counts)));
    let tell = async {
        let mut ticks = interval(TELL);
        loop {
            ticks.tick().await;
            println!("{}", serde_json::to_string(&*counts.borrow())?);
        }
    };
    tokio::select! {
        _ = all => Ok(()),
        told = tell => told,
    }
}

/// One connection after the other.
async fn repeat(load: &Trouble, source: Ipv4Addr, counts: &RefCell<Counts>) {
    loop {
        // Its end, whatever it is, is followed by the next one.
        if connection(load, source, counts).await.is_err() {
            sleep(PAUSE).await;
        }
    }
}

async fn connection(load: &Trouble, source: Ipv4Addr, counts: &RefCell<Counts>) -> Result<()> {
    let mut stream = connect(load.server, source).await?;
    counts.borrow_mut().connections += 1;
    match &load.kind {
        TroubleKind::WrongKeys { hostname } => loop {
            let number: u64 = counts.borrow().answers.values().sum();
            let exchange = Exchange {
                request: dyndns2(hostname, &format!("{number:032}"), "198.51.100.1", ""),
                status: 401,
                body: String::new(),
            };
            let Ok((status, _)) = ask(&mut stream, &exchange).await else {
                return Ok(());
            };
            *counts.borrow_mut().answers.entry(status).or_default() += 1;
        },
        TroubleKind::HalfHeads => {
            stream.write_all(HALF_A_HEAD).await?;
            let mut octets = [0; 256];
            while stream.read(&mut octets).await.is_ok_and(|read| read > 0) {}
            Ok(())
        }
    }
}
