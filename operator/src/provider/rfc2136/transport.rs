//! IO: one server, and the connection to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::connection::Connection;
use super::server::Server;
use crate::leader::fence::Fence;

/// For the look-up of a name, and again for each of its addresses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Why there is no reply; each variant says what the sender may do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The server has not got the whole message: it may be sent again, to this server or another.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The server may have acted on the message.
    #[error("no reply: {0}")]
    Lost(String),
}

/// One server, reached by one connection, which is made when first needed and again when it is
/// found closed.
#[derive(Debug)]
pub struct Transport {
    server: Server,
    fence: Arc<Fence>,
    connection: Mutex<Option<Arc<Connection>>>,
}

impl Transport {
    pub fn new(server: Server, fence: Arc<Fence>) -> Self {
        Self {
            server,
            fence,
            connection: Mutex::new(None),
        }
    }

    /// Sends a message, which begins with an id that no other message in flight has, and returns
    /// the reply with this id. The reply is not verified.
    pub async fn exchange(&self, message: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        loop {
            let (connection, is_new) = self.connection().await?;
            match connection.exchange(message).await {
                Ok(reply) => return Ok(reply),
                // The server has closed it since it was last used.
                Err(ExchangeError::NotSent(_)) if !is_new => {}
                Err(ExchangeError::NotSent(why)) => return Err(self.not_sent(why)),
                Err(ExchangeError::Lost(why)) => {
                    return Err(ExchangeError::Lost(format!("{}: {why}", self.server)));
                }
            }
        }
    }

    /// The connection in use, or a new one and `true`.
    async fn connection(&self) -> Result<(Arc<Connection>, bool), ExchangeError> {
        let mut current = self.connection.lock().await;
        if let Some(connection) = current.as_ref().filter(|current| current.is_usable()) {
            return Ok((Arc::clone(connection), false));
        }
        *current = None;
        let stream = self.connect().await?;
        let connection =
            Connection::new(stream, self.fence.clone()).map_err(|error| self.not_sent(error))?;
        let connection = Arc::new(connection);
        *current = Some(Arc::clone(&connection));
        Ok((connection, true))
    }

    /// Connects to the first of the server's addresses that takes a connection.
    pub(super) async fn connect(&self) -> Result<TcpStream, ExchangeError> {
        let addresses = timeout(CONNECT_TIMEOUT, lookup_host(self.server.host_and_port())).await;
        let addresses = match addresses {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => return Err(self.not_sent(error)),
            Err(_) => return Err(self.not_sent("the name was not resolved in time")),
        };
        let mut refusal = "the name has no address".to_owned();
        for address in addresses {
            refusal = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no connection in time".to_owned(),
            };
        }
        Err(self.not_sent(refusal))
    }

    fn not_sent(&self, why: impl ToString) -> ExchangeError {
        ExchangeError::NotSent(format!("{}: {}", self.server, why.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::leader::moment::Moment;

    #[tokio::test]
    async fn behind_a_closed_fence_nothing_is_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap().to_string().parse().unwrap();
        let fence = Fence::until(Moment::from_nanos(1));
        let transport = Transport::new(server, Arc::new(fence));
        let outcome = transport.exchange(&[0; 12]).await;
        assert!(
            matches!(outcome, Err(ExchangeError::NotSent(_))),
            "{outcome:?}"
        );
        drop(transport);
        let mut octets = Vec::new();
        let (mut connection, _) = listener.accept().await.unwrap();
        connection.read_to_end(&mut octets).await.unwrap();
        assert!(octets.is_empty(), "{octets:?}");
    }
}
