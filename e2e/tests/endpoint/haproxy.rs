//! HAProxy in front of endpoints, as a reverse proxy and as a load balancer at layer 4.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    time::Duration,
};

use dynhost_e2e::{ChildProcess, Scratch, debian_program, free_port, scratch::write_private};
use tokio::net::TcpStream;

const START_LIMIT: Duration = Duration::from_secs(30);

/// How a listener passes requests on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Passing {
    /// As HTTP, with this line of configuration.
    Http(&'static str),
    /// As TCP, with this word behind the server.
    Tcp(&'static str),
}

/// Where HAProxy listens, and what it does with what it hears.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// The address that it connects from.
    from: &'static str,
    passing: Passing,
    server: SocketAddr,
}

impl Listener {
    /// Listens on a free port of 127.0.0.1, and connects to `server` from the address `from`.
    pub(crate) fn new(from: &'static str, passing: Passing, server: SocketAddr) -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, free_port().unwrap()).into(),
            from,
            passing,
            server,
        }
    }

    fn configuration(&self) -> String {
        let Self {
            address,
            from,
            passing,
            server,
        } = self;
        let (mode, line, word) = match passing {
            Passing::Http(line) => ("http", *line, ""),
            Passing::Tcp(word) => ("tcp", "", *word),
        };
        format!(
            "listen {}\n  bind {address}\n  mode {mode}\n  {line}\n  source {from}\n  \
             server endpoint {server} {word}\n",
            address.port()
        )
    }
}

/// Starts HAProxy and waits until it listens. Drop ends it.
pub(crate) async fn start(listeners: &[Listener]) -> (ChildProcess, Scratch) {
    let scratch = Scratch::new("haproxy").unwrap();
    let mut configuration =
        "defaults\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n".to_owned();
    for listener in listeners {
        write!(configuration, "{}", listener.configuration()).unwrap();
    }
    let file = scratch.path().join("haproxy.cfg");
    write_private(&file, &configuration).unwrap();
    let mut command = Command::new(debian_program("haproxy").await.unwrap());
    command.arg("-db").arg("-f").arg(&file);
    let log = scratch.path().join("haproxy.log");
    let process = ChildProcess::spawn("haproxy", &command, &log).unwrap();
    process
        .await_start(START_LIMIT, async || {
            for listener in listeners {
                TcpStream::connect(listener.address).await?;
            }
            Ok(Some(()))
        })
        .await
        .unwrap();
    (process, scratch)
}
