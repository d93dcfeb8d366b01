//! From a request's octets to what is asked: one file for each dialect, and what they share.

pub mod address;
pub mod credentials;
pub mod dyndns2;
pub mod parameters;

use crate::name::{Fqdn, NameError};
use address::Declared;
use credentials::Credentials;

/// The most host names in one request (the Dyn specification's limit).
pub const MAX_NAMES: usize = 20;

/// The longest client name kept, in characters: the schema's bound.
const MAX_CLIENT: usize = 64;

/// The parts of an HTTP request that a dialect may read.
#[derive(Clone, Copy, Default)]
pub struct Input<'a> {
    /// The query, undecoded, without the first question mark.
    pub query: &'a [u8],
    /// The body, where it is a form (`application/x-www-form-urlencoded`).
    pub form: &'a [u8],
    /// The value of the header `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// The value of the header `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
}

/// One HTTP request of a client.
///
/// Credentials are judged first: a stranger learns nothing about the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckIn {
    /// `None`: missing or malformed.
    pub credentials: Option<Credentials>,
    pub report: Result<Report, ParseError>,
    /// The client's own name for itself: at most 64 printable ASCII characters.
    pub client: Option<String>,
}

/// What a client reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The names in request order, at most [`MAX_NAMES`]; empty where none was given.
    pub names: Vec<Result<Fqdn, NameError>>,
    pub declared: Declared,
}

/// Why a request cannot be understood, whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A parameter is not UTF-8.
    #[error("a parameter is not UTF-8")]
    NotText,
    /// More than [`MAX_NAMES`] names.
    #[error("more than {MAX_NAMES} names")]
    TooManyNames,
    /// An address parameter holds something else than addresses of its family, or two of one family.
    #[error("not one address of each family")]
    BadAddress,
}

/// The client's name, from its `User-Agent`.
fn client_name(user_agent: &[u8]) -> Option<String> {
    let printable = user_agent
        .iter()
        .filter(|octet| (b' '..=b'~').contains(octet))
        .take(MAX_CLIENT);
    let name: String = printable.map(|octet| char::from(*octet)).collect();
    (!name.trim().is_empty()).then(|| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_name_is_short_and_printable() {
        fn check(user_agent: &[u8], expected: Option<&str>) {
            assert_eq!(client_name(user_agent).as_deref(), expected);
        }
        check(b"ddclient/3.10.0", Some("ddclient/3.10.0"));
        check(b"", None);
        check(b" \t ", None);
        check(b"\x1b[31mred\xff\xfe", Some("[31mred"));
        check(&[b'x'; 65], Some(&"x".repeat(64)));
    }
}
