//! What became of a request, or of one host of it.

use super::protocol::ParseError;
use crate::name::Fqdn;

/// Every dialect has its own words for these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stored.
    Good(Echo),
    /// As stored before.
    NoChange(Echo),
    /// No credentials, or none that can be read: many clients send them only when challenged.
    NoCredentials,
    /// The credentials authenticate nothing, or nothing that may be updated from there or so.
    BadAuth,
    /// A signed request that is not of this time, or not newer than the last one.
    Replayed,
    /// No such host, or not one of this update key.
    NoHost,
    /// No name where one is needed, or what was given is none.
    NotFqdn,
    TooManyNames,
    /// A declared address is malformed, or its kind is not published, or one would be needed.
    BadAddress,
    /// A parameter is not UTF-8, there are too many, or a body is not what the dialect has.
    NotText,
    /// Something is asked for that is not to be had.
    NotSupported,
    /// The host's owner has suspended it.
    Suspended,
    /// Addresses should be withdrawn, and the host's owner does not let clients do that.
    MayNotClear,
    /// No address is declared, and the connection's cannot be published.
    NoUsableAddress,
    /// The host has changed too often just now.
    TooOften,
    /// Unknown or not possible now: ask again.
    Unavailable,
}

/// What an answer says of a host: the addresses as the client spelled them, since pfSense compares
/// them octet by octet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    pub name: Option<Fqdn>,
    pub ipv4: Option<Box<str>>,
    pub ipv6: Option<Box<str>>,
    pub prefix: Option<Box<str>>,
}

impl Echo {
    /// The addresses, IPv4 first, with a comma between them; the prefix where there is none.
    pub fn spelling(&self) -> String {
        match (&self.ipv4, &self.ipv6) {
            (Some(ipv4), Some(ipv6)) => format!("{ipv4},{ipv6}"),
            (Some(address), None) | (None, Some(address)) => address.to_string(),
            (None, None) => self.prefix.as_deref().unwrap_or_default().to_owned(),
        }
    }

    /// The host's name.
    pub fn name(&self) -> &str {
        self.name.as_ref().map_or("", Fqdn::as_str)
    }
}

impl Outcome {
    /// The HTTP status: exactly 200 for success (inadyn refuses 202 and 204), never 2xx else
    /// (OPNsense takes any 2xx for success), and 503 for what may go better later (the only status
    /// after which inadyn goes on).
    pub fn status(&self) -> u16 {
        match self {
            Self::Good(_) | Self::NoChange(_) => 200,
            Self::NotFqdn
            | Self::TooManyNames
            | Self::BadAddress
            | Self::NotText
            | Self::NotSupported => 400,
            Self::NoCredentials | Self::BadAuth | Self::Replayed => 401,
            Self::Suspended | Self::MayNotClear => 403,
            Self::NoHost => 404,
            Self::NoUsableAddress | Self::TooOften | Self::Unavailable => 503,
        }
    }

    /// The name in metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Good(_) => "good",
            Self::NoChange(_) => "nochg",
            Self::NoCredentials => "nocredentials",
            Self::BadAuth => "badauth",
            Self::Replayed => "replayed",
            Self::NoHost => "nohost",
            Self::NotFqdn => "notfqdn",
            Self::TooManyNames => "numhost",
            Self::BadAddress => "badip",
            Self::NotText => "badparam",
            Self::NotSupported => "notsupported",
            Self::Suspended => "abuse",
            Self::MayNotClear => "maynotclear",
            Self::NoUsableAddress => "noaddress",
            Self::TooOften => "toooften",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether somebody tried credentials that are wrong.
    pub fn is_failed_authentication(&self) -> bool {
        matches!(self, Self::BadAuth | Self::Replayed)
    }
}

impl From<ParseError> for Outcome {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::NotText | ParseError::TooManyParameters => Self::NotText,
            ParseError::TooManyNames => Self::TooManyNames,
            ParseError::BadAddress => Self::BadAddress,
            ParseError::NotSupported => Self::NotSupported,
        }
    }
}

#[cfg(test)]
impl Echo {
    /// For `home.dyn.example.org`.
    pub(super) fn of(ipv4: Option<&str>, ipv6: Option<&str>) -> Self {
        Self {
            name: Fqdn::parse("home.dyn.example.org").ok(),
            ipv4: ipv4.map(Into::into),
            ipv6: ipv6.map(Into::into),
            prefix: None,
        }
    }
}
