//! What became of a request, or of one host of it.

use super::protocol::ParseError;

/// Every dialect has its own words for these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stored; with the addresses as the client spelled them.
    Good(String),
    /// As stored before; with the addresses as the client spelled them.
    NoChange(String),
    /// The credentials are missing, malformed, or authenticate nothing.
    BadAuth,
    /// No such host, or not one of this update key.
    NoHost,
    /// No name where one is needed, or what was given is none.
    NotFqdn,
    TooManyNames,
    /// A declared address is malformed, or its kind is not published.
    BadAddress,
    /// A parameter is not UTF-8.
    NotText,
    /// The host's owner has suspended it.
    Suspended,
    /// No address is declared, and the connection's cannot be published.
    NoUsableAddress,
    /// Unknown or not possible now: ask again.
    Unavailable,
}

impl Outcome {
    /// The HTTP status: exactly 200 for success (inadyn refuses 202 and 204), never 2xx else
    /// (OPNsense takes any 2xx for success), and 503 for what may go better later (the only status
    /// after which inadyn goes on).
    pub fn status(&self) -> u16 {
        match self {
            Self::Good(_) | Self::NoChange(_) => 200,
            Self::NotFqdn | Self::TooManyNames | Self::BadAddress | Self::NotText => 400,
            Self::BadAuth => 401,
            Self::Suspended => 403,
            Self::NoHost => 404,
            Self::NoUsableAddress | Self::Unavailable => 503,
        }
    }

    /// The name in metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Good(_) => "good",
            Self::NoChange(_) => "nochg",
            Self::BadAuth => "badauth",
            Self::NoHost => "nohost",
            Self::NotFqdn => "notfqdn",
            Self::TooManyNames => "numhost",
            Self::BadAddress => "badip",
            Self::NotText => "badparam",
            Self::Suspended => "abuse",
            Self::NoUsableAddress => "noaddress",
            Self::Unavailable => "unavailable",
        }
    }
}

impl From<ParseError> for Outcome {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::NotText => Self::NotText,
            ParseError::TooManyNames => Self::TooManyNames,
            ParseError::BadAddress => Self::BadAddress,
        }
    }
}
