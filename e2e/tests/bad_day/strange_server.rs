//! A name server that relays to a real one, until it is strange.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use hickory_net::proto::op::ResponseCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// What becomes of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    /// The real server answers.
    Relay,
    /// The real server answers, so much later.
    Slow(Duration),
    /// It is answered so, without TSIG, and the real server does not see it.
    Answer(ResponseCode),
    /// It is not answered.
    Silent,
}

/// Drop stops it.
pub(crate) struct StrangeServer {
    pub(crate) address: SocketAddr,
    mood: watch::Sender<Mood>,
    serving: JoinHandle<()>,
}

impl StrangeServer {
    pub(crate) async fn start(real: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (mood, current) = watch::channel(Mood::Relay);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                // That the client has gone is no error here.
                connections.spawn(serve(client, real, current.clone()));
            }
        });
        Ok(Self {
            address,
            mood,
            serving,
        })
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }
}

impl Drop for StrangeServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    mut client: TcpStream,
    real: SocketAddr,
    mood: watch::Receiver<Mood>,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut server = TcpStream::connect(real).await?;
    loop {
        let request = read_message(&mut client).await?;
        let mood = *mood.borrow();
        if let Mood::Answer(rcode) = mood {
            write_message(&mut client, &answer(&request, rcode)).await?;
            continue;
        }
        if let Mood::Silent = mood {
            continue;
        }
        write_message(&mut server, &request).await?;
        let reply = read_message(&mut server).await?;
        if let Mood::Slow(by) = mood {
            sleep(by).await;
        }
        write_message(&mut client, &reply).await?;
    }
}

/// A header alone (RFC 1035 section 4.1.1): the request's ID and opcode, QR, and the rcode.
fn answer(request: &[u8], rcode: ResponseCode) -> Vec<u8> {
    let opcode = request[2] & 0x78;
    let mut header = vec![request[0], request[1], 0x80 | opcode, rcode.low()];
    header.extend([0; 8]);
    header
}

async fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).unwrap();
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await
}
