//! `/nic/update` and `/v3/update`.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, Method};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::{Instant, timeout_at};

use super::answer::Answer;
use super::check_in::Caller;
use super::{Endpoint, Peer};
use crate::update::protocol::{Input, dyndns2};

/// A request is answered within this time: inadyn waits 10 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(9);

/// The longest form body in octets.
const MAX_BODY: usize = 16 * 1024;

pub(super) async fn update(
    State(endpoint): State<Arc<Endpoint>>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Answer {
    let (head, body) = request.into_parts();
    match head.method {
        Method::GET | Method::POST => {}
        Method::HEAD => return probe(&head.headers),
        _ => return Answer::method_not_allowed("GET, HEAD, POST"),
    }
    let deadline = Instant::now() + ANSWER_LIMIT;
    let form = match timeout_at(deadline, read_form(&head.headers, body)).await {
        Ok(Ok(form)) => form,
        Ok(Err(answer)) => return answer,
        Err(_) => return Answer::text(408, "the body took too long\n"),
    };
    let header = |name| head.headers.get(name).map(HeaderValue::as_bytes);
    let check_in = dyndns2::parse(&Input {
        query: head.uri.query().unwrap_or_default().as_bytes(),
        form: &form,
        authorization: header(AUTHORIZATION),
        user_agent: header(USER_AGENT),
    });
    let caller = Caller {
        protocol: dyndns2::PROTOCOL,
        address: peer.ip().to_canonical(),
        deadline,
    };
    let outcomes = endpoint.check_in(check_in, caller).await;
    let result = dyndns2::deciding(&outcomes).label();
    endpoint.metrics.count_request(dyndns2::PROTOCOL, result);
    let (status, body) = dyndns2::render(&outcomes);
    Answer::text(status, body)
}

/// HEAD never changes anything; old uclient-fetch asks so whether credentials are needed.
fn probe(headers: &HeaderMap) -> Answer {
    if headers.contains_key(AUTHORIZATION) {
        Answer::text(200, "")
    } else {
        Answer::text(401, "badauth")
    }
}

/// The body where it is a form; any other body is refused rather than overlooked.
async fn read_form(headers: &HeaderMap, body: Body) -> Result<Bytes, Answer> {
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(Answer::text(413, "the body is too large\n"));
        }
        Err(_) => return Err(Answer::text(400, "the body ended early\n")),
    };
    let content_type = headers.get(CONTENT_TYPE);
    let media_type = content_type.and_then(|value| value.to_str().ok()?.split(';').next());
    let is_form = media_type.is_some_and(|media_type| {
        let form = "application/x-www-form-urlencoded";
        media_type.trim().eq_ignore_ascii_case(form)
    });
    if is_form || body.is_empty() {
        Ok(body)
    } else {
        Err(Answer::text(415, "the body is not a form\n"))
    }
}
