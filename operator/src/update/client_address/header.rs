//! The one header that trusted proxies write a client's address into.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;
use http::header::FORWARDED;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_NAME: HeaderName = FORWARDED;

/// The header that the walk reads, and no other: what two headers say need not agree, and a proxy
/// that writes the one passes the other on as the client sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AddressHeader {
    /// `X-Forwarded-For`: addresses with commas between them, each proxy's at the end.
    #[default]
    XForwardedFor,
    /// `Forwarded`, RFC 7239: elements with commas between them, each proxy's at the end.
    Forwarded,
    /// A header with one address that the last proxy sets: `X-Real-IP`, `CF-Connecting-IP`,
    /// `X-Envoy-External-Address`, …
    Named(HeaderName),
}

/// Not a field name of RFC 9110, section 5.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a header")]
pub struct AddressHeaderError;

impl AddressHeader {
    /// The name that the header's lines are found by.
    pub fn name(&self) -> &HeaderName {
        match self {
            Self::XForwardedFor => &X_FORWARDED_FOR,
            Self::Forwarded => &FORWARDED_NAME,
            Self::Named(name) => name,
        }
    }
}

impl FromStr for AddressHeader {
    type Err = AddressHeaderError;

    /// Reads a name, in whatever case.
    fn from_str(text: &str) -> Result<Self, AddressHeaderError> {
        let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| AddressHeaderError)?;
        Ok(if name == X_FORWARDED_FOR {
            Self::XForwardedFor
        } else if name == FORWARDED_NAME {
            Self::Forwarded
        } else {
            Self::Named(name)
        })
    }
}

/// The name in lower case.
impl fmt::Display for AddressHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_known_by_its_name_in_any_case() {
        fn check(text: &str, expected: &AddressHeader) {
            assert_eq!(text.parse().as_ref(), Ok(expected), "{text}");
            assert_eq!(expected.to_string().parse().as_ref(), Ok(expected));
        }
        check("X-Forwarded-For", &AddressHeader::XForwardedFor);
        check("x-forwarded-for", &AddressHeader::XForwardedFor);
        check("Forwarded", &AddressHeader::Forwarded);
        check("FORWARDED", &AddressHeader::Forwarded);
        for name in ["X-Real-IP", "CF-Connecting-IP", "X-Envoy-External-Address"] {
            let named = AddressHeader::Named(name.parse().unwrap());
            check(name, &named);
            check(&name.to_lowercase(), &named);
        }
        for text in ["", "X Real IP", "X-Real-IP:", "Überschrift", "a,b"] {
            let found = text.parse::<AddressHeader>();
            assert_eq!(found, Err(AddressHeaderError), "{text}");
        }
    }
}
