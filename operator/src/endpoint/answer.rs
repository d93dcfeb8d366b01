//! The one place where answers become HTTP.

use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

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

    /// `allow` lists the methods there are (RFC 9110 section 15.5.6).
    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::text(405, "method not allowed\n")
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status);
        let mut response = self.body.into_response();
        *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let mut insert = |name, value| headers.insert(name, HeaderValue::from_static(value));
        insert(CONTENT_TYPE, self.content_type);
        insert(CACHE_CONTROL, "no-store");
        match self.status {
            // GNU wget, urllib and OpenWrt's uclient-fetch send credentials only when challenged.
            401 => insert(WWW_AUTHENTICATE, "Basic realm=\"dynhost\""),
            503 => insert(RETRY_AFTER, "60"),
            _ => None,
        };
        if let Some(allow) = self.allow {
            insert(ALLOW, allow);
        }
        response
    }
}
