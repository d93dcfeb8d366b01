//! PURE: the names that a zone's consent speaks of.

use std::fmt;

use crate::name::{Fqdn, NameError};

/// The label that stands for the namespace of the host whose name is looked at.
const NAMESPACE: &str = "{namespace}";

/// A name, or every name below it at any depth, in which the host's namespace may be a label.
#[derive(Clone, PartialEq, Eq)]
pub struct NamePattern {
    /// The rightmost first; at least one.
    labels: Box<[Label]>,
    /// The names below, and not the name itself.
    below: bool,
}

#[derive(Clone, PartialEq, Eq)]
enum Label {
    /// In lower case.
    Literal(Box<str>),
    Namespace,
}

/// Why a text is not a [`NamePattern`] of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error(transparent)]
    Name(#[from] NameError),
    /// No host of the zone could have such a name.
    #[error("it does not lie below the domain")]
    OutsideZone,
}

impl NamePattern {
    /// Parses `home.dyn.example.org`, `*.dyn.example.org` or `*.{namespace}.dyn.example.org`, in any
    /// letter case, for the zone with this apex.
    pub fn parse(text: &str, apex: &Fqdn) -> Result<Self, PatternError> {
        if text.len() > Fqdn::MAX_OCTETS {
            return Err(NameError::Length.into());
        }
        let (base, below) = match text.strip_prefix("*.") {
            Some(base) => (base, true),
            None => (text, false),
        };
        let labels = base.rsplit('.').map(Label::parse);
        let labels = labels.collect::<Result<Box<[_]>, _>>()?;
        let mut own = labels.iter();
        let ends_with_apex = apex
            .as_str()
            .rsplit('.')
            .all(|label| own.next().is_some_and(|own| own.is_literally(label)));
        if !ends_with_apex || own.next().is_none() && !below {
            return Err(PatternError::OutsideZone);
        }
        Ok(Self { labels, below })
    }

    /// Whether a host of `namespace` may have `name`, which is in lower case and without trailing
    /// dot; its leftmost label may be an asterisk.
    pub fn admits(&self, name: &str, namespace: &str) -> bool {
        let mut labels = name.rsplit('.');
        let ends_with_own = self
            .labels
            .iter()
            .all(|own| labels.next().is_some_and(|label| own.is(label, namespace)));
        ends_with_own && labels.next().is_some() == self.below
    }

    /// Whether no two namespaces are admitted with one name.
    pub fn tells_namespaces_apart(&self) -> bool {
        self.labels.contains(&Label::Namespace)
    }
}

impl Label {
    fn parse(text: &str) -> Result<Self, NameError> {
        match text {
            NAMESPACE => Ok(Self::Namespace),
            _ => Ok(Self::Literal(Fqdn::parse(text)?.as_str().into())),
        }
    }

    fn is(&self, label: &str, namespace: &str) -> bool {
        match self {
            Self::Literal(own) => **own == *label,
            Self::Namespace => namespace == label,
        }
    }

    fn is_literally(&self, label: &str) -> bool {
        matches!(self, Self::Literal(own) if **own == *label)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = if self.below { "*." } else { "" };
        for label in self.labels.iter().rev() {
            f.write_str(separator)?;
            f.write_str(match label {
                Label::Literal(text) => text,
                Label::Namespace => NAMESPACE,
            })?;
            separator = ".";
        }
        Ok(())
    }
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<NamePattern, PatternError> {
        NamePattern::parse(text, &Fqdn::parse("dyn.example.org").unwrap())
    }

    #[test]
    fn a_pattern_is_a_name_of_the_zone_or_all_below_one() {
        fn check(text: &str, expected: Result<&str, PatternError>) {
            let parsed = parse(text).map(|pattern| pattern.to_string());
            assert_eq!(parsed.as_deref().map_err(|e| *e), expected, "{text:?}");
        }
        let label = Err(PatternError::Name(NameError::Label));
        let length = Err(PatternError::Name(NameError::Length));
        let outside = Err(PatternError::OutsideZone);
        check("Home.Dyn.Example.ORG", Ok("home.dyn.example.org"));
        check("*.dyn.example.org", Ok("*.dyn.example.org"));
        check(
            "*.{namespace}.dyn.example.org",
            Ok("*.{namespace}.dyn.example.org"),
        );
        check(
            "a.{namespace}.b.{namespace}.dyn.example.org",
            Ok("a.{namespace}.b.{namespace}.dyn.example.org"),
        );
        check("", length);
        check("*", label);
        check("*.", length);
        check("home.dyn.example.org.", length);
        check("home..dyn.example.org", length);
        check("*.*.dyn.example.org", label);
        check("a.*.dyn.example.org", label);
        check("x-{namespace}.dyn.example.org", label);
        check("{Namespace}.dyn.example.org", label);
        check("{name}.dyn.example.org", label);
        check("under_score.dyn.example.org", label);
        check("dyn.example.org", outside);
        check("*.example.org", outside);
        check("home.notdyn.example.org", outside);
        check("{namespace}.example.org", outside);
        check("*.{namespace}.example.org", outside);
        let long = format!("{}dyn.example.org", "a.".repeat(120));
        check(&long, length);
    }

    #[test]
    fn a_name_is_admitted_by_whole_labels() {
        fn check(pattern: &str, namespace: &str, name: &str, expected: bool) {
            let admits = parse(pattern).unwrap().admits(name, namespace);
            assert_eq!(admits, expected, "{pattern} {namespace} {name}");
        }
        let exact = "home.dyn.example.org";
        check(exact, "red", "home.dyn.example.org", true);
        check(exact, "red", "a.home.dyn.example.org", false);
        check(exact, "red", "*.home.dyn.example.org", false);
        check(exact, "red", "ahome.dyn.example.org", false);
        check(exact, "red", "dyn.example.org", false);
        let all = "*.dyn.example.org";
        check(all, "red", "home.dyn.example.org", true);
        check(all, "red", "b.a.dyn.example.org", true);
        check(all, "red", "*.dyn.example.org", true);
        check(all, "red", "dyn.example.org", false);
        check(all, "red", "home.notdyn.example.org", false);
        let own = "*.{namespace}.dyn.example.org";
        check(own, "red", "home.red.dyn.example.org", true);
        check(own, "red", "b.a.red.dyn.example.org", true);
        check(own, "red", "*.red.dyn.example.org", true);
        check(own, "red", "red.dyn.example.org", false);
        check(own, "red", "home.blue.dyn.example.org", false);
        check(own, "red", "red.blue.dyn.example.org", false);
        check(own, "red", "home.xred.dyn.example.org", false);
        check(own, "red", "home.red.example.org", false);
        check(own, "red", "*.blue.dyn.example.org", false);
        // A namespace may be called as one of the zone's labels.
        check(own, "dyn", "home.dyn.example.org", false);
        check(own, "dyn", "home.dyn.dyn.example.org", true);
        let host = "{namespace}.dyn.example.org";
        check(host, "red", "red.dyn.example.org", true);
        check(host, "red", "*.dyn.example.org", false);
        check(host, "blue", "red.dyn.example.org", false);
    }

    fn pattern() -> impl Strategy<Value = String> {
        let label = prop_oneof![Just(NAMESPACE.to_owned()), "[ab]{1,2}"];
        (any::<bool>(), prop::collection::vec(label, 0..4)).prop_map(|(below, labels)| {
            let asterisk = (below || labels.is_empty()).then(|| "*".to_owned());
            let labels = asterisk.into_iter().chain(labels);
            labels
                .chain(["dyn.example.org".to_owned()])
                .collect::<Vec<_>>()
                .join(".")
        })
    }

    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec("[ab]{1,2}", 0..5).prop_map(|mut labels| {
            labels.push("dyn.example.org".to_owned());
            labels.join(".")
        })
    }

    proptest! {
        /// The same, said with the text of the pattern.
        #[test]
        fn a_pattern_admits_what_its_text_says(
            text in pattern(), name in name(), namespace in "[ab]{1,2}",
        ) {
            let pattern = parse(&text).unwrap();
            prop_assert_eq!(&pattern.to_string(), &text);
            let text = text.replace(NAMESPACE, &namespace);
            let expected = match text.strip_prefix('*') {
                Some(base) => name.len() > base.len() && name.ends_with(base),
                None => name == text,
            };
            prop_assert_eq!(pattern.admits(&name, &namespace), expected);
        }

        /// What lets aliases be admitted by such a pattern: nobody else can have the name.
        #[test]
        fn a_pattern_with_the_namespace_tells_namespaces_apart(
            text in pattern(), name in name(), red in "[ab]{1,2}", blue in "[ab]{1,2}",
        ) {
            let pattern = parse(&text).unwrap();
            let both = pattern.admits(&name, &red) && pattern.admits(&name, &blue);
            prop_assert!(!both || red == blue || !pattern.tells_namespaces_apart());
        }
    }
}
