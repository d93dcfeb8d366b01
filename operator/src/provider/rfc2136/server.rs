//! Where a zone's primary server is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::name::Fqdn;

/// The port of RFC 1035 section 4.2.
const DNS_PORT: u16 = 53;

/// A server by name or address, with its TCP port. The name is looked up at every connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    host: String,
    port: u16,
}

/// A text is no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a server is a name or an address, perhaps with a port: ns1.example.org:53, [2001:db8::1]:53"
)]
pub struct InvalidServer;

impl Server {
    fn new(host: String, port: u16) -> Result<Self, InvalidServer> {
        match port {
            0 => Err(InvalidServer),
            port => Ok(Self { host, port }),
        }
    }

    /// Host and port as the resolver takes them.
    pub(super) fn host_and_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

impl FromStr for Server {
    type Err = InvalidServer;

    /// Parses `name`, `name:port`, `192.0.2.1`, `192.0.2.1:port`, `2001:db8::1`, `[2001:db8::1]` or
    /// `[2001:db8::1]:port`; the port defaults to 53.
    fn from_str(text: &str) -> Result<Self, InvalidServer> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Self::new(address.ip().to_string(), address.port());
        }
        let unbracketed = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .filter(|inner| inner.contains(':'));
        if let Ok(address) = unbracketed.unwrap_or(text).parse::<IpAddr>() {
            return Self::new(address.to_string(), DNS_PORT);
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, port.parse().map_err(|_| InvalidServer)?),
            None => (text, DNS_PORT),
        };
        // A Service of the same namespace is a single label.
        let is_name = Fqdn::parse(name).is_ok() || Fqdn::parse(&format!("{name}.local")).is_ok();
        if !is_name {
            return Err(InvalidServer);
        }
        Self::new(name.to_owned(), port)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_parsed_or_refused() {
        fn check(text: &str, expected: Option<&str>) {
            let server = text.parse::<Server>().ok().map(|server| server.to_string());
            assert_eq!(server.as_deref(), expected, "{text:?}");
        }
        check("ns1.example.org", Some("ns1.example.org:53"));
        check("ns1.example.org.:5353", Some("ns1.example.org.:5353"));
        check("bind", Some("bind:53"));
        check("192.0.2.1", Some("192.0.2.1:53"));
        check("192.0.2.1:5353", Some("192.0.2.1:5353"));
        check("2001:db8::1", Some("[2001:db8::1]:53"));
        check("[2001:db8::1]", Some("[2001:db8::1]:53"));
        check("[2001:db8::1]:5353", Some("[2001:db8::1]:5353"));
        check("", None);
        check(":53", None);
        check("ns1.example.org:", None);
        check("ns1.example.org:0", None);
        check("192.0.2.1:0", None);
        check("ns1.example.org:65536", None);
        check("[192.0.2.1]", None);
        check("ns1 .example.org", None);
        check("tcp://ns1.example.org", None);
    }
}
