//! IO: DNS messages over one TCP connection (RFC 1035 section 4.2.2, RFC 7766), several in flight.
//!
//! There is no task: whoever waits for a reply reads for all who wait, which also saves a wake-up
//! for each reply. A caller may be dropped at any point; the connection stays whole or is given up.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use tokio::time::{Instant, timeout_at};

use super::transport::ExchangeError;
use crate::leader::fence::Fence;

/// From the beginning of an exchange to the reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection unused for longer is not used again: a message that crosses the server's close has
/// an unknown outcome. PowerDNS closes after 5 s, Knot after 10 s, BIND after 30 s.
const IDLE_LIMIT: Duration = Duration::from_secs(4);

/// The length of a message stands before it (RFC 1035 section 4.2.2).
const LENGTH_OCTETS: usize = 2;

/// The shortest message is a header (RFC 1035 section 4.1.1).
const HEADER_OCTETS: usize = 12;

/// A connection to one server.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    fence: Arc<Fence>,
    /// Whether a frame was begun and not finished; locked while a frame is written.
    sending: AsyncMutex<bool>,
    /// What was read of the next frame; locked by the one who reads for all.
    receiving: AsyncMutex<Vec<u8>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Who waits for which reply, by message id.
    waiting: HashMap<u16, oneshot::Sender<Vec<u8>>>,
    last_used: Instant,
    /// Takes no further messages; those in flight may still be answered.
    is_retired: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, fence: Arc<Fence>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            fence,
            sending: AsyncMutex::new(false),
            receiving: AsyncMutex::new(Vec::new()),
            state: Mutex::new(State {
                waiting: HashMap::new(),
                last_used: Instant::now(),
                is_retired: false,
            }),
        })
    }

    /// Whether another message may be sent: the connection is neither given up, nor idle for
    /// long, nor closed by the server as far as the system has heard.
    pub(super) fn is_usable(&self) -> bool {
        let state = self.state();
        let is_idle = state.waiting.is_empty() && state.last_used.elapsed() > IDLE_LIMIT;
        !state.is_retired && !is_idle && !self.is_closed_by_server()
    }

    /// Asks the socket itself, because the runtime may not have seen the close yet.
    fn is_closed_by_server(&self) -> bool {
        match SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]) {
            Ok(octets) => octets == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    /// Sends one message and returns the reply with its id. After an error the connection takes
    /// no further messages.
    pub(super) async fn exchange(&self, message: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        let deadline = Instant::now() + REPLY_TIMEOUT;
        let outcome = match InFlight::register(self, message) {
            Err(error) => Err(ExchangeError::NotSent(error.to_string())),
            Ok(in_flight) => match self.send(message, deadline).await {
                Err(error) => Err(ExchangeError::NotSent(error.to_string())),
                Ok(()) => in_flight
                    .reply(deadline)
                    .await
                    .map_err(|error| ExchangeError::Lost(error.to_string())),
            },
        };
        if outcome.is_err() {
            self.state().is_retired = true;
        }
        outcome
    }

    /// Writes one frame. After an error the server has at most a part of it and never gets the
    /// rest, so that it cannot act on it.
    async fn send(&self, message: &[u8], deadline: Instant) -> io::Result<()> {
        let length = u16::try_from(message.len()).map_err(|_| ErrorKind::InvalidInput)?;
        let mut frame = Vec::with_capacity(LENGTH_OCTETS + message.len());
        frame.extend(length.to_be_bytes());
        frame.extend(message);

        let mut is_mid_frame = timeout_at(deadline, self.sending.lock()).await?;
        if *is_mid_frame || self.state().is_retired {
            return Err(ErrorKind::NotConnected.into());
        }
        *is_mid_frame = true;
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            timeout_at(deadline, self.stream.writable()).await??;
            // At the last moment: whatever waited until now may have waited for too long.
            self.fence.check().map_err(io::Error::other)?;
            match self.stream.try_write(rest) {
                Ok(octets) => rest = rest.get(octets..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        *is_mid_frame = false;
        Ok(())
    }

    /// Reads the next frame. Dropping it loses nothing.
    async fn read_frame(&self, buffer: &mut Vec<u8>) -> io::Result<Vec<u8>> {
        loop {
            if let Some(message) = take_frame(buffer)? {
                return Ok(message);
            }
            self.stream.readable().await?;
            match self.stream.try_read_buf(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => acknowledge_at_once(&self.stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands a reply to who waits for it. One that nobody waits for came too late, or was never
    /// asked for.
    fn deliver(&self, message: Vec<u8>) {
        let waiting = message_id(&message).and_then(|id| self.state().waiting.remove(&id));
        if let Some(reply) = waiting {
            // Who waited may have gone meanwhile.
            let _ = reply.send(message);
        }
    }

    /// Nothing more can be read: nobody gets a reply.
    fn fail_all(&self) {
        let mut state = self.state();
        state.is_retired = true;
        state.waiting.clear();
    }

    /// The state is never left half changed, so that a panic elsewhere does not spoil it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message whose reply somebody waits for.
struct InFlight<'a> {
    connection: &'a Connection,
    id: u16,
    reply: oneshot::Receiver<Vec<u8>>,
}

impl<'a> InFlight<'a> {
    fn register(connection: &'a Connection, message: &[u8]) -> io::Result<Self> {
        let id = message_id(message).ok_or(ErrorKind::InvalidInput)?;
        let (sender, reply) = oneshot::channel();
        match connection.state().waiting.entry(id) {
            Entry::Occupied(_) => Err(ErrorKind::AlreadyExists.into()),
            Entry::Vacant(entry) => {
                entry.insert(sender);
                Ok(Self {
                    connection,
                    id,
                    reply,
                })
            }
        }
    }

    async fn reply(mut self, deadline: Instant) -> io::Result<Vec<u8>> {
        timeout_at(deadline, self.read()).await?
    }

    /// Waits for the reply, and reads for all while nobody else does.
    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = tokio::select! {
            biased;
            reply = &mut self.reply => return reply.map_err(|_| ErrorKind::UnexpectedEof.into()),
            buffer = self.connection.receiving.lock() => buffer,
        };
        loop {
            match self.reply.try_recv() {
                Ok(reply) => return Ok(reply),
                Err(TryRecvError::Closed) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(TryRecvError::Empty) => {}
            }
            match self.connection.read_frame(&mut buffer).await {
                Ok(message) => self.connection.deliver(message),
                Err(error) => {
                    self.connection.fail_all();
                    return Err(error);
                }
            }
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut state = self.connection.state();
        state.waiting.remove(&self.id);
        state.last_used = Instant::now();
    }
}

fn message_id(message: &[u8]) -> Option<u16> {
    message.first_chunk().map(|id| u16::from_be_bytes(*id))
}

/// Takes the first whole frame off `buffer`, which so never holds much more than one.
fn take_frame(buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let Some((length, rest)) = buffer.split_first_chunk::<LENGTH_OCTETS>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes(*length));
    if length < HEADER_OCTETS {
        return Err(ErrorKind::InvalidData.into());
    }
    let Some(message) = rest.get(..length).map(<[u8]>::to_vec) else {
        return Ok(None);
    };
    buffer.drain(..LENGTH_OCTETS + length);
    Ok(Some(message))
}

/// Asks the system not to delay its next acknowledgement, which a server that delays small
/// segments waits for: 40 ms a message otherwise. Linux forgets it, so that it is asked again after
/// each read; a system that cannot do it is slower and no less right.
fn acknowledge_at_once(stream: &TcpStream) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = SockRef::from(stream).set_tcp_quickack(true);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = stream;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_one_by_one_or_refused() {
        fn check(octets: &[u8], expected: Result<Option<usize>, ErrorKind>, left: usize) {
            let mut buffer = octets.to_vec();
            let frame = take_frame(&mut buffer);
            let frame = frame
                .map(|frame| frame.map(|frame| frame.len()))
                .map_err(|error| error.kind());
            assert_eq!((frame, buffer.len()), (expected, left), "{octets:?}");
        }
        let twelve = [&[0, 12][..], &[7; 12]].concat();
        check(&[], Ok(None), 0);
        check(&[0], Ok(None), 1);
        check(&twelve[..13], Ok(None), 13);
        check(&twelve, Ok(Some(12)), 0);
        check(&[&twelve[..], &twelve[..5]].concat(), Ok(Some(12)), 5);
        check(
            &[&[0xff, 0xff][..], &[7; 65_535]].concat(),
            Ok(Some(65_535)),
            0,
        );
        check(&[0, 0], Err(ErrorKind::InvalidData), 2);
        check(&[0, 11, 7], Err(ErrorKind::InvalidData), 3);
    }
}
