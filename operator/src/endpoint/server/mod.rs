//! The accept loop, and HTTP/1 on each connection.

mod begun;
mod connection;
mod connections;
mod first_head;
mod table;
mod watched;

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::Endpoint;
use super::handler::handle;
use super::proxy_protocol::read_header;
use super::standstill::PULSE;
use crate::update::client_address::Connection as Client;
use begun::Begun;
use connection::Connection;
use connections::{Connections, Order, Place};
use first_head::{is_hello, read_first_head, read_hello};
use watched::{RequestLine, Watched};

/// How long an answer 429 is held back, so that a flood has one request a second and connection.
const HOLD_BACK: Duration = Duration::from_secs(1);

/// After an error of `accept` (no file descriptors, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Connections that may wait in a listener's queue, as many as tokio has the kernel keep.
const BACKLOG: usize = 1024;

/// How long connections have at the end to send their first request: who was led here just before is
/// served.
const LAST_REQUESTS: Duration = Duration::from_millis(50);

/// How long requests under way may take at the end: each is answered within this time.
const GRACE: Duration = Duration::from_secs(10);

/// For a request that comes while as many as possible are being served.
const OVERLOADED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\n\
    content-length: 3\r\nretry-after: 60\r\nconnection: close\r\n\r\n911";

/// For a request that comes where TLS is spoken.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
    content-length: 32\r\nconnection: close\r\n\r\nthis port speaks TLS: use https\n";

/// hyper takes no smaller buffer.
const LEAST_BUFFER: usize = 8 * 1024;

/// Where clients connect.
pub struct Ports {
    pub plain: Option<TcpListener>,
    pub tls: Option<(TcpListener, TlsAcceptor)>,
}

impl Ports {
    /// The next connection, and how TLS is spoken on it, if it is.
    async fn accept(&self) -> (io::Result<(TcpStream, SocketAddr)>, Option<&TlsAcceptor>) {
        let plain = async {
            match &self.plain {
                Some(listener) => (listener.accept().await, None),
                None => pending().await,
            }
        };
        let tls = async {
            match &self.tls {
                Some((listener, acceptor)) => (listener.accept().await, Some(acceptor)),
                None => pending().await,
            }
        };
        tokio::select! {
            accepted = plain => accepted,
            accepted = tls => accepted,
        }
    }

    /// Listens no more, and gives the connections that the kernel has taken for us: they would be
    /// reset with their listener.
    fn close(self) -> Vec<(TcpStream, SocketAddr, Option<TlsAcceptor>)> {
        let tls = self.tls.map(|(listener, tls)| (listener, Some(tls)));
        let plain = self.plain.map(|listener| (listener, None));
        let mut rest = Vec::new();
        for (listener, tls) in plain.into_iter().chain(tls) {
            let connections = taken_from_queue(listener);
            rest.extend(connections.map(|(stream, peer)| (stream, peer, tls.clone())));
        }
        rest
    }
}

/// One that has failed in the queue is passed over.
fn taken_from_queue(listener: TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    let listener = listener.into_std().ok();
    let accept = move || match listener.as_ref()?.accept() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        accepted => Some(accepted),
    };
    let accepted = std::iter::from_fn(accept).take(BACKLOG);
    accepted.filter_map(|accepted| {
        let (stream, peer) = accepted.ok()?;
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer))
    })
}

/// Serves clients until `shutdown`, then finishes the requests under way.
///
/// Ends within about 10 s after `shutdown`, since every request is answered by then.
pub async fn serve(ports: Ports, endpoint: Arc<Endpoint>, shutdown: impl Future<Output = ()>) {
    let limits = endpoint.options.limits;
    let connections = Arc::new(Connections::new(limits, endpoint.metrics.clone()));
    let server = Arc::new(Server::new(endpoint));
    let mut sweep = pin!(sleep(connections.sweep()));
    let mut pulse = interval(PULSE);
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            _ = pulse.tick() => server.endpoint.observer.pulse(),
            Some(_) = tasks.join_next() => {}
            () = &mut sweep => sweep.as_mut().reset(Instant::now() + connections.sweep()),
            (accepted, tls) = ports.accept() => match accepted {
                Ok((stream, peer)) => server.admit(&connections, &mut tasks, stream, peer, tls),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    for (stream, peer, tls) in ports.close() {
        server.admit(&connections, &mut tasks, stream, peer, tls.as_ref());
    }
    sleep(LAST_REQUESTS).await;
    connections.finish();
    let rest = async {
        loop {
            tokio::select! {
                ended = tasks.join_next() => if ended.is_none() {
                    break;
                },
                _ = pulse.tick() => server.endpoint.observer.pulse(),
            }
        }
    };
    // What is left then is dropped, and its hosts with it.
    let _ = timeout(GRACE, rest).await;
}

/// What all connections share.
struct Server {
    endpoint: Arc<Endpoint>,
    http: http1::Builder,
}

impl Server {
    fn new(endpoint: Arc<Endpoint>) -> Self {
        let max_head = endpoint.options.limits.max_header_bytes;
        let mut http = http1::Builder::new();
        // Time limits are those of `Connections::sweep`.
        http.header_read_timeout(None)
            .max_header_size(max_head)
            .max_buf_size(max_head.max(LEAST_BUFFER))
            // Answers are small: one flat buffer is 4 % faster than two pieces.
            .writev(false)
            // A client that shuts its side down after the request still gets its answer.
            .half_close(true);
        Self { endpoint, http }
    }

    /// Serves a new connection, if there is a place for it.
    fn admit(
        self: &Arc<Self>,
        connections: &Arc<Connections>,
        tasks: &mut JoinSet<()>,
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<&TlsAcceptor>,
    ) {
        let peer = peer.ip().to_canonical();
        let source = (!self.endpoint.trust.trusts(peer)).then(|| peer.into());
        if let Some(place) = connections.admit(source) {
            let tls = tls.cloned();
            tasks.spawn(self.clone().connection(stream, peer, tls, place));
        }
    }

    async fn connection(
        self: Arc<Self>,
        mut stream: TcpStream,
        peer: IpAddr,
        tls: Option<TlsAcceptor>,
        place: Place,
    ) {
        // An answer is one small segment: nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        let mut client = Client::Direct { peer };
        let mut place = place;
        if self.endpoint.options.proxy_protocol && self.endpoint.trust.trusts(peer) {
            let announced = Box::pin(self.announced(&mut stream, peer, place));
            match announced.await {
                Some(announced) => (client, place) = announced,
                None => return,
            }
        }
        if let Some(tls) = tls {
            return Box::pin(self.encrypted(stream, tls, client, place)).await;
        }
        let octets = match place.unless_over(read_first_head(&mut stream)).await {
            Some(Ok(octets)) if !octets.is_empty() => octets,
            _ => return,
        };
        if place.activate() {
            let http = Box::pin(self.http(Begun { octets, stream }, client, place));
            http.await;
        } else {
            let _ = stream.try_write(OVERLOADED);
        }
    }

    /// Up to the first request, a handshake is to the limits what the head of a request is: it is in
    /// the same time, and takes no buffers before it is one of those that may.
    async fn encrypted(
        &self,
        mut stream: TcpStream,
        tls: TlsAcceptor,
        client: Client,
        place: Place,
    ) {
        let octets = match place.unless_over(read_hello(&mut stream)).await {
            Some(Ok(octets)) if !octets.is_empty() => octets,
            _ => return,
        };
        let metrics = &self.endpoint.metrics;
        if !is_hello(&octets) {
            metrics.count_closed_connection("tls_handshake");
            let _ = stream.try_write(NOT_TLS);
            return;
        }
        let source = place.connection().source;
        if source.is_some_and(|source| !self.endpoint.budgets.may_verify(source)) {
            metrics.count_closed_connection("tls_rate");
            return;
        }
        if !place.activate() {
            return;
        }
        let handshake = tls.accept(Begun { octets, stream });
        match place.unless_over(handshake).await {
            Some(Ok(stream)) => self.http(stream, client, place).await,
            Some(Err(error)) => {
                tracing::debug!(?client, %error, "no TLS handshake");
                metrics.count_closed_connection("tls_handshake");
            }
            None => {}
        }
    }

    /// Reads whose connection it is, by the PROXY protocol.
    async fn announced(
        &self,
        stream: &mut TcpStream,
        peer: IpAddr,
        place: Place,
    ) -> Option<(Client, Place)> {
        let source = match place.unless_over(read_header(stream)).await? {
            Ok(source) => source.map(|source| source.ip().to_canonical()),
            Err(error) => {
                tracing::debug!(%peer, %error, "connection closed");
                let metrics = &self.endpoint.metrics;
                metrics.count_closed_connection("proxy_header");
                return None;
            }
        };
        let place = match source {
            Some(source) if !self.endpoint.trust.trusts(source) => place.move_to(source.into())?,
            Some(_) | None => place,
        };
        Some((Client::Announced { peer, source }, place))
    }

    async fn http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        client: Client,
        place: Place,
    ) {
        let connection = place.connection();
        let stream = Watched {
            stream,
            connection: connection.clone(),
            line: RequestLine::first(),
        };
        let service = service_fn(|request| self.answer(request, client, connection));
        let http = self.http.serve_connection(TokioIo::new(stream), service);
        let mut http = pin!(http);
        let mut is_finishing = false;
        // An error is the client's business: a bad request was answered by hyper, a broken connection
        // cannot be.
        let end = poll_fn(|context| {
            match place.order(context) {
                Order::End => return Poll::Ready(()),
                Order::Finish if !is_finishing => {
                    is_finishing = true;
                    http.as_mut().graceful_shutdown();
                }
                Order::Finish | Order::GoOn => {}
            }
            http.as_mut().poll(context).map(drop)
        });
        end.await;
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        client: Client,
        connection: &Connection,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        if !connection.begin() {
            // The connection ends with its task's next step.
            return pending().await;
        }
        let is_http_1_0 = request.version() == Version::HTTP_10;
        let mut response = handle(&self.endpoint, client, request).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            connection.hold_back();
            sleep(HOLD_BACK).await;
        }
        if is_http_1_0 {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        connection.answered();
        Ok(response)
    }
}
