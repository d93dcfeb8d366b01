//! From a request's octets to what is asked, and from what became of it to an answer: one file for
//! each dialect, and what they share.
//!
//! ```text
//! route         path           -> Dialect
//! <dialect>     Input          -> CheckIn       parse
//!               [Outcome]      -> Reply         render
//! grammar       what dyndns2, DuckDNS, dynv6 and afraid have in common
//! ```

pub mod address;
pub mod afraid;
mod canonical;
pub mod credentials;
pub mod duckdns;
pub mod dyndns2;
pub mod dynv6;
pub mod envelope;
pub mod grammar;
pub mod netstring;
pub mod parameters;
pub mod route;
pub mod sftdyn;
pub mod sha1_script;
pub mod signed;

use super::outcome::Outcome;
use super::proof::{Sha1Proof, SignedMessage};
use crate::name::{Fqdn, NameError};
use address::Declared;
use credentials::Credentials;

/// The most host names in one request (the Dyn specification's limit).
pub const MAX_NAMES: usize = 20;

/// The longest client name kept, in characters: the schema's bound.
const MAX_CLIENT: usize = 64;

/// How a client speaks, and how it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Dyndns2,
    DuckDns,
    Dynv6,
    Afraid,
    Sftdyn,
    Sha1Script,
    Envelope,
    Signed,
}

/// An answer in a dialect's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    pub body: String,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 8] = [
        Self::Dyndns2,
        Self::DuckDns,
        Self::Dynv6,
        Self::Afraid,
        Self::Sftdyn,
        Self::Sha1Script,
        Self::Envelope,
        Self::Signed,
    ];

    /// The name in status, metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dyndns2 => "dyndns2",
            Self::DuckDns => "duckdns",
            Self::Dynv6 => "dynv6",
            Self::Afraid => "afraid",
            Self::Sftdyn => "sftdyn",
            Self::Sha1Script => "sha1-script",
            Self::Envelope => "envelope",
            Self::Signed => "signed",
        }
    }

    /// The methods that it takes, as the header `Allow` lists them. HEAD never changes anything.
    pub fn methods(self) -> &'static str {
        match self {
            Self::Dyndns2 | Self::DuckDns | Self::Dynv6 | Self::Afraid => "GET, HEAD, POST",
            Self::Sha1Script => "GET, HEAD",
            // A path that means nothing is no key that HEAD could confirm.
            Self::Sftdyn => "GET",
            Self::Envelope | Self::Signed => "POST",
        }
    }

    /// Whether a body has to be a form.
    pub fn takes_forms_only(self) -> bool {
        !matches!(self, Self::Envelope | Self::Signed)
    }

    /// Reads a request; what cannot be understood is in the result.
    pub fn parse(self, input: &Input<'_>) -> CheckIn {
        match self {
            Self::Dyndns2 => dyndns2::parse(input),
            Self::DuckDns => duckdns::parse(input),
            Self::Dynv6 => dynv6::parse(input),
            Self::Afraid => afraid::parse(input),
            Self::Sftdyn => sftdyn::parse(input),
            Self::Sha1Script => sha1_script::parse(input),
            Self::Envelope => envelope::parse(input),
            Self::Signed => signed::parse(input),
        }
    }

    /// The answer for these outcomes: one where the request was refused as a whole, else one for
    /// each name in request order.
    pub fn render(self, input: &Input<'_>, outcomes: &[Outcome]) -> Reply {
        match self {
            // The client of the envelope takes status 200 for success and reads no body; people do.
            Self::Dyndns2 | Self::Sha1Script | Self::Envelope | Self::Signed => {
                dyndns2::render(outcomes)
            }
            Self::DuckDns => duckdns::render(duckdns::is_verbose(input), outcomes),
            Self::Dynv6 => dynv6::render(outcomes),
            Self::Afraid => afraid::render(outcomes),
            Self::Sftdyn => sftdyn::render(outcomes),
        }
    }
}

/// The parts of an HTTP request that a dialect may read.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// Path and query as they were sent.
    pub target: &'a str,
    /// The path, undecoded, with its leading slash.
    pub path: &'a str,
    /// The query, undecoded, without the first question mark.
    pub query: &'a [u8],
    /// The body, where it is a form (`application/x-www-form-urlencoded`).
    pub form: &'a [u8],
    /// The body, where it is none.
    pub body: &'a [u8],
    /// The value of the header `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// The value of the header `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
    /// The most names taken, [`MAX_NAMES`] unless the operator is told otherwise.
    pub max_names: usize,
}

impl Default for Input<'_> {
    fn default() -> Self {
        Self {
            target: "/",
            path: "/",
            query: b"",
            form: b"",
            body: b"",
            authorization: None,
            user_agent: None,
            max_names: MAX_NAMES,
        }
    }
}

/// One HTTP request of a client.
///
/// The proof is judged first: a stranger learns nothing about the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckIn {
    pub proof: Proof,
    pub report: Result<Report, ParseError>,
    /// The client's own name for itself: at most 64 printable ASCII characters.
    pub client: Option<String>,
}

impl CheckIn {
    /// A signed request: the message and what it reports; `None` where it cannot be read.
    fn of_signed(
        input: &Input<'_>,
        read: Option<(SignedMessage, Result<Report, ParseError>)>,
    ) -> Self {
        let (proof, report) = match read {
            Some((message, report)) => (Proof::Signature(message), report),
            None => (Proof::Missing, Err(ParseError::NotText)),
        };
        Self {
            proof,
            report,
            client: client_name(input.user_agent, None),
        }
    }
}

/// How a client shows that it may update a host.
#[derive(Clone, Debug, PartialEq)]
pub enum Proof {
    /// Not at all, or not in a way that can be read.
    Missing,
    /// By an update key.
    Token(Credentials),
    /// By an Ed25519 signature.
    Signature(SignedMessage),
    /// By the hash of the script of 2012.
    Sha1(Sha1Proof),
}

/// What a client reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    pub names: Names,
    /// For every name but those that `own` has.
    pub declared: Declared,
    /// Addresses for single names (deSEC's `myipv4:<name>`).
    pub own: Vec<(Fqdn, Declared)>,
    /// Addresses shall be withdrawn instead.
    pub clear: Option<Clear>,
}

/// Which hosts a report is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Names {
    /// Those named, in request order.
    Listed(Vec<Asked>),
    /// The first of these user names that is a host of the key, else the key's only host.
    Unnamed(Vec<Fqdn>),
    /// Every host of the key.
    All,
}

impl Default for Names {
    fn default() -> Self {
        Self::Unnamed(Vec::new())
    }
}

/// A name as a client writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A fully qualified one.
    Full(Fqdn),
    /// The first labels of one will do (DuckDNS).
    Leading(Fqdn),
    Bad(NameError),
}

/// Which addresses shall be withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clear {
    /// Everything, whatever is declared beside.
    All,
    /// The families that are declared.
    Declared,
}

/// Why a request cannot be understood, whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A parameter is not UTF-8, or a body is not what the dialect has.
    #[error("not in the form of the dialect")]
    NotText,
    /// More parameters than any client sends.
    #[error("too many parameters")]
    TooManyParameters,
    /// More names than are taken.
    #[error("too many names")]
    TooManyNames,
    /// An address parameter holds something else than addresses of its family, or two of one family.
    #[error("not one address of each family")]
    BadAddress,
    /// Something is asked for that is not to be had (DuckDNS's `txt`).
    #[error("not supported")]
    NotSupported,
}

/// The outcome that decides the status of an answer with several lines: any 503, for then the
/// client has to come again; else a success; else the first.
pub fn deciding(outcomes: &[Outcome]) -> &Outcome {
    let first_of = |status| outcomes.iter().find(|o| o.status() == status);
    first_of(503)
        .or_else(|| first_of(200))
        .or_else(|| outcomes.first())
        .unwrap_or(&Outcome::NotFqdn)
}

/// An answer with a line for each outcome. There is no line end after the last: pfSense compares
/// bodies whole.
fn line_each(outcomes: &[Outcome], line: impl Fn(&Outcome) -> String) -> Reply {
    let lines: Vec<_> = outcomes.iter().map(line).collect();
    Reply {
        status: deciding(outcomes).status(),
        body: lines.join("\n"),
    }
}

/// The outcome that decides where the answer is one word for all names: the first failure, and a
/// 503 before all others.
fn worst(outcomes: &[Outcome]) -> &Outcome {
    let failed = |outcome: &&Outcome| outcome.status() != 200;
    outcomes
        .iter()
        .find(|o| o.status() == 503)
        .or_else(|| outcomes.iter().find(failed))
        .or_else(|| outcomes.first())
        .unwrap_or(&Outcome::NotFqdn)
}

/// The client's name, from its `User-Agent`; `None` where it holds the update key (some clients let
/// it be configured), which shall not get into status.
fn client_name(user_agent: Option<&[u8]>, token: Option<&[u8]>) -> Option<String> {
    let name = printable(user_agent?);
    let token = printable(token.unwrap_or_default());
    if !token.is_empty() && name.contains(&token) {
        return None;
    }
    // All of it is ASCII.
    let name = name[..name.len().min(MAX_CLIENT)].trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// What of these octets is printable ASCII.
pub(super) fn printable(octets: &[u8]) -> String {
    let printable = octets.iter().filter(|octet| (b' '..=b'~').contains(octet));
    printable.map(|octet| char::from(*octet)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_name_is_short_and_printable() {
        fn check(user_agent: &[u8], expected: Option<&str>) {
            let name = client_name(Some(user_agent), Some(b"TheUpdateKey"));
            assert_eq!(name.as_deref(), expected);
        }
        check(b"ddclient/3.10.0", Some("ddclient/3.10.0"));
        check(b"", None);
        check(b" \t ", None);
        check(b"\x1b[31mred\xff\xfe", Some("[31mred"));
        check(&[b'x'; 65], Some(&"x".repeat(64)));
        check(b"my router TheUpdateKey", None);
        // What is left of it without the unprintable octets.
        check(b"my router The\x01Update\xffKey", None);
        assert_eq!(client_name(None, None), None);
    }

    #[test]
    fn dialects_have_names_of_their_own() {
        let names: std::collections::HashSet<_> = Dialect::ALL.map(Dialect::name).into();
        assert_eq!(names.len(), Dialect::ALL.len());
    }
}
