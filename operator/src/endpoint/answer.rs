//! The one place where answers become HTTP.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;

use crate::request_id::RequestId;

/// What the log calls the request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An answer before it is HTTP. Its body is sent whole, with `Content-Length`: ddclient 3.10 does
/// not decode chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    status: u16,
    content_type: &'static str,
    allow: Option<&'static str>,
    body: String,
}

impl Answer {
    pub(super) fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            allow: None,
            body: body.into(),
        }
    }

    pub(super) fn html(body: String) -> Self {
        Self {
            content_type: "text/html; charset=utf-8",
            ..Self::text(200, body)
        }
    }

    /// For a source that has failed too often.
    pub(super) fn too_many() -> Self {
        Self::text(429, "too many failing requests\n")
    }

    /// The answer to this request, with the name that the log has for it.
    pub(super) fn for_request(self, id: RequestId) -> Response<Full<Bytes>> {
        let mut response = Response::from(self);
        if let Ok(id) = HeaderValue::try_from(id.to_string()) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    #[cfg(test)]
    pub(super) fn as_text(&self) -> (u16, &str) {
        (self.status, &self.body)
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// `allow` lists the methods there are (RFC 9110 section 15.5.6).
    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::text(405, "method not allowed\n")
        }
    }
}

impl From<Answer> for Response<Full<Bytes>> {
    fn from(answer: Answer) -> Self {
        let status = StatusCode::from_u16(answer.status);
        let mut response = Self::new(answer.body.into());
        *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let mut insert = |name, value| headers.insert(name, HeaderValue::from_static(value));
        insert(CONTENT_TYPE, answer.content_type);
        insert(CACHE_CONTROL, "no-store");
        match answer.status {
            // GNU wget, urllib and OpenWrt's uclient-fetch send credentials only when challenged.
            401 => insert(WWW_AUTHENTICATE, "Basic realm=\"dynhost\""),
            429 | 503 => insert(RETRY_AFTER, "60"),
            _ => None,
        };
        if let Some(allow) = answer.allow {
            insert(ALLOW, allow);
        }
        response
    }
}
