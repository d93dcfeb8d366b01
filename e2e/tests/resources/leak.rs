//! Looks for secrets in texts, however a program may have spelled them.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE},
};

/// As much of a secret as must not be seen either.
const PART: usize = 12;

/// The line of `text` that has one of the secrets, up to its end. `None`: there is none.
pub(crate) fn find_leak<'a>(text: &'a str, secrets: &[String]) -> Option<&'a str> {
    let at_end = secrets.iter().flat_map(|secret| spellings(secret));
    let end = at_end
        .filter_map(|spelling| Some(text.find(&spelling)? + spelling.len()))
        .next()?;
    let begin = text[..end].trim_end_matches('\n').rfind('\n');
    Some(&text[begin.map_or(0, |end| end + 1)..end])
}

/// How a program may print octets: whole, in part, or encoded.
pub(crate) fn spellings(secret: &str) -> Vec<String> {
    let octets = secret.as_bytes();
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let percent: String = octets.iter().map(|octet| format!("%{octet:02x}")).collect();
    let special: String = octets.iter().map(|octet| escaped(*octet)).collect();
    let decimal = format!("{octets:?}");
    let mut spellings = vec![
        secret.to_owned(),
        secret.chars().rev().collect(),
        decimal.trim_matches(['[', ']']).to_owned(),
        special.to_lowercase(),
        special,
        percent.to_uppercase(),
        percent,
        hex.to_uppercase(),
        hex,
    ];
    spellings.extend(
        [BASE64_STANDARD, BASE64_URL_SAFE]
            .iter()
            .flat_map(|base64| {
                // At the beginning of what was encoded, and behind one or two octets of a group.
                (0..3).map(|before| within_base64(base64, before, octets))
            }),
    );
    let characters = || secret.chars();
    if characters().count() >= 2 * PART {
        spellings.push(characters().take(PART).collect());
        spellings.push(characters().rev().take(PART).collect());
        let behind = characters().count() - PART;
        spellings.push(characters().skip(behind).collect());
    }
    spellings
}

/// Percent-encoded where it is neither letter nor digit.
fn escaped(octet: u8) -> String {
    match octet.is_ascii_alphanumeric() {
        true => char::from(octet).to_string(),
        false => format!("%{octet:02X}"),
    }
}

/// The characters of a base64 text that are these octets' alone, whatever stands before and behind.
fn within_base64(base64: &impl Engine, before: usize, octets: &[u8]) -> String {
    let whole = base64.encode([&vec![0; before], octets].concat());
    let begin = before.div_ceil(3) * 4;
    let end = (before + octets.len()) / 3 * 4;
    whole[begin..end].to_owned()
}

#[test]
fn a_secret_is_found_however_it_is_spelled() {
    let secret = "0a9s8d7f6g5h4j3k+/&=\"<z1x2c3v4b".to_owned();
    let check = |text: &str| {
        let text = format!("level=TRACE first\nlevel=TRACE before {text} behind\n");
        let found = find_leak(&text, std::slice::from_ref(&secret));
        assert!(
            found.is_some_and(|line| line.starts_with("level=TRACE before ")),
            "{text}"
        );
    };
    for spelling in spellings(&secret) {
        check(&spelling);
    }
    for encoded in ["", "a", "ab", "router:"] {
        for end in ["", "x", "xy"] {
            let text = format!("{encoded}{secret}{end}");
            check(&BASE64_STANDARD.encode(&text));
            check(&BASE64_URL_SAFE.encode(&text));
            check(&text);
        }
    }
    check(&secret[..PART]);
    check(&secret[secret.len() - PART..]);
    check(&format!("{secret:?}"));
    check(&serde_json::to_string(&secret).unwrap());
    check(&format!("{:?}", secret.as_bytes()));
    let nothing = "level=TRACE 0a9s8d7f6g5 x2c3v4b\n";
    assert_eq!(find_leak(nothing, &[secret]), None);
}
