//! What a replica finds in its sockets after it stood still is from clients that have gone on.

use anyhow::{Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use dynhost_e2e::{
    Operator, Signal, Stack, ZoneOptions, await_condition,
    failures::{Population, Replicas},
    http,
    stack::LIMIT,
};
use hickory_net::proto::rr::RecordType;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::sleep};

use super::stage::Stage;

/// Longer than a replica may stand still without anybody noticing.
const STANDSTILL: std::time::Duration = std::time::Duration::from_secs(4);

/// Requests that nobody waits for.
const LATE: u64 = 4;

/// Requests that a replica has answered.
async fn answered(replica: &Operator) -> Result<u64> {
    let page = http::get(replica.admin_address(), "/metrics", None).await?;
    let text = page.text();
    let counts = text.lines().filter_map(|line| {
        let (name, count) = line.split_once(' ')?;
        let is_ours = name.starts_with("dynhost_requests_total{");
        is_ours.then(|| count.parse::<u64>().ok())?
    });
    Ok(counts.sum())
}

struct Host<'a> {
    stack: &'a Stack,
    hostname: &'a str,
    token: &'a str,
}

impl Host<'_> {
    async fn report(&self, to: &Operator, address: &str) -> Result<String> {
        let target = format!("/nic/update?hostname={}&myip={address}", self.hostname);
        let answer = http::get(to.update_address(), &target, Some(("router", self.token)));
        Ok(answer.await?.text())
    }

    async fn await_answer(&self, to: &Operator, address: &str, words: &[&str]) -> Result<()> {
        await_condition(
            &format!("{address} is answered {words:?}"),
            LIMIT,
            async || {
                let answer = self.report(to, address).await?;
                let word = answer.split(' ').next().unwrap_or_default();
                ensure!(words.contains(&word), "{answer}");
                Ok(Some(()))
            },
        )
        .await
    }

    async fn await_dns(&self, address: &str) -> Result<()> {
        self.stack
            .await_dns(self.hostname, RecordType::A, &[address])
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_client_gave_up_while_its_replica_stood_still_changes_nothing() -> Result<()>
{
    let stage = Stage::enter().await?;
    let stack = stage.stack();
    let replicas = Replicas::start(stack, 2, &["--lease-duration", "2s"]).await?;
    let writer = replicas.writer().await?;
    let [frozen, other] = match replicas.all() {
        [first, second] if writer == 0 => [second, first],
        [first, second] => [first, second],
        _ => anyhow::bail!("not two replicas"),
    };
    let population = Population::create(stack, ZoneOptions::default(), 2).await?;
    let of = |number: usize| Host {
        stack,
        hostname: &population.hostnames[number],
        token: &population.tokens[number],
    };
    let (host, neighbour) = (of(0), of(1));
    host.await_answer(frozen, "198.51.100.1", &["good"]).await?;
    host.await_answer(other, "198.51.100.1", &["nochg"]).await?;

    let before = answered(frozen).await?;
    frozen.freeze().await?;
    // More than one, and over connections of their own: each finds another state of the index.
    let credentials = BASE64_STANDARD.encode(format!("router:{}", host.token));
    for _ in 0..LATE {
        let mut client = TcpStream::connect(frozen.update_address()).await?;
        let request = format!(
            "GET /nic/update?hostname={}&myip=198.51.100.2 HTTP/1.1\r\nHost: h\r\n\
             Authorization: Basic {credentials}\r\nConnection: close\r\n\r\n",
            host.hostname
        );
        client.write_all(request.as_bytes()).await?;
    }
    // It gave up, asked elsewhere, and has another address since.
    host.await_answer(other, "198.51.100.2", &["good"]).await?;
    host.await_answer(other, "198.51.100.3", &["good"]).await?;
    host.await_dns("198.51.100.3").await?;
    sleep(STANDSTILL).await;
    frozen.signal(Signal::CONT).await?;
    await_condition("it has answered what it has found", LIMIT, async || {
        Ok((answered(frozen).await? >= before + LATE).then_some(()))
    })
    .await?;
    // Whoever writes has heard of it: this is published after whatever came before.
    let later = neighbour.report(other, "203.0.113.9").await?;
    ensure!(later == "good 203.0.113.9", "{later}");
    neighbour.await_dns("203.0.113.9").await?;
    let found = stack.bind.query(host.hostname, RecordType::A).await?;
    ensure!(found.rdata == ["198.51.100.3"], "{found:?}");
    // It takes changes again.
    host.await_answer(frozen, "198.51.100.4", &["good", "nochg"])
        .await?;
    host.await_dns("198.51.100.4").await
}
