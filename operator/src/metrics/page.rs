//! The page of `/metrics`, in the two formats that Prometheus takes.

use super::description::{ALL, Kind};

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0, for those who ask for it.
    OpenMetrics,
    /// Prometheus' text format 0.0.4: for people, and for tools that know no other.
    Plain,
}

impl Format {
    /// The one that a request's `Accept` header asks for.
    pub fn accepted(accept: Option<&str>) -> Self {
        match accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            true => Self::OpenMetrics,
            false => Self::Plain,
        }
    }

    /// The `Content-Type` of the page.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The same in the plain format, in which the name of a counter includes its `_total`, and nothing
/// marks the end.
pub(super) fn plain(page: &str) -> String {
    let counters: Vec<String> = ALL
        .iter()
        .filter(|description| description.kind == Kind::Counter)
        .map(|description| format!("dynhost_{}", description.name))
        .collect();
    let mut plain = String::with_capacity(page.len() + 256);
    for line in page.lines().filter(|line| *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(word), Some(name), Some(rest))
                if counters.iter().any(|counter| counter == name) =>
            {
                plain += &format!("# {word} {name}_total {rest}\n");
            }
            _ => {
                plain += line;
                plain.push('\n');
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_format_is_for_whoever_asks_for_no_other() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert_eq!(Format::accepted(Some(prometheus)), Format::OpenMetrics);
        assert_eq!(Format::accepted(Some("*/*")), Format::Plain);
        assert_eq!(Format::accepted(None), Format::Plain);
    }

    #[test]
    fn in_the_plain_format_counters_have_their_whole_names() {
        let page = "# HELP dynhost_requests Update requests.\n# TYPE dynhost_requests counter\n\
                    dynhost_requests_total{result=\"good\"} 1\n# HELP dynhost_hosts Known.\n\
                    # TYPE dynhost_hosts gauge\ndynhost_hosts 7\n# EOF\n";
        let expected = "# HELP dynhost_requests_total Update requests.\n\
                        # TYPE dynhost_requests_total counter\n\
                        dynhost_requests_total{result=\"good\"} 1\n# HELP dynhost_hosts Known.\n\
                        # TYPE dynhost_hosts gauge\ndynhost_hosts 7\n";
        assert_eq!(plain(page), expected);
    }
}
