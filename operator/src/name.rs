//! Fully qualified domain names as the program uses them.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A fully qualified domain name: lower case, without the trailing dot, every label made of
/// letters, digits and hyphens (RFC 1123 section 2.1), at most 253 octets.
///
/// Cheap to clone. Two spellings of one name are equal because they are parsed into one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fqdn(Arc<str>);

/// Why a text is not an [`Fqdn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or over 253 octets.
    #[error("a name has 1 to 253 octets")]
    Length,
    /// A label is empty, over 63 octets, or has other characters than letters, digits and inner hyphens.
    #[error("a label has 1 to 63 letters, digits and inner hyphens")]
    Label,
}

impl Fqdn {
    /// The longest name in octets, without the trailing dot (RFC 1035 section 2.3.4).
    pub const MAX_OCTETS: usize = 253;

    /// Parses a name in any letter case, with or without the trailing dot.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() || text.len() > Self::MAX_OCTETS {
            return Err(NameError::Length);
        }
        if !text.split('.').all(is_ldh_label) {
            return Err(NameError::Label);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The name without a trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name has one label only, like `localhost`: an apex at most, never a host.
    pub fn is_single_label(&self) -> bool {
        !self.0.contains('.')
    }

    /// Whether the first labels of this name, but not all, are `labels`.
    pub fn begins_with(&self, labels: &Self) -> bool {
        self.0
            .strip_prefix(labels.as_str())
            .is_some_and(|rest| rest.starts_with('.'))
    }

    /// Whether this name lies below `apex`, by whole labels; a name is not below itself.
    pub fn is_below(&self, apex: &Self) -> bool {
        self.0
            .strip_suffix(apex.as_str())
            .is_some_and(|rest| rest.ends_with('.'))
    }
}

fn is_ldh_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A name at which records stand: an [`Fqdn`], or one below an asterisk label (`*.home.example.org`),
/// which stands for every name that is not there (RFC 4592).
///
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordName(Arc<str>);

impl RecordName {
    /// Parses a name in any letter case, with or without the trailing dot; an asterisk may be its
    /// leftmost label.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let Some(base) = text.strip_prefix("*.") else {
            return Ok(Fqdn::parse(text)?.into());
        };
        let base = Fqdn::parse(base)?;
        if base.as_str().len() + 2 > Fqdn::MAX_OCTETS {
            return Err(NameError::Length);
        }
        Ok(Self(format!("*.{base}").into()))
    }

    /// The name without a trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the name, or lies below it by whole labels.
    pub fn is_at_or_below(&self, name: &Fqdn) -> bool {
        self.0
            .strip_suffix(name.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

/// Equal texts are equal names, as both are parsed into one spelling.
impl Borrow<str> for RecordName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<Fqdn> for RecordName {
    fn from(name: Fqdn) -> Self {
        Self(name.0)
    }
}

impl PartialEq<Fqdn> for RecordName {
    fn eq(&self, other: &Fqdn) -> bool {
        self.0 == other.0
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_into_one_spelling_or_refused() {
        fn check(text: &str, expected: Result<&str, NameError>) {
            let parsed = Fqdn::parse(text);
            assert_eq!(
                parsed.as_ref().map(Fqdn::as_str).map_err(|e| *e),
                expected,
                "{text:?}"
            );
        }
        check("Home.Example.ORG.", Ok("home.example.org"));
        check("xn--bcher-kva.example", Ok("xn--bcher-kva.example"));
        check("a.b", Ok("a.b"));
        check("", Err(NameError::Length));
        check(".", Err(NameError::Length));
        check("lan", Ok("lan"));
        check("a..b", Err(NameError::Label));
        check("-a.b", Err(NameError::Label));
        check("a-.b", Err(NameError::Label));
        check("*.b.c", Err(NameError::Label));
        check("a_b.c", Err(NameError::Label));
        check("a\n.c", Err(NameError::Label));
        check(&format!("{}.b", "a".repeat(64)), Err(NameError::Label));
        check(
            &format!("{}.b", vec!["a".repeat(63); 4].join(".")),
            Err(NameError::Length),
        );
    }

    #[test]
    fn below_means_by_whole_labels() {
        fn check(name: &str, apex: &str, expected: bool) {
            let below = Fqdn::parse(name)
                .unwrap()
                .is_below(&Fqdn::parse(apex).unwrap());
            assert_eq!(below, expected, "{name} below {apex}");
        }
        check("home.example.org", "example.org", true);
        check("a.home.example.org", "example.org", true);
        check("example.org", "example.org", false);
        check("fooexample.org", "example.org", false);
        check("example.org", "home.example.org", false);
    }

    #[test]
    fn an_asterisk_may_be_the_leftmost_label_of_a_records_name() {
        fn check(text: &str, expected: Result<&str, NameError>) {
            let parsed = RecordName::parse(text);
            let parsed = parsed.as_ref().map(RecordName::as_str).map_err(|e| *e);
            assert_eq!(parsed, expected, "{text:?}");
        }
        check("WWW.Example.org.", Ok("www.example.org"));
        check("*.Home.example.org", Ok("*.home.example.org"));
        check("*", Err(NameError::Label));
        check("*.", Err(NameError::Length));
        check("a.*.example.org", Err(NameError::Label));
        check("*a.example.org", Err(NameError::Label));
        check("*.*.example.org", Err(NameError::Label));
        let long = vec!["a".repeat(63); 4].join(".");
        check(&format!("*.{}", &long[3..]), Err(NameError::Length));
    }

    #[test]
    fn at_or_below_includes_the_name_itself() {
        fn check(name: &str, expected: bool) {
            let home = Fqdn::parse("home.example.org").unwrap();
            let name = RecordName::parse(name).unwrap();
            assert_eq!(name.is_at_or_below(&home), expected, "{name}");
        }
        check("home.example.org", true);
        check("*.home.example.org", true);
        check("www.home.example.org", true);
        check("otherhome.example.org", false);
        check("*.example.org", false);
    }
}
