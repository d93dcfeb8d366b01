use super::*;

#[test]
fn the_page_shows_what_the_reference_says() {
    let metrics = Metrics::default();
    metrics.count_request("dyndns2", "good");
    metrics.count_authentication_failure("dyndns2", "badauth");
    metrics.show_published_after(Duration::from_millis(7));
    metrics.count_dns_change("applied");
    metrics.count_api_write("secret");
    metrics.count_failed_heartbeat();
    metrics.count_dropped_event();
    metrics.count_failed_event();
    metrics.count_limited_request("source");
    metrics.count_closed_connection("displaced");
    metrics.show_paused_deletions(12);
    metrics.count_drift_pass("transfer", "drifted");
    metrics.count_drift_repair();
    metrics.set_drift_checked(1_800_000_000);
    metrics.set_orphaned_markers(3);
    metrics.show_leader(true);
    metrics.count_tls_reload("loaded");
    metrics.set_tls_certificate_expiry(1_900_000_000);
    let zone = metrics.of_zone("dns/dyn");
    zone.count_message("update", "NOERROR");
    zone.show_batch(3);
    zone.show_lane_depth(2);
    zone.changed();
    zone.contacted();
    let now = Snapshot {
        hosts: 7,
        conditions: vec![(
            (ConditionType::Fresh, ConditionStatus::False, Reason::Stale),
            4,
        )],
        silences: vec![("hosts", Duration::from_millis(1500))],
    };
    let page = metrics.render(&now, Format::OpenMetrics).unwrap();
    for line in [
        "dynhost_requests_total{protocol=\"dyndns2\",result=\"good\"} 1",
        "dynhost_authentication_failures_total{protocol=\"dyndns2\",reason=\"badauth\"} 1",
        "dynhost_update_to_published_seconds_bucket{le=\"0.005\"} 0",
        "dynhost_update_to_published_seconds_bucket{le=\"0.01\"} 1",
        "dynhost_dns_changes_total{result=\"applied\"} 1",
        "dynhost_dns_batch_changes_sum 3.0",
        "dynhost_dns_messages_total{kind=\"update\",rcode=\"NOERROR\"} 1",
        "dynhost_lane_depth{zone=\"dns/dyn\"} 2",
        "dynhost_api_writes_total{kind=\"secret\"} 1",
        "dynhost_failed_heartbeats_total 1",
        "dynhost_dropped_events_total 1",
        "dynhost_failed_events_total 1",
        "dynhost_limited_requests_total{limit=\"source\"} 1",
        "dynhost_closed_connections_total{reason=\"displaced\"} 1",
        "dynhost_drift_passes_total{way=\"transfer\",outcome=\"drifted\"} 1",
        "dynhost_drift_repairs_total 1",
        "dynhost_drift_checked_timestamp_seconds 1800000000",
        "dynhost_orphaned_markers 3",
        "dynhost_hosts 7",
        "dynhost_host_conditions{condition=\"Fresh\",status=\"False\",reason=\"Stale\"} 4",
        "dynhost_watch_age_seconds{kind=\"hosts\"} 1.5",
        "dynhost_paused_deletions 12",
        "dynhost_leader 1",
        "dynhost_tls_reloads_total{result=\"loaded\"} 1",
        "dynhost_tls_certificate_expiry_timestamp_seconds 1900000000",
    ] {
        assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
    }
    let plain = metrics.render(&now, Format::Plain).unwrap();
    for description in ALL {
        let Description { name, help, .. } = description;
        let shown = format!("# HELP dynhost_{name} {help}.");
        assert!(page.contains(&shown), "{shown} is not in\n{page}");
        let (name, kind) = (description.full_name(), description.kind.word());
        let shown = format!("# TYPE {name} {kind}\n");
        assert!(plain.contains(&shown), "{shown} is not in\n{plain}");
    }
}

#[test]
fn what_is_gone_is_gone_from_the_page() {
    let metrics = Metrics::default();
    let page = |conditions| {
        let now = Snapshot {
            conditions,
            ..Snapshot::default()
        };
        metrics.render(&now, Format::Plain).unwrap()
    };
    let zone = metrics.of_zone("dns/dyn");
    zone.changed();
    zone.contacted();
    zone.show_lane_depth(1);
    let stale = (ConditionType::Fresh, ConditionStatus::False, Reason::Stale);
    let before = page(vec![(stale, 1)]);
    assert_eq!(before.matches("{zone=\"dns/dyn\"}").count(), 3, "{before}");
    assert!(before.contains("reason=\"Stale\""), "{before}");
    drop(zone);
    let after = page(Vec::new());
    assert!(!after.contains("dns/dyn"), "{after}");
    assert!(!after.contains("reason=\"Stale\""), "{after}");
}
