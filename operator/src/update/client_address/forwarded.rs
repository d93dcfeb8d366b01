//! The header `Forwarded` of RFC 7239, read from its end.
//!
//! A quoted string can hold every separator, so whoever reads from the left lets an open quotation
//! mark of the client swallow what the proxies appended. From the right each element stands for
//! itself: the mark that ends a string comes first, and the next one that is not escaped begins it.

use std::borrow::Cow;
use std::net::IpAddr;

use super::entry::{EntryError, parse_node};

/// The text before the last separator that is in no quoted string (`None` where there is none),
/// and the text after it.
pub(super) fn split_last(text: &[u8], separator: u8) -> Result<(Option<&[u8]>, &[u8]), EntryError> {
    let mut end = text.len();
    loop {
        let is_sought = |octet: &u8| *octet == separator || *octet == b'"';
        match text[..end].iter().rposition(is_sought) {
            None => return Ok((None, text)),
            Some(at) if text[at] == separator => {
                return Ok((Some(&text[..at]), &text[at + 1..]));
            }
            Some(closing) => end = opening_mark(&text[..closing])?,
        }
    }
}

/// Where the quoted string begins whose end was before this text's end.
fn opening_mark(before_closing: &[u8]) -> Result<usize, EntryError> {
    if is_escaped(before_closing) {
        return Err(EntryError::Malformed);
    }
    let mut end = before_closing.len();
    loop {
        let mark = before_closing[..end].iter().rposition(|o| *o == b'"');
        end = mark.ok_or(EntryError::Malformed)?;
        if !is_escaped(&before_closing[..end]) {
            return Ok(end);
        }
    }
}

/// Whether the octet after this text is escaped: an odd number of backslashes stands before it.
fn is_escaped(before: &[u8]) -> bool {
    let backslashes = before.iter().rev().take_while(|o| **o == b'\\').count();
    backslashes % 2 == 1
}

/// The address of one element's parameter `for`.
pub(super) fn parse_element(element: &[u8]) -> Result<IpAddr, EntryError> {
    if element.trim_ascii().is_empty() {
        return Err(EntryError::Empty);
    }
    let mut node = None;
    let mut rest = Some(element);
    while let Some(text) = rest {
        let (before, pair) = split_last(text, b';')?;
        rest = before;
        let pair = pair.trim_ascii();
        if pair.is_empty() {
            continue;
        }
        let equals = pair.iter().position(|octet| *octet == b'=');
        let (name, value) = pair.split_at(equals.ok_or(EntryError::Malformed)?);
        let value = unquoted(&value[1..])?;
        if name.is_empty() || !name.iter().copied().all(is_of_token) {
            return Err(EntryError::Malformed);
        }
        // "Each parameter MUST NOT occur more than once": section 4.
        if name.eq_ignore_ascii_case(b"for") && node.replace(value).is_some() {
            return Err(EntryError::Malformed);
        }
    }
    parse_node(&node.ok_or(EntryError::WithoutFor)?)
}

/// The value of a pair. Many proxies leave the quotation marks out where they are needed.
fn unquoted(value: &[u8]) -> Result<Cow<'_, [u8]>, EntryError> {
    let Some(opened) = value.strip_prefix(b"\"") else {
        let has_mark = value.contains(&b'"');
        return if has_mark {
            Err(EntryError::Malformed)
        } else {
            Ok(value.into())
        };
    };
    let text = opened.strip_suffix(b"\"").ok_or(EntryError::Malformed)?;
    if !text.iter().any(|octet| matches!(octet, b'\\' | b'"')) {
        return Ok(text.into());
    }
    let mut octets = text.iter().copied();
    let mut unescaped = Vec::with_capacity(text.len());
    while let Some(octet) = octets.next() {
        unescaped.push(match octet {
            b'\\' => octets.next().ok_or(EntryError::Malformed)?,
            b'"' => return Err(EntryError::Malformed),
            octet => octet,
        });
    }
    Ok(unescaped.into())
}

/// `tchar` of RFC 9110, section 5.6.2.
fn is_of_token(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_names_the_node_after_for() {
        fn check(element: &str, expected: Result<&str, EntryError>) {
            let found = parse_element(element.as_bytes());
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(found, expected, "{element}");
        }
        // The examples of RFC 7239, sections 4, 6.3 and 7.
        check(r#"for="_gazonk""#, Err(EntryError::Obfuscated));
        check(r#"For="[2001:db8:cafe::17]:4711""#, Ok("2001:db8:cafe::17"));
        check(
            "for=192.0.2.60;proto=http;by=203.0.113.43",
            Ok("192.0.2.60"),
        );
        check("for=192.0.2.43", Ok("192.0.2.43"));
        check("for=unknown", Err(EntryError::Unknown));
        check("for=_hidden", Err(EntryError::Obfuscated));
        check(r#"for="192.0.2.43:47011""#, Ok("192.0.2.43"));
        check(
            "for=192.0.2.43; by=203.0.113.60;proto=http;host=example.com",
            Ok("192.0.2.43"),
        );

        check("FOR=192.0.2.43", Ok("192.0.2.43"));
        check("proto=https;for=192.0.2.43", Ok("192.0.2.43"));
        check(";; for=192.0.2.43 ;", Ok("192.0.2.43"));
        check(r#"for="\1\9\2.0.2.43""#, Ok("192.0.2.43"));
        check(r#"for="[2001:db8::7]:_x""#, Ok("2001:db8::7"));
        check(r#"for="[::ffff:192.0.2.43]""#, Ok("192.0.2.43"));
        // Against the grammar, and seen all the same.
        check("for=192.0.2.43:47011", Ok("192.0.2.43"));
        check("for=[2001:db8::7]:1234", Ok("2001:db8::7"));
        check(r#"for="2001:db8::7""#, Ok("2001:db8::7"));
        check("for=192.0.2.43;host=example.com:8080", Ok("192.0.2.43"));
        // What the client says of itself is only quoted.
        check(
            r#"for=192.0.2.43;host="a, for=203.0.113.9;x=\"""#,
            Ok("192.0.2.43"),
        );
        check(
            r#"host="\\";for=192.0.2.43;x="for=203.0.113.9;""#,
            Ok("192.0.2.43"),
        );

        check("", Err(EntryError::Empty));
        check(" ", Err(EntryError::Empty));
        check("for=", Err(EntryError::Empty));
        check(r#"for="""#, Err(EntryError::Empty));
        check("proto=https;by=203.0.113.43", Err(EntryError::WithoutFor));
        check("for=proxy.example.org", Err(EntryError::NotAnAddress));
        check(r#"for=" 192.0.2.43 x""#, Err(EntryError::NotAnAddress));
        for malformed in [
            "192.0.2.43",
            "=192.0.2.43",
            "for =192.0.2.43;x",
            "for =192.0.2.43",
            "f\"or=192.0.2.43",
            "for=192.0.2.43;for=203.0.113.9",
            "for=192.0.2.43;FOR=192.0.2.43",
            r#"for="192.0.2.43"#,
            r#"for=192.0.2.43""#,
            r#"for="192.0.2.43\""#,
            r#"for="192.0.2.43"x"#,
            r#"for=x"192.0.2.43""#,
            r#"for="192"."0.2.43""#,
            r#"for=192.0.2.43;host=""""#,
        ] {
            check(malformed, Err(EntryError::Malformed));
        }
    }

    #[test]
    fn elements_are_divided_from_the_right() {
        fn check(line: &str, expected: Result<(Option<&str>, &str), EntryError>) {
            let found = split_last(line.as_bytes(), b',');
            let expected = expected.map(|(rest, text)| (rest.map(str::as_bytes), text.as_bytes()));
            assert_eq!(found, expected, "{line}");
        }
        check("a", Ok((None, "a")));
        check("a,b", Ok((Some("a"), "b")));
        check("a,b,", Ok((Some("a,b"), "")));
        check(r#"a,b="c,d""#, Ok((Some("a"), r#"b="c,d""#)));
        check(r#"a,b="c\",d""#, Ok((Some("a"), r#"b="c\",d""#)));
        check(r#"a,b="c\\",d"#, Ok((Some(r#"a,b="c\\""#), "d")));
        check(r#"a="open,b"#, Ok((Some(r#"a="open"#), "b")));
        check(r#"a="open\,b="c""#, Ok((Some(r#"a="open\"#), r#"b="c""#)));
        check(r#"b="open"#, Err(EntryError::Malformed));
        check(r#"b="escaped\""#, Err(EntryError::Malformed));
    }
}
