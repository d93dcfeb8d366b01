//! A name server that relays to a real one and spoils what it answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use hickory_net::proto::op::{Message, Query};
use hickory_net::proto::rr::{Name, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// From the number of a request, counted from 0, and the real reply to what the client gets.
pub(crate) type Script = fn(usize, Vec<u8>) -> Act;

/// Octets for the client, and what becomes of the connection.
pub(crate) enum Act {
    Send(Vec<u8>),
    SendAndClose(Vec<u8>),
}

/// Drop stops it.
pub(crate) struct ScriptedServer {
    pub(crate) address: SocketAddr,
    opened: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl ScriptedServer {
    /// Serves one connection after the other, one request at a time.
    pub(crate) async fn start(real: SocketAddr, script: Script) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let opened = Arc::new(AtomicUsize::new(0));
        let closed = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(AtomicUsize::new(0));
        let counters = (Arc::clone(&opened), Arc::clone(&closed));
        let counter = Arc::clone(&requests);
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counters.0.fetch_add(1, Ordering::SeqCst);
                // That the client has gone is no error here.
                let _ = serve(client, real, script, &counter).await;
                counters.1.fetch_add(1, Ordering::SeqCst);
            }
        });
        Ok(Self {
            address,
            opened,
            closed,
            requests,
            serving,
        })
    }

    /// How many connections it has taken.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    /// How many requests it has relayed.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// How many connections it has closed.
    pub(crate) fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A message with its length before it.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    [&length.to_be_bytes(), message].concat()
}

async fn serve(
    mut client: TcpStream,
    real: SocketAddr,
    script: Script,
    requests: &AtomicUsize,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut server = TcpStream::connect(real).await?;
    loop {
        let request = read_message(&mut client).await?;
        server.write_all(&frame(&request)).await?;
        let reply = read_message(&mut server).await?;
        match script(requests.fetch_add(1, Ordering::SeqCst), reply) {
            Act::Send(octets) => client.write_all(&octets).await?,
            Act::SendAndClose(octets) => return client.write_all(&octets).await,
        }
    }
}

async fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// From the messages of a real transfer to those that the client gets before the connection is
/// closed.
pub(crate) type Spoil = fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>;

/// Relays zone transfers, spoiled. Drop stops it.
pub(crate) struct Transfers {
    pub(crate) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Transfers {
    pub(crate) async fn start(real: SocketAddr, spoil: Spoil) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                // That the client has gone is no error here.
                let _ = relay_transfer(&mut client, real, spoil).await;
            }
        });
        Ok(Self { address, serving })
    }
}

impl Drop for Transfers {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn relay_transfer(client: &mut TcpStream, real: SocketAddr, spoil: Spoil) -> Result<()> {
    let request = read_message(client).await?;
    for message in spoil(transfer_messages(real, &request).await?) {
        client.write_all(&frame(&message)).await?;
    }
    Ok(())
}

/// The messages of an unsigned transfer.
pub(crate) async fn read_transfer(server: SocketAddr, apex: &str) -> Result<Vec<Vec<u8>>> {
    let mut request = Message::query();
    request.add_query(Query::query(Name::from_ascii(apex)?, RecordType::AXFR));
    transfer_messages(server, &request.to_vec()?).await
}

async fn transfer_messages(server: SocketAddr, request: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut server = TcpStream::connect(server).await?;
    server.write_all(&frame(request)).await?;
    let mut messages = Vec::new();
    let mut soas = 0;
    while soas < 2 {
        let message = read_message(&mut server).await?;
        let answers = Message::from_vec(&message)?.answers;
        ensure!(!answers.is_empty(), "no transfer");
        let is_soa = |record: &&Record| record.record_type() == RecordType::SOA;
        soas += answers.iter().filter(is_soa).count();
        messages.push(message);
    }
    Ok(messages)
}
