use super::*;
use crate::record::change::RrsetChange::{Keep, Remove, Set};

const HOSTNAME: &str = "home.dyn.example";
const A: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const AAAA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);

fn owner() -> OwnerId {
    "home".parse().unwrap()
}

fn marker(host: &str, nonce: u64) -> Marker {
    Marker::new(
        owner(),
        HostDigest::of("family", host),
        Nonce::from_bits(nonce),
    )
}

fn text(nonce: u64) -> String {
    marker("home", nonce).to_string()
}

/// A published host with an alias of each kind.
fn expected(
    ipv4: (Option<Ipv4Addr>, RrsetChange<Ipv4Addr>),
    ipv6: (Option<Ipv6Addr>, RrsetChange<Ipv6Addr>),
    marker: Option<Marker>,
) -> Expected {
    let alias = |name: &str, kind| Alias {
        name: RecordName::parse(name).unwrap(),
        kind,
    };
    let aliases: Box<[Alias]> = [
        alias("*.home.dyn.example", AliasType::Address),
        alias("www.home.dyn.example", AliasType::Cname),
    ]
    .into();
    let known = Known {
        ttl: 60,
        ipv4: ipv4.0,
        ipv6: ipv6.0,
        aliases: aliases.clone(),
    };
    let desired = Desired {
        ttl: 60,
        ipv4: ipv4.1,
        ipv6: ipv6.1,
        aliases,
        misfit: None,
    };
    Expected::new(&known, marker.as_ref(), &desired)
}

/// A record as `name data`, where the kind of data is told by its form; names end in `dyn.example`.
fn record(line: &str) -> (String, Data<'_>) {
    let (name, data) = line.split_once(' ').unwrap();
    let data = match data.split_once(' ') {
        None if data.ends_with('.') => Data::Cname(data.into()),
        None => match (data.parse(), data.parse()) {
            (Ok(ipv4), _) => Data::Ipv4(ipv4),
            (_, Ok(ipv6)) => Data::Ipv6(ipv6),
            _ => Data::Other(15),
        },
        Some(_) => Data::Text(data.into()),
    };
    (format!("{name}.dyn.example"), data)
}

/// What was found at each name of the one host, as `name: data`; `None`: all is as published.
fn compare(expected: Expected, lines: &[String]) -> Option<Vec<String>> {
    let show = |drifted: &Drifted| {
        let names = drifted.found.iter().flat_map(|(name, found)| {
            let Found {
                marker_texts,
                ipv4,
                ipv6,
                cname,
            } = found;
            let texts = marker_texts.iter().map(|text| match text.split_once("n=") {
                Some((_, nonce)) => format!("#{}", nonce.trim_start_matches('0')),
                None => text.clone(),
            });
            let all = texts
                .chain(ipv4.iter().map(ToString::to_string))
                .chain(ipv6.iter().map(ToString::to_string))
                .chain(cname.clone());
            let name = name.as_str().strip_suffix(".dyn.example").unwrap();
            all.map(move |data| format!("{name} {data}"))
                .collect::<Vec<_>>()
        });
        names.collect::<Vec<_>>()
    };
    let hostname = Fqdn::parse(HOSTNAME).unwrap();
    let begin = || {
        let mut comparison = Comparison::new(owner(), 0);
        comparison.expect("home", &hostname, expected.clone());
        comparison
    };
    let end = |comparison: Comparison<&str>| {
        let mut drifted: Vec<_> = comparison.drifted().collect();
        assert!(drifted.len() <= 1);
        let (host, drifted) = drifted.pop()?;
        assert_eq!((host, &drifted.expected), ("home", &expected));
        Some(show(&drifted))
    };

    let mut by_records = begin();
    let mut by_queries = begin();
    let mut found: HashMap<RecordName, Found> = HashMap::new();
    for line in lines {
        let (name, data) = record(line);
        let (at, is_marker) = match name.strip_prefix("_dynhost.") {
            Some(at) => (at, true),
            None => (name.as_str(), false),
        };
        let at = found.entry(RecordName::parse(at).unwrap()).or_default();
        match (data.clone(), is_marker) {
            (Data::Text(text), true) => at.marker_texts.push(text.into_owned()),
            (Data::Cname(target), true) => at.marker_texts.push(format!("CNAME {target}")),
            (Data::Ipv4(address), false) => at.ipv4.push(address),
            (Data::Ipv6(address), false) => at.ipv6.push(address),
            (Data::Cname(target), false) => at.cname = Some(target.into_owned()),
            _ => {}
        }
        by_records.take(&name, data);
    }
    for (name, found) in found {
        by_queries.take_found(&name, found);
    }
    let outcome = end(by_records);
    assert_eq!(end(by_queries), outcome, "{lines:?}");
    outcome
}

/// What the host's names hold once it is published.
fn published() -> Vec<String> {
    vec![
        "home 198.51.100.7".to_owned(),
        "home 2001:db8::7".to_owned(),
        format!("_dynhost.home {}", text(1)),
        "*.home 198.51.100.7".to_owned(),
        "*.home 2001:db8::7".to_owned(),
        format!("_dynhost.*.home {}", text(1)),
        "www.home home.dyn.example.".to_owned(),
        format!("_dynhost.www.home {}", text(1)),
    ]
}

#[test]
fn a_host_has_drifted_where_something_of_it_is_not_as_published() {
    let as_found = [
        "home #1",
        "home 198.51.100.7",
        "home 2001:db8::7",
        "*.home #1",
        "*.home 198.51.100.7",
        "*.home 2001:db8::7",
        "www.home #1",
        "www.home home.dyn.example.",
    ];
    let expected = || {
        expected(
            (Some(A), Set(A)),
            (Some(AAAA), Set(AAAA)),
            Some(marker("home", 1)),
        )
    };
    assert_eq!(compare(expected(), &published()), None);
    for gone in 0..published().len() {
        let mut records = published();
        let line = records.remove(gone);
        let found = compare(expected(), &records).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(found.len(), as_found.len() - 1, "{line}: {found:?}");
        assert!(
            found.iter().all(|found| as_found.contains(&&**found)),
            "{line}: {found:?}"
        );
    }
    for (more, is_drift) in [
        ("home 198.51.100.8", true),
        ("home 2001:db8::8", true),
        ("home elsewhere.example.", true),
        ("www.home 198.51.100.7", true),
        ("_dynhost.home some text", true),
        ("_dynhost.home elsewhere.example.", true),
        ("_dynhost.www.home some text", true),
        ("home some text", false),
        ("home MX", false),
        ("_dynhost.home 198.51.100.7", false),
        ("other.home 198.51.100.8", false),
        ("_dynhost.other some text", false),
    ] {
        let mut records = published();
        records.push(more.to_owned());
        let found = compare(expected(), &records);
        assert_eq!(found.is_some(), is_drift, "{more}: {found:?}");
    }
    assert_eq!(compare(expected(), &[]), Some(vec![]), "wiped");
}

#[test]
fn what_is_not_ours_to_say_is_no_drift() {
    let marked = || Some(marker("home", 1));
    let ipv6 = ["home 2001:db8::7", "*.home 2001:db8::7"];
    let without_ipv6: Vec<_> = published()
        .into_iter()
        .filter(|line| !ipv6.contains(&line.as_str()))
        .collect();
    let with_another: Vec<_> = without_ipv6
        .iter()
        .cloned()
        .chain(["home 2001:db8::8".to_owned()])
        .collect();
    let check = |expected: Expected, records: &[String], is_drift: bool| {
        let found = compare(expected, records);
        assert_eq!(found.is_some(), is_drift, "{found:?}");
    };
    let removed = || expected((Some(A), Set(A)), (None, Remove), marked());
    check(removed(), &without_ipv6, false);
    check(removed(), &with_another, true);
    // Nobody has reported it.
    let kept = || expected((Some(A), Set(A)), (None, Keep), marked());
    check(kept(), &without_ipv6, false);
    check(kept(), &with_another, false);
    // Aliases have what the host had when it was published.
    check(
        kept(),
        &[with_another, vec![ipv6[1].to_owned()]].concat(),
        true,
    );
    // Without markers in the zone, texts are nobody's.
    let unmarked = || expected((Some(A), Set(A)), (None, Remove), None);
    check(unmarked(), &without_ipv6, false);
    let none: Vec<_> = without_ipv6
        .into_iter()
        .filter(|line| !line.starts_with("_dynhost"))
        .collect();
    check(unmarked(), &none, false);
    check(removed(), &none, true);
}

#[test]
fn another_marker_of_the_host_is_told() {
    fn check(text: &str, expected_another: bool) {
        let hostname = Fqdn::parse(HOSTNAME).unwrap();
        let mut comparison = Comparison::new(owner(), 0);
        let expected = expected((Some(A), Set(A)), (None, Remove), Some(marker("home", 1)));
        comparison.expect((), &hostname, expected);
        comparison.take("_dynhost.home.dyn.example", Data::Text(text.into()));
        let (_, drifted) = comparison.drifted().next().unwrap();
        assert_eq!(drifted.has_another_marker(), expected_another, "{text}");
        assert_eq!(drifted.at(&hostname.into()).marker_texts, [text]);
        let never_asked = RecordName::parse("new.home.dyn.example").unwrap();
        assert_eq!(drifted.at(&never_asked), Found::default());
    }
    check(&text(1), false);
    check(&text(2), true);
    check(&marker("other", 2).to_string(), false);
    check("some text", false);
}

#[test]
fn markers_of_ours_at_names_of_nobody_are_orphans() {
    let mut comparison = Comparison::new(owner(), 0);
    let hostname = Fqdn::parse(HOSTNAME).unwrap();
    let published = expected((Some(A), Set(A)), (None, Remove), Some(marker("home", 1)));
    comparison.expect((), &hostname, published);
    let foreign = text(1).replace("o=home", "o=other");
    for (name, text) in [
        ("_dynhost.home.dyn.example", text(1)),
        ("_dynhost.gone.dyn.example", marker("gone", 1).to_string()),
        ("_dynhost.foreign.dyn.example", foreign),
        ("_dynhost.text.dyn.example", "some text".to_owned()),
        ("gone.dyn.example", marker("gone", 1).to_string()),
    ] {
        comparison.take(name, Data::Text(text.into()));
    }
    let gone = Orphan {
        name: RecordName::parse("gone.dyn.example").unwrap(),
        host: HostDigest::of("family", "gone"),
    };
    assert_eq!(comparison.take_orphans(), (vec![gone], 0));
    for number in 0..=MOST_ORPHANS {
        let name = format!("_dynhost.h{number}.dyn.example");
        comparison.take(&name, Data::Text(marker("gone", 1).to_string().into()));
    }
    let (orphans, further) = comparison.take_orphans();
    assert_eq!((orphans.len(), further), (MOST_ORPHANS, 1));
}

#[test]
fn a_name_of_two_hosts_is_compared_for_the_first_alone() {
    let mut comparison = Comparison::new(owner(), 0);
    let hostname = Fqdn::parse(HOSTNAME).unwrap();
    let alias = Fqdn::parse("www.home.dyn.example").unwrap();
    let published = expected((Some(A), Set(A)), (None, Remove), None);
    comparison.expect("first", &hostname, published.clone());
    comparison.expect("second", &alias, published);
    assert_eq!(comparison.names().count(), 3);
    let drifted: Vec<_> = comparison.drifted().map(|(host, _)| host).collect();
    assert_eq!(drifted, ["first"]);
}
