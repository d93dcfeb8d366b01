//! A TCP proxy on loopback that can lose or delay what passes through it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    select,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// What happens to the octets that pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They pass.
    Pass,
    /// The server gets requests, and its replies are lost. A connection that has lost octets is
    /// closed when the mode changes, as what follows could not be understood.
    SwallowReplies,
    /// The server gets requests, and its replies wait until the mode changes.
    HoldReplies,
    /// Nothing passes in either direction; connections stay open and new ones are accepted.
    Hold,
    /// A connection is closed in place of the next request on it, which the server never gets.
    CutAtRequest,
    /// A connection is closed in place of the next reply on it: the server has done what it was
    /// asked, and nobody is told.
    CutAtReply,
    /// Connections are closed, new ones at once.
    Cut,
}

/// The mode, but of the connections that were abandoned.
#[derive(Clone, Copy, Debug)]
struct State {
    mode: Mode,
    /// So many connections, the first ones, were abandoned.
    abandoned: usize,
}

impl State {
    /// The mode of the connection that was taken as the one of this number, counted from 0.
    fn mode_of(self, number: usize) -> Mode {
        if number < self.abandoned {
            Mode::Hold
        } else {
            self.mode
        }
    }
}

/// A proxy in front of one server. Drop closes it and its connections.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    connections: Connections,
    accepting: JoinHandle<()>,
}

/// How many there have been, and how many there are.
#[derive(Clone, Debug, Default)]
struct Connections {
    opened: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl TcpProxy {
    /// Listens on a free port for connections to `server`, in mode [`Mode::Pass`]. It works as long
    /// as the runtime that it was started in.
    ///
    /// # Errors
    /// Where it cannot listen.
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, crate::free_port()?)).await?;
        let address = listener.local_addr()?;
        let (state, current) = watch::channel(State {
            mode: Mode::Pass,
            abandoned: 0,
        });
        let connections = Connections::default();
        let accepting = accept(listener, server, current, connections.clone());
        Ok(Self {
            address,
            state,
            connections,
            accepting: tokio::spawn(accepting),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has taken.
    pub fn opened(&self) -> usize {
        self.connections.opened.load(Ordering::SeqCst)
    }

    /// How many of them neither side has closed.
    pub fn open(&self) -> usize {
        self.connections.open.load(Ordering::SeqCst)
    }

    /// Changes the mode, for connections that are open too.
    pub fn set_mode(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }

    /// Leaves the connections that are open for ever as [`Mode::Hold`] does, as where a router on the
    /// way has lost its state: half-open ones. New ones are in the mode.
    pub fn abandon_open(&self) {
        let opened = self.opened();
        self.state.send_modify(|state| state.abandoned = opened);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        // The connections are in a JoinSet of this task, and end with it.
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    state: watch::Receiver<State>,
    connections: Connections,
) {
    let mut relays = JoinSet::new();
    loop {
        select! {
            Some(_ended) = relays.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let number = connections.opened.fetch_add(1, Ordering::SeqCst);
                    connections.open.fetch_add(1, Ordering::SeqCst);
                    let open = Arc::clone(&connections.open);
                    let relay = relay(client, server, state.clone(), number);
                    relays.spawn(async move {
                        relay.await;
                        open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
                // Too many open files, for one: it passes.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

async fn relay(
    client: TcpStream,
    server: SocketAddr,
    state: watch::Receiver<State>,
    number: usize,
) {
    if state.borrow().mode_of(number) == Mode::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    // Without it the proxy would add up to 40 ms of its own.
    let _unsupported = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Either end closes both: no server behind this proxy needs half-closed connections.
    select! {
        () = pump(from_client, to_server, state.clone(), number, Direction::Requests) => {}
        () = pump(from_server, to_client, state, number, Direction::Replies) => {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Replies,
}

impl Direction {
    fn is_cut_by(self, mode: Mode) -> bool {
        matches!(
            (self, mode),
            (Self::Requests, Mode::CutAtRequest) | (Self::Replies, Mode::CutAtReply)
        )
    }
}

/// Relays one direction until an end closes or the mode says so.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    number: usize,
    direction: Direction,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut has_swallowed = false;
    loop {
        let now = state.borrow_and_update().mode_of(number);
        if now == Mode::Cut || (has_swallowed && now != Mode::SwallowReplies) {
            return;
        }
        let waits = now == Mode::HoldReplies && direction == Direction::Replies;
        if now == Mode::Hold || waits {
            if state.changed().await.is_err() {
                return;
            }
            continue;
        }
        select! {
            biased;
            changed = state.changed() => if changed.is_err() {
                return;
            },
            read = from.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) if direction.is_cut_by(now) => return,
                Ok(_) if direction == Direction::Replies && now == Mode::SwallowReplies => {
                    has_swallowed = true;
                }
                Ok(length) => if to.write_all(&buffer[..length]).await.is_err() {
                    return;
                },
            }
        }
    }
}
