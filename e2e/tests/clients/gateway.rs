//! What stands in front of the endpoint in real life: a reverse proxy that says where a request
//! came from.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use super::wire::Wire;

/// A reverse proxy. Drop ends it.
#[derive(Debug)]
pub(crate) struct Gateway {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Gateway {
    /// Listens for requests to `endpoint` that are to come from `source`.
    pub(crate) async fn start(endpoint: SocketAddr, source: &'static str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                // An error is the client's to see: its connection ends.
                connections.spawn(pass(client, endpoint, source));
            }
        });
        Ok(Self { address, accepting })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // The connections are in a JoinSet of this task, and end with it.
        self.accepting.abort();
    }
}

async fn pass(client: TcpStream, endpoint: SocketAddr, source: &str) -> Result<()> {
    let mut client = Wire::new(client);
    let mut server = Wire::new(TcpStream::connect(endpoint).await?);
    while let Some(mut request) = client.receive(false).await? {
        let is_head = request.start_line().starts_with("HEAD ");
        request.head += &format!("\r\nX-Forwarded-For: {source}");
        server.send(&request.octets()).await?;
        let answer = server.receive(is_head).await?;
        let answer = answer.context("the endpoint ended the connection")?;
        client.send(&answer.octets()).await?;
        let closes = |header: Option<&str>| header.is_some_and(|v| v.eq_ignore_ascii_case("close"));
        if closes(answer.header("connection")) || request.start_line().ends_with("HTTP/1.0") {
            break;
        }
    }
    Ok(())
}
