//! One HTTP request: from its octets to an answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use super::answer::Answer;
use super::check_in::{Caller, authenticate};
use super::{Endpoint, checkip, whoami};
use crate::request_id::RequestId;
use crate::update::client_address::{Connection, Explanation, Origin};
use crate::update::protocol::route::{Route, with_one_slash};
use crate::update::protocol::{Dialect, Input, Proof, deciding, dyndns2};

/// A request is answered within this time: inadyn waits 10 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(9);

/// The methods of pages that only tell something.
const READ_ONLY: &str = "GET, HEAD";

/// Answers one request that came over `connection`.
pub(super) async fn handle(
    endpoint: &Arc<Endpoint>,
    connection: Connection,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let deadline = Instant::now() + ANSWER_LIMIT;
    let id = endpoint.request_ids.next();
    let (head, body) = request.into_parts();
    let lines = head.headers.get_all(endpoint.trust.header.name()).iter();
    let lines = lines.map(HeaderValue::as_bytes);
    let origin = endpoint.trust.origin(connection, lines);
    let answer = match read(body, endpoint.options.limits.max_body_bytes, deadline).await {
        Ok(body) => {
            endpoint
                .answer(&head, &body, connection, origin, (deadline, id))
                .await
        }
        Err(refusal) => refusal,
    };
    // What is refused before anybody is asked who he is costs the source a little of its budget.
    let is_refusal = matches!(answer.status(), 405 | 408 | 413 | 415);
    let answer = match is_refusal && endpoint.is_too_much(&head, origin) {
        true => Answer::too_many(),
        false => answer,
    };
    answer.for_request(id)
}

impl Endpoint {
    async fn answer(
        &self,
        head: &Parts,
        body: &[u8],
        connection: Connection,
        origin: Origin,
        (deadline, request): (Instant, RequestId),
    ) -> Answer {
        let content = Content::of(&head.headers);
        let form = if content == Content::Form { body } else { b"" };
        let input = Input {
            form,
            body,
            ..self.input(head)
        };
        let route = Route::of(input.path, input.query, form, content == Content::Json);
        let is_reading = matches!(head.method, Method::GET | Method::HEAD);
        match route {
            Route::Update(dialect) => {
                let allowed = dialect.methods();
                if !allowed.split(", ").any(|method| head.method == method) {
                    return Answer::method_not_allowed(allowed);
                }
                if dialect.takes_forms_only() && content != Content::Form && !body.is_empty() {
                    return Answer::text(415, "the body is not a form\n");
                }
                if head.method == Method::HEAD {
                    return probe(dialect, &input);
                }
                let caller = Caller {
                    dialect,
                    address: origin.address(),
                    deadline,
                    request,
                };
                self.update(&input, caller, origin).await
            }
            _ if !is_reading => Answer::method_not_allowed(READ_ONLY),
            Route::WhoAmI => {
                let lines = head.headers.get_all(self.trust.header.name()).iter();
                let explanation = self
                    .trust
                    .explain(connection, lines.map(HeaderValue::as_bytes));
                self.who_am_i(&input, &explanation)
            }
            Route::CheckIpPage | Route::BareIp | Route::OwnAddress => {
                if self.is_too_much(head, origin) {
                    return Answer::too_many();
                }
                checkip::answer(route, origin.address())
            }
        }
    }

    /// What a dialect may read of a request without its body.
    fn input<'a>(&self, head: &'a Parts) -> Input<'a> {
        let path = head.uri.path();
        let target = head.uri.path_and_query();
        let header = |name| head.headers.get(name).map(HeaderValue::as_bytes);
        Input {
            target: target.map_or(path, |target| target.as_str()),
            path: with_one_slash(path),
            query: head.uri.query().unwrap_or_default().as_bytes(),
            authorization: header(AUTHORIZATION),
            user_agent: header(USER_AGENT),
            max_names: self.options.limits.max_hosts,
            ..Input::default()
        }
    }

    /// Whether a request that no key was asked for is beyond the budget of its source. One that
    /// has a valid key all the same is not: its sender shall hear what is wrong.
    fn is_too_much(&self, head: &Parts, origin: Origin) -> bool {
        if self.budgets.may_fail(origin.source()) {
            return false;
        }
        let input = self.input(head);
        let dialect = match Route::of(input.path, input.query, input.form, false) {
            Route::Update(dialect) if dialect.takes_forms_only() => dialect,
            _ => Dialect::Dyndns2,
        };
        let proof = dialect.parse(&input).proof;
        let is_key = matches!(proof, Proof::Token(_));
        !is_key || authenticate(&self.index, &proof, origin.address()).is_err()
    }

    async fn update(&self, input: &Input<'_>, caller: Caller, origin: Origin) -> Answer {
        let dialect = caller.dialect;
        let is_signed = matches!(
            dialect,
            Dialect::Envelope | Dialect::Signed | Dialect::Sha1Script
        );
        if is_signed && !self.budgets.may_verify(origin.source()) {
            self.metrics.count_request(dialect.name(), "limited");
            return Answer::too_many();
        }
        let outcomes = self.check_in(dialect.parse(input), caller).await;
        let is_wrong = outcomes
            .iter()
            .any(|outcome| outcome.is_failed_authentication());
        for outcome in &outcomes {
            if outcome.is_failed_authentication() {
                let (protocol, reason) = (dialect.name(), outcome.label());
                self.metrics.count_authentication_failure(protocol, reason);
            }
        }
        if is_wrong && !self.budgets.may_fail(origin.source()) {
            self.metrics.count_request(dialect.name(), "limited");
            return Answer::too_many();
        }
        let result = deciding(&outcomes).label();
        self.metrics.count_request(dialect.name(), result);
        let mut reply = dialect.render(input, &outcomes);
        let is_refusal = matches!(reply.status, 400 | 403 | 404);
        if self.options.legacy_status_200 && dialect == Dialect::Dyndns2 && is_refusal {
            reply.status = 200;
        }
        Answer::text(reply.status, reply.body)
    }

    fn who_am_i(&self, input: &Input<'_>, explanation: &Explanation) -> Answer {
        match whoami::answer(self, input, explanation) {
            Ok(answer) => answer,
            Err(outcome)
                if outcome.is_failed_authentication()
                    && !self.budgets.may_fail(explanation.origin.source()) =>
            {
                Answer::too_many()
            }
            Err(outcome) => {
                let reply = dyndns2::render(&[outcome]);
                Answer::text(reply.status, reply.body)
            }
        }
    }
}

/// HEAD never changes anything; old uclient-fetch asks so whether credentials are needed.
fn probe(dialect: Dialect, input: &Input<'_>) -> Answer {
    match dialect.parse(input).proof {
        Proof::Missing => Answer::text(401, "badauth"),
        _ => Answer::text(200, ""),
    }
}

/// What a body is, by its `Content-Type`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    /// `application/x-www-form-urlencoded`
    Form,
    /// `application/json`
    Json,
    Other,
}

impl Content {
    fn of(headers: &HeaderMap) -> Self {
        let content_type = headers.get(CONTENT_TYPE);
        let media_type = content_type.and_then(|value| value.to_str().ok()?.split(';').next());
        let is = |name| media_type.is_some_and(|media| media.trim().eq_ignore_ascii_case(name));
        if is("application/x-www-form-urlencoded") {
            Self::Form
        } else if is("application/json") {
            Self::Json
        } else {
            Self::Other
        }
    }
}

async fn read(body: Incoming, most: usize, deadline: Instant) -> Result<Bytes, Answer> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match timeout_at(deadline, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Answer::text(413, "the body is too large\n"))
        }
        Ok(Err(_)) => Err(Answer::text(400, "the body ended early\n")),
        Err(_) => Err(Answer::text(408, "the body took too long\n")),
    }
}
