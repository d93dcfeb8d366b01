//! Parts of requests: the path, credentials, address parameters.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dynhost::update::protocol::address::Declared;
use dynhost::update::protocol::credentials::{Place, Presented};
use dynhost::update::protocol::grammar::segment;
use dynhost::update::protocol::parameters::Parameters;
use dynhost::update::protocol::route::Route;
use dynhost::update::protocol::{Dialect, ParseError};

use crate::request::Request;

/// Which path is for what.
pub fn route(octets: &[u8]) {
    let Some(request) = Request::split(octets) else {
        return;
    };
    let input = request.input();
    let of = |path: &str| Route::of(path, input.query, input.form, request.is_json());
    let route = of(input.path);
    let path = input.path.strip_suffix('/').unwrap_or(input.path);
    // One slash at the end is tolerated.
    if !path.ends_with('/') {
        assert_eq!(of(path), route);
        assert_eq!(of(&format!("{path}/")), route);
    }
    // Only `/update` looks at more than the path, and the empty path at whether there is a query.
    let alone = Route::of(input.path, b"", b"", false);
    match path {
        "/update" => assert!(matches!(
            route,
            Route::Update(Dialect::Dyndns2 | Dialect::DuckDns | Dialect::Envelope)
        )),
        "" | "/" if input.query.is_empty() => assert_eq!(route, Route::OwnAddress),
        "" | "/" => assert_eq!(route, Route::Update(Dialect::Sftdyn)),
        _ => assert_eq!(route, alone),
    }
    // A named route is not the path of a key, and a key is on no named route.
    let named = [
        "/nic/", "/v2/", "/v3/", "/update", "/api/", "/ip", "/signed/", "/checkip", "/myip",
        "/debug/", "/u/",
    ];
    let is_named = named.iter().any(|begin| path.starts_with(begin));
    if !is_named && !path.is_empty() && path != "/" {
        assert_eq!(route, Route::Update(Dialect::Sftdyn), "{path}");
    }
    let must_be_named = [
        "/nic/update",
        "/update/",
        "/api/update",
        "/ip.php",
        "/debug/whoami",
    ];
    if must_be_named.contains(&path) {
        assert_ne!(route, Route::Update(Dialect::Sftdyn), "{path}");
    }
}

/// The update key in header, path, query and form.
pub fn credentials(octets: &[u8]) {
    let Some(request) = Request::split(octets) else {
        return;
    };
    let input = request.input();
    let parameters = Parameters::parse(input.query, input.form);
    let in_form = Parameters::parse(b"", input.form);
    let in_path = segment(input.path.rsplit('/').next().unwrap_or_default());
    let in_path = in_path.as_deref().ok();
    let parameters = parameters.as_ref().ok();
    let found = Presented::find(input.authorization, in_path, parameters);

    let in_header = Presented::find(input.authorization, None, None);
    assert_eq!(in_header.user, found.user);
    if in_header.token.is_some() {
        // The header has the word, whatever stands elsewhere.
        assert_eq!(in_header.token, found.token);
    }
    let Some((token, place)) = &found.token else {
        assert!(found.credentials().is_none());
        return;
    };
    assert!(!token.is_empty());
    match place {
        Place::Header => assert!(input.authorization.is_some() && in_header.token.is_some()),
        Place::Url => {
            assert!(in_path.is_some_and(|path| !path.is_empty()) || !input.query.is_empty())
        }
        Place::Body => {
            // Without path and query it is found all the same.
            let alone = Presented::find(input.authorization, None, in_form.as_ref().ok());
            assert_eq!(alone.token, found.token);
        }
    }
    let shown = format!("{:?}", found.credentials());
    assert_eq!(shown, "Some(Credentials)");

    // Whatever the key is, Basic carries it, and so do Bearer and Token where it has no spaces around.
    let basic = [b":", &token[..]].concat();
    let mut headers = vec![format!("Basic {}", STANDARD.encode(basic)).into_bytes()];
    if **token == *token.trim_ascii() {
        headers.push([b"Bearer ", &token[..]].concat());
        headers.push([b"token ", &token[..]].concat());
    }
    for header in headers {
        let carried = Presented::find(Some(&header), None, None);
        let (carried, place) = carried.token.unwrap();
        assert_eq!((&carried, place), (token, Place::Header));
    }
}

/// `myip` and all its synonyms: a query, and in the lines below a form.
pub fn addresses(octets: &[u8]) {
    let end = octets.iter().position(|octet| *octet == b'\n');
    let (query, form) = octets.split_at(end.unwrap_or(octets.len()));
    let form = form.strip_prefix(b"\n").unwrap_or(form);
    let read = |query: &[u8], form: &[u8]| -> Result<Declared, ParseError> {
        Declared::parse(&Parameters::parse(query, form)?)
    };
    let found = read(query, form);
    if !form.contains(&b'?') {
        // The form's parameters count as if they stood behind the query's.
        assert_eq!(read(&[query, b"&", form].concat(), b""), found);
    }
    let Ok(declared) = found else {
        return;
    };
    check_declared(&declared);
    // What is read is what is told: written out, it reads as it was.
    let mut written = Vec::new();
    let mut tell = |name: &str, spelling: Option<&str>| {
        written.extend(spelling.map(|text| format!("{name}={text}")));
    };
    tell("myip", declared.ipv4.as_ref().map(|a| &*a.spelling));
    tell(
        "ip6lanprefix",
        declared.prefix.as_ref().map(|a| &*a.spelling),
    );
    tell("myipv6", declared.ipv6.as_ref().map(|a| &*a.spelling));
    tell("ip", declared.preserve.then_some("preserve"));
    assert_eq!(read(written.join("&").as_bytes(), b""), Ok(declared));
}

/// Every address is one of its family that can be meant, spelled as one.
pub(crate) fn check_declared(declared: &Declared) {
    let is_harmless = |text: &str| {
        text.bytes()
            .all(|octet| octet.is_ascii_hexdigit() || b".:/".contains(&octet))
    };
    let address_of = |text: &str| -> IpAddr {
        assert!(is_harmless(text), "{text:?}");
        let address = text.split('/').next().unwrap_or_default();
        let address: IpAddr = address.parse().unwrap();
        address.to_canonical()
    };
    if let Some(ipv4) = &declared.ipv4 {
        assert_eq!(address_of(&ipv4.spelling), IpAddr::from(ipv4.address));
        assert!(!ipv4.address.is_unspecified());
    }
    if let Some(ipv6) = &declared.ipv6 {
        assert_eq!(address_of(&ipv6.spelling), IpAddr::from(ipv6.address));
        assert!(!ipv6.address.is_unspecified() && ipv6.address.to_ipv4_mapped().is_none());
    }
    if let Some(prefix) = &declared.prefix {
        let (network, spelled) = (prefix.address, address_of(&prefix.spelling));
        assert_eq!(network, network.trunc());
        assert!((48..=64).contains(&network.prefix_len()), "{network}");
        assert!(matches!(spelled, IpAddr::V6(address) if network.contains(&address)));
    }
}
