//! What clients send, octet by octet, and what they must be answered.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

/// A request and its only right answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exchange {
    pub request: String,
    pub status: u16,
    pub body: String,
}

impl Exchange {
    pub fn expects(&self, status: u16, body: &[u8]) -> bool {
        self.status == status && self.body.as_bytes() == body
    }
}

/// A GET of dyndns2; `headers` are further lines, each with its line end.
pub fn dyndns2(hostname: &str, token: &str, address: &str, headers: &str) -> String {
    let credentials = BASE64_STANDARD.encode(format!("router:{token}"));
    format!(
        "GET /nic/update?hostname={hostname}&myip={address} HTTP/1.1\r\nHost: dyn.example.org\r\n\
         Authorization: Basic {credentials}\r\nUser-Agent: ddclient/3.10.0\r\n{headers}\r\n"
    )
}

/// Asks for the client's address.
pub fn own_address(headers: &str) -> String {
    format!(
        "GET /ip HTTP/1.1\r\nHost: dyn.example.org\r\nUser-Agent: ddclient/3.10.0\r\n{headers}\r\n"
    )
}

pub fn post(path: &str, content_type: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: dyn.example.org\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
