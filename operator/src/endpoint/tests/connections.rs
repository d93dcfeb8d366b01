//! Slow, silent and too many connections.

use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;
use tokio::time::{interval, timeout};

use super::api_server::Next;
use super::*;
use crate::config::Limits;
use crate::metrics::{Format, Snapshot};

const PARTIAL_HEAD: &str = "GET /ip HTTP/1.1\r\nHost: x\r\n";
pub(super) const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(600);

/// Limits that nothing here runs into.
pub(super) fn generous() -> Limits {
    Limits {
        header_timeout: LONG,
        idle_timeout: LONG,
        ..Limits::default()
    }
}

/// A connection from 127.0.0.`source`.
pub(super) async fn connect_from(source: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let source = IpAddr::from(Ipv4Addr::new(127, 0, 0, source));
    socket.bind((source, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// A client's connection.
pub(super) struct Client<S = TcpStream>(pub(super) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) async fn send(&mut self, octets: &str) {
        // The server may have closed already.
        let _ = self.0.write_all(octets.as_bytes()).await;
    }

    /// Reads one answer: its status line and body.
    pub(super) async fn answer(&mut self) -> String {
        let mut answer = String::new();
        let read = async {
            loop {
                let mut octet = [0];
                if self.0.read_exact(&mut octet).await.is_err() {
                    return;
                }
                answer.push(octet[0].into());
                let Some((head, body)) = answer.split_once("\r\n\r\n") else {
                    continue;
                };
                let (_, length) = head.split_once("content-length: ").unwrap();
                let length = length.split("\r\n").next().unwrap();
                if body.len() == length.parse::<usize>().unwrap() {
                    return;
                }
            }
        };
        timeout(LIMIT, read).await.unwrap();
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) => format!("{} {body}", head.split("\r\n").next().unwrap()),
            None => answer,
        }
    }

    /// Asks for its own address: every connection that is served is told something.
    pub(super) async fn is_served(&mut self) -> bool {
        self.send("GET /ip HTTP/1.1\r\nHost: x\r\n\r\n").await;
        self.answer().await == "HTTP/1.1 503 Service Unavailable no public address\n"
    }

    /// Waits until the server has closed it without a word.
    pub(super) async fn is_closed(&mut self) -> bool {
        self.answer().await.is_empty()
    }
}

impl Fixture {
    async fn limited(limits: Limits) -> Self {
        let options = EndpointOptions {
            limits,
            ..EndpointOptions::default()
        };
        Self::with_options(Freshness::just_synced(), options).await
    }

    /// A connection from 127.0.0.`source`.
    async fn connect(&self, source: u8) -> Client {
        Client(connect_from(source, self.address).await)
    }

    /// One that has been answered, and waits with its next request.
    async fn connect_idle(&self, source: u8) -> Client {
        let mut client = self.connect(source).await;
        assert!(client.is_served().await);
        client
    }

    /// One whose request is being served until [`Fixture::end_of_busy`].
    pub(super) async fn connect_busy(&self, source: u8) -> Client {
        self.add_host("home", json!({}));
        self.api_server.script(&[Next::StoreWhenTold]);
        let mut client = self.connect(source).await;
        let basic = BASE64_STANDARD.encode(format!("x:{TOKEN}"));
        let target = "/nic/update?hostname=home.dyn.example.org&myip=198.51.100.7";
        let head =
            format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {basic}\r\n\r\n");
        client.send(&head).await;
        self.api_server.patched().await;
        client
    }

    pub(super) async fn end_of_busy(&self, mut client: Client) -> Client {
        self.api_server.go_on();
        assert_eq!(client.answer().await, "HTTP/1.1 200 OK good 198.51.100.7");
        client
    }

    /// How many connections were closed for each reason, by the metric.
    pub(super) fn closed(&self) -> Vec<String> {
        let page = self
            .metrics
            .render(&Snapshot::default(), Format::Plain)
            .unwrap();
        let counts = page.lines().filter_map(|line| {
            let rest = line.strip_prefix("dynhost_closed_connections_total{reason=\"")?;
            Some(rest.replace("\"}", ""))
        });
        let mut counts: Vec<_> = counts.collect();
        counts.sort_unstable();
        counts
    }
}

#[tokio::test]
async fn a_head_that_takes_too_long_is_cut_off() {
    let fixture = Fixture::limited(Limits {
        header_timeout: SHORT,
        ..generous()
    })
    .await;
    let mut idle = fixture.connect_idle(1).await;
    let mut silent = fixture.connect(1).await;
    let mut partial = fixture.connect(1).await;
    partial.send(PARTIAL_HEAD).await;
    let mut second = fixture.connect_idle(1).await;
    second.send(PARTIAL_HEAD).await;
    // Each octet in time does not make the head in time.
    let (mut read, mut write) = fixture.connect(1).await.0.into_split();
    let dribble = async move {
        write.write_all(PARTIAL_HEAD.as_bytes()).await.unwrap();
        let mut ticks = interval(SHORT / 10);
        while write.write_all(b"x").await.is_ok() {
            ticks.tick().await;
        }
        pending().await
    };
    let closed = async { read.read(&mut [0; 100]).await.unwrap_or(0) };
    tokio::select! {
        () = dribble => {}
        answered = timeout(LIMIT, closed) => assert_eq!(answered.unwrap(), 0),
    }
    assert!(silent.is_closed().await);
    assert!(partial.is_closed().await);
    assert!(second.is_closed().await);
    assert_eq!(fixture.closed(), ["header_timeout 4"]);
    assert!(idle.is_served().await, "this limit is not for idle ones");
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let fixture = Fixture::limited(Limits {
        idle_timeout: SHORT,
        ..generous()
    })
    .await;
    let mut silent = fixture.connect(1).await;
    let mut partial = fixture.connect_idle(1).await;
    partial.send(PARTIAL_HEAD).await;
    let mut idle = fixture.connect_idle(1).await;
    assert!(idle.is_closed().await);
    assert_eq!(fixture.closed(), ["idle_timeout 1"]);
    // This limit is not for those that have begun, nor for new ones.
    partial.send("\r\n").await;
    assert!(partial.answer().await.starts_with("HTTP/1.1 503"));
    assert!(silent.is_served().await);
}

#[tokio::test]
async fn too_many_connections_displace_those_that_wait_longest() {
    let fixture = Fixture::limited(Limits {
        max_connections: 4,
        ..generous()
    })
    .await;
    let mut first = fixture.connect_idle(1).await;
    let mut second = fixture.connect(1).await;
    let mut third = fixture.connect(2).await;
    third.send(PARTIAL_HEAD).await;
    let mut fourth = fixture.connect(2).await;
    let mut fifth = fixture.connect(3).await;
    assert!(first.is_closed().await);
    // Who asks has not waited longest any more.
    assert!(second.is_served().await);
    assert!(fifth.is_served().await);
    let mut sixth = fixture.connect(1).await;
    assert!(third.is_closed().await);
    let mut seventh = fixture.connect(1).await;
    assert!(fourth.is_closed().await);
    for client in [&mut second, &mut fifth, &mut sixth, &mut seventh] {
        assert!(client.is_served().await);
    }
    assert_eq!(fixture.closed(), ["displaced 3"]);
}

#[tokio::test]
async fn a_connection_whose_request_is_served_is_never_displaced() {
    let fixture = Fixture::limited(Limits {
        max_connections: 2,
        ..generous()
    })
    .await;
    let busy = fixture.connect_busy(1).await;
    let mut waiting = fixture.connect(1).await;
    for _ in 0..10 {
        let mut next = fixture.connect(2).await;
        assert!(waiting.is_closed().await);
        assert!(next.is_served().await);
        waiting = next;
    }
    assert_eq!(fixture.closed(), ["displaced 10"]);
    fixture.end_of_busy(busy).await;
}

#[tokio::test]
async fn where_every_connection_is_busy_a_new_one_is_refused() {
    let fixture = Fixture::limited(Limits {
        max_connections: 1,
        ..generous()
    })
    .await;
    let busy = fixture.connect_busy(1).await;
    let mut refused = fixture.connect(2).await;
    assert!(refused.is_closed().await);
    let mut idle = fixture.end_of_busy(busy).await;
    let mut next = fixture.connect(2).await;
    assert!(next.is_served().await);
    assert!(idle.is_closed().await);
    assert_eq!(fixture.closed(), ["displaced 1", "refused 1"]);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_waiting_and_not_busy() {
    let fixture = Fixture::limited(Limits {
        max_connections: 1,
        ..generous()
    })
    .await;
    let head = "POST /nic/update HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n";
    let expecting = format!("{head}Expect: 100-continue\r\n\r\n");
    let mut first = fixture.connect(1).await;
    first.send(&expecting).await;
    // Then it is awaited.
    let mut go_on = [0; 25];
    first.0.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    let mut second = fixture.connect(2).await;
    assert!(second.is_served().await);
    assert!(first.is_closed().await);
    second.send(&format!("{head}\r\n")).await;
    second.send("hostname=").await;
    assert!(second.answer().await.starts_with("HTTP/1.1 4"));
}

#[tokio::test]
async fn a_request_that_there_are_no_buffers_for_is_told_to_come_again() {
    let fixture = Fixture::limited(Limits {
        max_active_connections: 1,
        ..generous()
    })
    .await;
    let busy = fixture.connect_busy(1).await;
    // Connections are not refused, requests are.
    let mut silent = fixture.connect(2).await;
    let mut second = fixture.connect(2).await;
    second.send("GET /ip HTTP/1.1\r\n\r\n").await;
    let overloaded = "HTTP/1.1 503 Service Unavailable 911";
    assert_eq!(second.answer().await, overloaded);
    assert!(second.is_closed().await);
    let mut idle = fixture.end_of_busy(busy).await;
    assert!(silent.is_served().await);
    assert!(idle.is_closed().await);
    assert_eq!(fixture.closed(), ["active_displaced 1", "active_refused 1"]);
}

#[tokio::test]
async fn one_source_has_its_share_of_connections() {
    let fixture = Fixture::limited(Limits {
        max_connections_per_source: 2,
        ..generous()
    })
    .await;
    let busy = fixture.connect_busy(1).await;
    let mut second = fixture.connect_idle(1).await;
    let mut other = fixture.connect_idle(2).await;
    let mut third = fixture.connect(1).await;
    assert!(second.is_closed().await);
    assert!(third.is_served().await);
    let mut idle = fixture.end_of_busy(busy).await;
    let mut fourth = fixture.connect(1).await;
    assert!(third.is_closed().await);
    for client in [&mut other, &mut idle, &mut fourth] {
        assert!(client.is_served().await);
    }
    assert_eq!(fixture.closed(), ["source_displaced 2"]);
}

#[tokio::test]
async fn a_source_whose_connections_are_all_busy_has_to_wait() {
    let fixture = Fixture::limited(Limits {
        max_connections_per_source: 1,
        ..generous()
    })
    .await;
    let busy = fixture.connect_busy(1).await;
    assert!(fixture.connect(1).await.is_closed().await);
    assert!(fixture.connect(2).await.is_served().await);
    fixture.end_of_busy(busy).await;
    assert_eq!(fixture.closed(), ["source_refused 1"]);
}

#[tokio::test]
async fn a_trusted_proxy_has_the_connections_of_many() {
    let options = EndpointOptions {
        trusted_proxies: vec!["127.0.0.2".parse().unwrap()],
        limits: Limits {
            max_connections_per_source: 1,
            ..generous()
        },
        ..EndpointOptions::default()
    };
    let fixture = Fixture::with_options(Freshness::just_synced(), options).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(fixture.connect_idle(2).await);
    }
    for client in &mut clients {
        assert!(client.is_served().await);
    }
    assert!(fixture.closed().is_empty());
}

#[tokio::test]
async fn the_proxy_protocol_says_whose_a_connection_is() {
    let options = EndpointOptions {
        trusted_proxies: vec!["127.0.0.2".parse().unwrap()],
        proxy_protocol: true,
        limits: Limits {
            max_connections_per_source: 1,
            header_timeout: SHORT,
            ..generous()
        },
        ..EndpointOptions::default()
    };
    let fixture = Fixture::with_options(Freshness::just_synced(), options).await;
    const REQUEST: &str = "GET /ip HTTP/1.1\r\nHost: x\r\n\r\n";
    let announced = async |header: &str| {
        let mut client = fixture.connect(2).await;
        client.send(header).await;
        client.send(REQUEST).await;
        let answer = client.answer().await;
        (client, answer)
    };
    let (mut first, answer) = announced("PROXY TCP4 9.9.9.9 192.0.2.1 4711 80\r\n").await;
    assert_eq!(answer, "HTTP/1.1 200 OK 9.9.9.9\n");
    let (_second, answer) = announced("PROXY TCP6 2620:fe::9 2001:db8::1 4711 80\r\n").await;
    assert_eq!(answer, "HTTP/1.1 200 OK 2620:fe::9\n");
    // It is counted under the source that is announced.
    let (_third, answer) = announced("PROXY TCP4 9.9.9.9 192.0.2.1 4712 80\r\n").await;
    assert_eq!(answer, "HTTP/1.1 200 OK 9.9.9.9\n");
    assert!(first.is_closed().await);
    assert_eq!(fixture.closed(), ["source_displaced 1"]);
    // A trusted peer must say it, and in time; another one must not.
    assert_eq!(announced("").await.1, "");
    let mut partial = fixture.connect(2).await;
    partial.send("PROXY TCP4 9.9").await;
    assert!(partial.is_closed().await);
    let closed = ["header_timeout 1", "proxy_header 1", "source_displaced 1"];
    assert_eq!(fixture.closed(), closed);
    let mut other = fixture.connect(3).await;
    assert!(other.is_served().await);
    other.send("PROXY TCP4 9.9.9.9 192.0.2.1 4711 80\r\n").await;
    other.send(REQUEST).await;
    assert!(other.answer().await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn a_client_is_served_while_others_hold_every_connection() {
    let fixture = Fixture::limited(Limits {
        max_connections: 32,
        ..generous()
    })
    .await;
    let mut slow = Vec::new();
    for n in 0..200 {
        let mut client = fixture.connect(2 + n % 20).await;
        if n % 2 == 0 {
            client.send(PARTIAL_HEAD).await;
        }
        slow.push(client);
        if n % 10 == 0 {
            assert!(fixture.connect(1).await.is_served().await, "after {n}");
        }
    }
}

#[tokio::test]
async fn the_longest_head_is_as_configured() {
    let fixture = Fixture::limited(Limits {
        max_header_bytes: 1024,
        ..generous()
    })
    .await;
    let check = async |length: usize, served: bool| {
        let begin = "GET /ip HTTP/1.1\r\nHost: x\r\nX: ";
        let padding = "x".repeat(length - begin.len() - 4);
        let mut client = fixture.connect(1).await;
        client.send(&format!("{begin}{padding}\r\n\r\n")).await;
        let status = if served {
            "HTTP/1.1 503"
        } else {
            "HTTP/1.1 431"
        };
        let answer = client.answer().await;
        assert!(answer.starts_with(status), "{length}: {answer}");
    };
    check(1024, true).await;
    check(1025, false).await;
    check(20_000, false).await;
}

#[tokio::test]
async fn at_the_end_only_requests_under_way_are_finished() {
    let fixture = Fixture::limited(generous()).await;
    let mut silent = fixture.connect(1).await;
    let mut idle = fixture.connect_idle(1).await;
    let mut busy = fixture.connect_busy(1).await;
    drop(fixture.stop);
    assert!(silent.is_closed().await);
    assert!(idle.is_closed().await);
    fixture.api_server.go_on();
    assert_eq!(busy.answer().await, "HTTP/1.1 200 OK good 198.51.100.7");
    assert!(busy.is_closed().await);
}

#[tokio::test]
async fn who_came_before_the_end_is_served_though_nobody_had_heard_him_yet() {
    let fixture = Fixture::limited(generous()).await;
    // Nothing is awaited here, and so nothing is accepted.
    let connect = |_| {
        let mut stream = std::net::TcpStream::connect(fixture.address).unwrap();
        io::Write::write_all(&mut stream, b"GET /ip HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream.set_nonblocking(true).unwrap();
        Client(TcpStream::from_std(stream).unwrap())
    };
    let in_queue: Vec<_> = (0..3).map(connect).collect();
    drop(fixture.stop);
    for mut client in in_queue {
        let answer = client.answer().await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer:?}");
        assert!(client.is_closed().await);
    }
    assert!(TcpStream::connect(fixture.address).await.is_err());
}
