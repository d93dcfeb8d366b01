//! The end of a replica, in order.

use anyhow::Result;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use dynhost_e2e::{Signal, await_condition, http, stack::LIMIT};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::team::{LONG, Team, await_leader};

#[tokio::test]
async fn a_request_under_way_is_answered_and_holds_up_neither_readiness_nor_the_lease() -> Result<()>
{
    let team = Team::gather().await?;
    let writer = team.replica(LONG).await?;
    await_leader(&writer).await?;
    let host = team.host().await?;
    let credentials = BASE64_STANDARD.encode(format!("router:{}", host.token));
    let body = format!("hostname={}&myip=198.51.100.1", host.hostname);
    let head = format!(
        "POST /nic/update HTTP/1.1\r\nHost: updates.example.org\r\n\
         Authorization: Basic {credentials}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let (begin, end) = body.split_at(10);
    let mut client = TcpStream::connect(writer.update_address()).await?;
    client.write_all((head + begin).as_bytes()).await?;
    // A later request has been served, and so the first one is under way.
    host.report(&writer, "198.51.100.2").await?;
    writer.signal(Signal::TERM).await?;
    await_condition("it is not ready", LIMIT, async || {
        let ready = http::get(writer.admin_address(), "/readyz", None).await?;
        Ok((ready.status == 503 && ready.text() == "ending\n").then_some(()))
    })
    .await?;
    await_condition("the lease is released", LIMIT, async || {
        Ok(team.holder().await?.is_empty().then_some(()))
    })
    .await?;
    // New clients are not let in, and the one that came in time is answered.
    assert!(TcpStream::connect(writer.update_address()).await.is_err());
    client.write_all(end.as_bytes()).await?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await?;
    assert!(answer.ends_with("good 198.51.100.1"), "{answer}");
    assert_eq!(writer.terminate().await?.code(), Some(0));
    // What it has acknowledged is published by whoever comes next.
    let _next = team.replica(LONG).await?;
    host.await_published("198.51.100.1").await
}
