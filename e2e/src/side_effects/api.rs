//! The proxy before the API server: plain HTTP/1.1 to the operator, HTTPS with its credentials
//! behind.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header, request::Parts};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use tokio::{net::TcpStream, sync::mpsc};

use super::{Shared, watches::tell};

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Serves a connection of the operator's `life`.
pub(super) async fn serve(stream: TcpStream, client: Client, shared: Arc<Shared>, life: usize) {
    let service = service_fn(|request| {
        let proxy = Proxy {
            client: client.clone(),
            shared: shared.clone(),
            life,
        };
        async move { proxy.answer(request).await }
    });
    // An error is a connection that has ended.
    let _ended = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

struct Proxy {
    client: Client,
    shared: Arc<Shared>,
    life: usize,
}

impl Proxy {
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, hyper::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let target = Target::of(&parts.uri);
        let label = target.label(&parts);
        let retired = |namespace| self.shared.retired().namespaces.contains(namespace);
        let is_retired = target.namespace.as_ref().is_some_and(retired);
        let admission = match label.filter(|_| !is_retired) {
            Some(label) => match self.shared.admit(self.life, &label) {
                Some(admission) => Some(admission),
                None => return never().await,
            },
            None => None,
        };
        if !self.shared.lives(self.life) && admission.is_none() {
            return never().await;
        }
        let answer = match target.is_watch {
            true => self.watch(parts, &target.resource).await,
            false => self.pass(parts, body).await,
        };
        let may_know = match admission {
            Some(admission) => self.shared.answered(self.life, admission),
            None => self.shared.lives(self.life),
        };
        match may_know {
            true => Ok(answer.unwrap_or_else(|error| bad_gateway(&error))),
            false => never().await,
        }
    }

    async fn pass(&self, parts: Parts, body: Bytes) -> kube::Result<Answer> {
        let reply = self.client.send(forwarded(parts, body.into())).await?;
        let (parts, body) = reply.into_parts();
        let body = body.collect_bytes().await?;
        Ok(answer(parts.status, &parts.headers, Full::new(body)))
    }

    /// Passes a watch on, event by event, as far as it may tell them.
    async fn watch(&self, mut parts: Parts, resource: &str) -> kube::Result<Answer> {
        let watches = &self.shared.watches;
        let past = watches.open(resource, &mut parts.uri).await;
        let mut gate = watches.gate(resource);
        let reply = self.client.send(forwarded(parts, Body::empty())).await?;
        let (parts, body) = reply.into_parts();
        if parts.status != StatusCode::OK {
            let body = body.collect_bytes().await?;
            return Ok(answer(parts.status, &parts.headers, Full::new(body)));
        }
        let (told, heard) = mpsc::channel(64);
        tokio::spawn(async move {
            // An error is an operator that has gone away.
            let _ended = tell(past, lines(body), &mut gate, &told).await;
        });
        let frames = stream::unfold(heard, async |mut heard| {
            let line: Bytes = heard.recv().await?;
            Some((Ok(Frame::data(line)), heard))
        });
        Ok(answer(
            parts.status,
            &parts.headers,
            StreamBody::new(frames),
        ))
    }
}

/// What a request is about.
struct Target {
    namespace: Option<String>,
    /// Plural, such as `dynamichosts`; empty where it is about no resource.
    resource: String,
    subresource: Option<String>,
    is_watch: bool,
}

impl Target {
    /// From `/api/v1/…` or `/apis/<group>/<version>/…`.
    fn of(uri: &Uri) -> Self {
        let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let below = match path.as_slice() {
            ["api", _, below @ ..] | ["apis", _, _, below @ ..] => below,
            _ => &[],
        };
        let (namespace, below) = match below {
            ["namespaces", namespace, below @ ..] if !below.is_empty() => {
                (Some((*namespace).to_owned()), below)
            }
            below => (None, below),
        };
        Self {
            namespace,
            resource: below.first().copied().unwrap_or_default().to_owned(),
            subresource: below.get(2).map(|name| (*name).to_owned()),
            is_watch: parameter(uri, "watch").is_some_and(|value| value == "true"),
        }
    }

    /// What a write is called; `None` for what changes nothing that anything is derived from:
    /// reads, Events, and the Lease that is renewed for ever.
    fn label(&self, parts: &Parts) -> Option<String> {
        let is_read = matches!(parts.method, Method::GET | Method::HEAD);
        if is_read || matches!(self.resource.as_str(), "events" | "leases") {
            return None;
        }
        let mut label = format!("{} {}", parts.method, self.resource);
        if let Some(subresource) = &self.subresource {
            label += &format!("/{subresource}");
        }
        if let Some(manager) = parameter(&parts.uri, "fieldManager") {
            label += &format!(" by {manager}");
        }
        Some(label)
    }
}

/// The (unescaped) value of a parameter of the query.
pub(super) fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// A dead operator's request stays unanswered, until the process is gone.
async fn never<T>() -> T {
    std::future::pending().await
}

fn forwarded(parts: Parts, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = parts.uri;
    for name in [header::ACCEPT, header::CONTENT_TYPE, header::USER_AGENT] {
        if let Some(value) = parts.headers.get(&name) {
            request.headers_mut().insert(name, value.clone());
        }
    }
    request
}

fn answer<B>(status: StatusCode, headers: &HeaderMap, body: B) -> Answer
where
    B: hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    for name in [header::CONTENT_TYPE, header::RETRY_AFTER] {
        if let Some(value) = headers.get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

fn bad_gateway(error: &kube::Error) -> Answer {
    let text = format!("no answer from the API server: {error}");
    let body = Full::new(Bytes::from(text));
    answer(StatusCode::BAD_GATEWAY, &HeaderMap::new(), body)
}

/// The lines of a body, each with its end, up to where it breaks off.
fn lines(body: Body) -> impl Stream<Item = Bytes> + Send + Unpin {
    let data = body.into_data_stream().map_err(|_| ());
    let lines = stream::unfold((data, Vec::new()), async |(mut data, mut kept)| {
        loop {
            if let Some(end) = kept.iter().position(|octet| *octet == b'\n') {
                let rest = kept.split_off(end + 1);
                return Some((Bytes::from(kept), (data, rest)));
            }
            let more: Bytes = data.next().await?.ok()?;
            kept.extend_from_slice(&more);
        }
    });
    Box::pin(lines)
}
