//! The lines of urls.txt.

use dynhost_e2e::http;
use kube::ResourceExt as _;

use super::Setup;
use crate::{SOURCE, addresses};

/// Every line, with what its device puts in for its placeholders.
pub(super) async fn urls_txt(setup: &Setup<'_>) {
    let text = setup.adapt("urls.txt", "");
    let lines: Vec<_> = text
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .collect();
    assert!(lines.len() > 10, "{lines:?}");
    let label = setup.host.name_any();
    let server = setup.server();
    for line in lines {
        let (device, url) = line.split_once("  ").unwrap();
        let url = url.trim();
        setup.forget().await;
        let address = if device.contains("IPv6") {
            "2001:db8::7"
        } else {
            "198.51.100.7"
        };
        let values = [
            ("<domain>", &*setup.host.spec.hostname),
            ("%h", &setup.host.spec.hostname),
            ("__HOSTNAME__", &setup.host.spec.hostname),
            ("[DOMAIN]", &setup.host.spec.hostname),
            ("%HOST%", &setup.host.spec.hostname),
            ("domains=home", &format!("domains={label}")),
            ("/update/home/", &format!("/update/{label}/")),
            ("<ipaddr>", address),
            ("%i", address),
            ("%IP%", address),
            ("__MYIP__", address),
            ("[IP]", address),
            ("<ip6addr>", "2001:db8:1::7"),
            ("<ip6lanprefix>", "2001:db8:1:2::/64"),
            ("[USERNAME]:[PASSWORD]@", ""),
            ("__USERNAME__", "router"),
            ("%USER%", "router"),
            ("__PASSWORD__", &setup.key),
            ("%PASS%", &setup.key),
            ("{key}", &setup.key),
        ];
        let fill = |url: String, (theirs, ours): (&str, &str)| url.replace(theirs, ours);
        let filled = values.into_iter().fold(url.to_owned(), fill);
        let target = filled.trim_start_matches("http://");
        let target = target.trim_start_matches(&server.to_string()).to_owned();
        // DD-WRT appends the name.
        let appended = if target.ends_with("hostname=") {
            &*setup.host.spec.hostname
        } else {
            ""
        };
        let target = format!("{target}{appended}");
        let has_key = target.contains(&setup.key);
        let credentials = (!has_key).then_some(("router", &*setup.key));
        let answer = http::get(server, &target, credentials).await.unwrap();
        assert_eq!(answer.status, 200, "{line}: {target}: {}", answer.text());
        let stored = addresses(&setup.observed().await);
        let is_news = stored.iter().any(|a| a == address || a == SOURCE);
        assert!(is_news, "{line}: {stored:?}");
    }
}
