//! IO: a whole zone, read over a connection of its own, so that changes do not wait for it.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};

use super::axfr::{self, Progress, Transfer};
use super::tsig::TsigKey;
use super::{KeyError, Rfc2136, message, unix_time};
use crate::provider::TransferError;
use crate::record::contents::Visit;

/// How long a transfer may take.
#[derive(Clone, Copy)]
struct Limits {
    /// From the request to the first message, and from each to the next.
    message: Duration,
    all: Duration,
}

/// 100,000 records take less than a second.
const LIMITS: Limits = Limits {
    message: Duration::from_secs(10),
    all: Duration::from_secs(120),
};

/// What is read at a time.
const BUFFER: usize = 16 * 1024;

impl Rfc2136 {
    /// Hands every record of the zone but its SOA to `visit`, and says the zone's serial.
    ///
    /// Nothing counts before this has come to a good end: what came until then may not even be
    /// signed. Memory: two messages of at most 64 KiB.
    pub(super) async fn transfer_zone(&self, visit: &mut Visit<'_>) -> Result<u32, TransferError> {
        let key = self.key().await?;
        match self.transfer_with(&key, visit).await {
            // No record has been handed over: who has our key does not refuse it.
            Err(TransferError::Unauthorized(why)) => {
                let renewed = self.key_after(&key).await?;
                match renewed == key {
                    true => Err(TransferError::Unauthorized(why)),
                    false => self.transfer_with(&renewed, visit).await,
                }
            }
            outcome => outcome,
        }
    }

    async fn transfer_with(
        &self,
        key: &TsigKey,
        visit: &mut Visit<'_>,
    ) -> Result<u32, TransferError> {
        let mut failures = Vec::new();
        let order = self.order(self.current());
        for server in order.iter().filter_map(|index| self.servers.get(*index)) {
            let stream = match server.connect().await {
                Ok(stream) => stream,
                Err(error) => {
                    failures.push(error.to_string());
                    continue;
                }
            };
            let id = self.ids.take(1).first;
            let request = axfr::request(id, &self.apex);
            let request = request.and_then(|request| message::encode(request, key, unix_time()));
            let request = request.map_err(|error| TransferError::Broken(error.to_string()))?;
            let transfer = Transfer::new(id, &self.apex, key, &request.mac);
            return read(stream, &request.wire, transfer, LIMITS, visit).await;
        }
        Err(TransferError::Unavailable(failures.join("; ")))
    }
}

/// Sends the request and takes messages until the zone is whole.
async fn read(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
    mut transfer: Transfer<'_>,
    limits: Limits,
    visit: &mut Visit<'_>,
) -> Result<u32, TransferError> {
    let end = Instant::now() + limits.all;
    let length = u16::try_from(request.len()).map_err(|_| lost(ErrorKind::InvalidInput))?;
    let frame = [&length.to_be_bytes(), request].concat();
    let sent = timeout(limits.message, stream.write_all(&frame)).await;
    sent.map_err(lost)?.map_err(lost)?;
    let mut stream = BufReader::with_capacity(BUFFER, stream);
    let mut message = Vec::new();
    loop {
        let deadline = end.min(Instant::now() + limits.message);
        let next = timeout_at(deadline, read_message(&mut stream, &mut message)).await;
        next.map_err(lost)?.map_err(lost)?;
        match transfer.take(&message, unix_time(), visit)? {
            Progress::Whole { serial } => return Ok(serial),
            // Whoever shares our task gets a turn: a message may hold some thousand records.
            Progress::Begun => yield_now().await,
        }
    }
}

/// Reads a message over the one before (RFC 1035 section 4.2.2).
async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    message: &mut Vec<u8>,
) -> io::Result<()> {
    message.resize(stream.read_u16().await?.into(), 0);
    stream.read_exact(message).await?;
    Ok(())
}

fn lost(error: impl Into<io::Error>) -> TransferError {
    let error = error.into();
    TransferError::Unavailable(match error.kind() {
        ErrorKind::UnexpectedEof => "the server closed the connection in a transfer".to_owned(),
        ErrorKind::TimedOut => "a transfer took too long".to_owned(),
        _ => format!("in a transfer: {error}"),
    })
}

impl From<KeyError> for TransferError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NotFound(_) | KeyError::Invalid(_) => Self::Unauthorized(error.to_string()),
            KeyError::Unavailable(_) => Self::Unavailable(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::name::Fqdn;
    use crate::provider::rfc2136::tsig::Algorithm;

    /// How a transfer ends of whose reply the server sends nothing but these octets.
    async fn check(limits: Limits, end: fn(DuplexStream) -> Option<DuplexStream>, expected: &str) {
        let key = TsigKey::new("dyn-key", Algorithm::HmacSha256, b"c2VjcmV0").unwrap();
        let apex = Fqdn::parse("dyn.example.org").unwrap();
        let transfer = Transfer::new(7, &apex, &key, b"mac");
        let (stream, mut server) = duplex(1024);
        server.write_all(&[0, 200, 1, 2, 3]).await.unwrap();
        let _open = end(server);
        let outcome = read(stream, &[0; 20], transfer, limits, &mut |_, _, _| {}).await;
        let expected = format!("unavailable: {expected}");
        assert_eq!(outcome.map_err(|error| error.to_string()), Err(expected));
    }

    #[tokio::test]
    async fn a_server_that_stops_is_not_waited_for() {
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(60));
        let limits = |message, all| Limits { message, all };
        check(limits(short, long), Some, "a transfer took too long").await;
        check(limits(long, short), Some, "a transfer took too long").await;
        check(limits(long, long), |_| None, "in a transfer: broken pipe").await;
    }
}
