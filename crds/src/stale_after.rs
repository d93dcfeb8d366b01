//! How long a host may be without a report.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The pattern of [`StaleAfter`] as text: the Gateway API's durations (GEP-2257) without
/// milliseconds, since reports are noted by the second.
const PATTERN: &str = "^([0-9]{1,5}(h|m|s)){1,3}$";

/// 1 min: a report that is noted is a write of the API server, four times in this time.
const LEAST: u64 = 60;

/// A year of 365 days.
const MOST: u64 = 365 * 24 * 60 * 60;

/// A time from 1 min to 8760 h in whole seconds; as text such as `36h`, `90m` or `1h30m`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String", into = "String")]
pub struct StaleAfter(NonZeroU32);

/// Why a text is no [`StaleAfter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStaleAfter {
    /// It is not one to three numbers of at most five digits, each with its unit.
    Malformed,
    /// It is under 1 min or over 8760 h.
    OutOfBounds,
}

impl StaleAfter {
    /// The time.
    pub fn get(self) -> Duration {
        Duration::from_secs(self.0.get().into())
    }
}

impl FromStr for StaleAfter {
    type Err = NotStaleAfter;

    fn from_str(text: &str) -> Result<Self, NotStaleAfter> {
        let mut seconds = 0;
        let mut rest = text;
        for _ in 0..3 {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, unit_and_rest) = rest.split_at(digits);
            let mut chars = unit_and_rest.chars();
            let unit = match chars.next() {
                Some('h') => 3600,
                Some('m') => 60,
                Some('s') => 1,
                _ => return Err(NotStaleAfter::Malformed),
            };
            let number = number.parse::<u64>().ok().filter(|_| digits <= 5);
            seconds += number.ok_or(NotStaleAfter::Malformed)? * unit;
            rest = chars.as_str();
            if rest.is_empty() {
                break;
            }
        }
        if !rest.is_empty() {
            return Err(NotStaleAfter::Malformed);
        }
        let within = (LEAST..=MOST).contains(&seconds);
        let seconds = u32::try_from(seconds).ok().filter(|_| within);
        let seconds = seconds.and_then(NonZeroU32::new);
        seconds.map(Self).ok_or(NotStaleAfter::OutOfBounds)
    }
}

impl TryFrom<String> for StaleAfter {
    type Error = NotStaleAfter;

    fn try_from(text: String) -> Result<Self, NotStaleAfter> {
        text.parse()
    }
}

impl From<StaleAfter> for String {
    fn from(stale_after: StaleAfter) -> Self {
        stale_after.to_string()
    }
}

impl fmt::Display for StaleAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.get();
        let parts = [
            (seconds / 3600, 'h'),
            (seconds / 60 % 60, 'm'),
            (seconds % 60, 's'),
        ];
        for (number, unit) in parts {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for NotStaleAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a duration such as 36h or 1h30m",
            Self::OutOfBounds => "not from 1m to 8760h",
        })
    }
}

impl std::error::Error for NotStaleAfter {}

impl schemars::JsonSchema for StaleAfter {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "StaleAfter".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "minLength": 2, "maxLength": 18, "pattern": PATTERN,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_time_of_whole_seconds_within_its_bounds_or_none() {
        /// `shown`: how the time is written.
        fn check(text: &str, expected: Result<(u64, &str), NotStaleAfter>) {
            let parsed = text.parse::<StaleAfter>();
            let found = parsed.map(|after| (after.get().as_secs(), after.to_string()));
            let expected = expected.map(|(seconds, shown)| (seconds, shown.to_owned()));
            assert_eq!(found, expected, "{text}");
            if let Ok((_, shown)) = found {
                assert_eq!(shown.parse(), parsed, "{text}");
            }
        }
        use NotStaleAfter::{Malformed, OutOfBounds};
        check("36h", Ok((129_600, "36h")));
        check("90m", Ok((5400, "1h30m")));
        check("1h30m", Ok((5400, "1h30m")));
        check("1m30s", Ok((90, "1m30s")));
        check("99999s", Ok((99_999, "27h46m39s")));
        check("1h1h1h", Ok((10_800, "3h")));
        check("00001m", Ok((60, "1m")));
        check("1m", Ok((60, "1m")));
        check("60s", Ok((60, "1m")));
        check("8760h", Ok((31_536_000, "8760h")));
        for text in ["59s", "0h", "8761h", "8760h1s", "99999h99999h99999h"] {
            check(text, Err(OutOfBounds));
        }
        for text in [
            "", "h", "1", "1h1", "h1", "1d", "1w", "1h1h1h1h", "100000s", "1.5h", "-1h", "+1h",
            "1 h", " 1h", "1h ", "1H", "1ms", "PT1H", "1h\n", "１h", "1ß",
        ] {
            check(text, Err(Malformed));
        }
    }
}
