//! The proxy before the name server. It knows DNS messages over TCP by their length (RFC 1035
//! section 4.2.2), and UPDATE messages by their header (RFC 2136 section 2.2).

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Mutex,
};

use super::{Shared, sequence::Admission};

/// The label of a message that would change a zone.
const UPDATE: &str = "UPDATE";

/// Relays a connection of the operator's `life`.
pub(super) async fn relay(client: TcpStream, server: SocketAddr, shared: Arc<Shared>, life: usize) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let _unsupported = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let connection = Connection {
        shared,
        life,
        in_flight: Mutex::default(),
    };
    // Either end closes both, and what fails is a connection that has ended.
    let _ended = tokio::select! {
        ended = connection.pass_requests(from_client, to_server) => ended,
        ended = connection.pass_replies(from_server, to_client) => ended,
    };
    for (_, admission) in connection.in_flight.into_inner() {
        connection.shared.answered(life, admission);
    }
}

struct Connection {
    shared: Arc<Shared>,
    life: usize,
    /// The ids of UPDATE messages that await their reply.
    in_flight: Mutex<Vec<([u8; 2], Admission)>>,
}

impl Connection {
    async fn pass_requests(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
    ) -> io::Result<()> {
        loop {
            let message = read_message(&mut from).await?;
            if is_change(&message) && !self.is_retired(&message) {
                let Some(admission) = self.shared.admit(self.life, UPDATE) else {
                    return never().await;
                };
                let mut in_flight = self.in_flight.lock().await;
                in_flight.push(([message[0], message[1]], admission));
            } else if !self.shared.lives(self.life) {
                return never().await;
            }
            write_message(&mut to, &message).await?;
        }
    }

    fn is_retired(&self, message: &[u8]) -> bool {
        // The one name of the zone section comes first, and so is not compressed.
        let zone = message.get(12..).and_then(|zone| {
            let end = zone.iter().position(|octet| *octet == 0)?;
            zone.get(..=end)
        });
        zone.is_some_and(|zone| self.shared.retired().zones.contains(zone))
    }

    async fn pass_replies(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
    ) -> io::Result<()> {
        loop {
            let message = read_message(&mut from).await?;
            let mut in_flight = self.in_flight.lock().await;
            let answered = in_flight.iter().position(|(id, _)| message.starts_with(id));
            let admission = answered.map(|at| in_flight.swap_remove(at).1);
            drop(in_flight);
            let may_know = match admission {
                Some(admission) => self.shared.answered(self.life, admission),
                None => self.shared.lives(self.life),
            };
            if !may_know {
                return never().await;
            }
            write_message(&mut to, &message).await?;
        }
    }
}

/// A dead operator's connection stays as it is, until the process is gone.
async fn never() -> io::Result<()> {
    std::future::pending().await
}

/// Whether a message is an UPDATE with an update section; without one it only asks.
fn is_change(message: &[u8]) -> bool {
    const UPDATE: u8 = 5;
    let opcode = message.get(2).map(|flags| (flags >> 3) & 0xf);
    let updates = message.get(8..10).is_some_and(|count| count != [0, 0]);
    opcode == Some(UPDATE) && updates
}

async fn read_message(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut message = vec![0; from.read_u16().await?.into()];
    from.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(to: &mut OwnedWriteHalf, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    // In one piece, as the operator sends it.
    to.write_all(&[&length.to_be_bytes(), message].concat())
        .await
}
