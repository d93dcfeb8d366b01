//! The endpoint's JSON patch, and what the real API server makes of its tests.

use dynhost::index::host::Host;
use dynhost::update::decide::{Addresses, News, Told};
use dynhost::update::heartbeat::heartbeat_patch;
use dynhost::update::patch::{Guard, Provenance, guarded_patch};
use dynhost_crds::host::{DynamicHost, DynamicHostSpec, ZoneRef};
use dynhost_e2e::{ControlPlane, stack::install};
use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

fn patch_for(
    host: &DynamicHost,
    ipv4: Option<&str>,
    ipv6: Option<&str>,
    guard: Guard,
) -> Patch<()> {
    let addresses = Addresses {
        ipv4: ipv4.map_or(Told::Nothing, |a| Told::Address(a.parse().unwrap())),
        ipv6: ipv6.map_or(Told::Nothing, |a| Told::Address(a.parse().unwrap())),
        prefix: Told::Nothing,
    };
    let news = News {
        addresses,
        signed_at: None,
    };
    let provenance = Provenance {
        protocol: "dyndns2",
        client: Some("curl/7.88.1".to_owned()),
    };
    let host = Host::from_object(host).unwrap();
    Patch::Json(guarded_patch(
        &host,
        news,
        &provenance,
        guard,
        Timestamp::now(),
    ))
}

/// A client that is seen seven hours from now.
fn heartbeat(host: &DynamicHost) -> Patch<()> {
    let host = Host::from_object(host).unwrap();
    let seen = Timestamp::now() + SignedDuration::from_hours(7);
    Patch::Json(heartbeat_patch(&host, seen, Guard::FormerValues).unwrap())
}

#[tokio::test]
async fn the_api_server_stores_a_report_only_over_the_value_it_was_decided_on() {
    // Without an operator: nobody else writes status.
    let control_plane = ControlPlane::start().await.unwrap();
    install(&control_plane).await.unwrap();
    let namespace = control_plane.namespace("patch").await.unwrap();
    let client = control_plane.client().await.unwrap();
    let hosts: Api<DynamicHost> = Api::namespaced(client, &namespace);
    let spec: DynamicHostSpec = serde_json::from_value(json!({
        "hostname": "home.dyn.example.org",
        "zoneRef": ZoneRef { name: "dyn".to_owned(), namespace: None },
    }))
    .unwrap();
    let host = DynamicHost::new("home", spec);
    let bare = hosts.create(&PostParams::default(), &host).await.unwrap();
    assert_eq!(bare.status, None);

    let params = PatchParams {
        field_manager: Some("dynhost-endpoint".to_owned()),
        ..PatchParams::default()
    };
    let send = async |patch: &Patch<()>| hosts.patch_status("home", &params, patch).await;
    let refused = async |patch: &Patch<()>| {
        let before = hosts.get("home").await.unwrap();
        match send(patch).await {
            Err(kube::Error::Api(status)) => assert_eq!(status.code, 422, "{status:?}"),
            other => panic!("{patch:?}: {other:?}"),
        }
        assert_eq!(hosts.get("home").await.unwrap(), before);
    };
    let former = Guard::FormerValues;

    // Status is missing.
    let first = patch_for(&bare, Some("198.51.100.1"), None, former);
    let one = send(&first).await.unwrap();
    refused(&first).await;
    // Decided before there was a status.
    refused(&patch_for(&bare, None, Some("2001:db8::1"), former)).await;
    refused(&patch_for(
        &bare,
        None,
        Some("2001:db8::1"),
        Guard::ResourceVersion,
    ))
    .await;

    // Decided before there was a status, or before another heartbeat.
    refused(&heartbeat(&bare)).await;
    let seen = send(&heartbeat(&one)).await.unwrap();
    refused(&heartbeat(&one)).await;
    let observed = |host: &DynamicHost| host.status.clone().unwrap().observed.unwrap();
    assert_eq!(observed(&seen).ipv4, observed(&one).ipv4);
    assert!(observed(&seen).last_seen > observed(&one).last_seen);

    // A family is missing. That a client was seen meanwhile does not matter.
    let second = patch_for(&one, None, Some("2001:db8::1"), former);
    let two = send(&second).await.unwrap();
    refused(&second).await;

    // The other family's value does not matter, and the controller's writes do not either.
    let controller = Patch::Merge(json!({"status": {"observedGeneration": 1}}));
    hosts
        .patch_status("home", &Default::default(), &controller)
        .await
        .unwrap();
    let third = patch_for(&one, Some("198.51.100.2"), None, former);
    refused(&patch_for(
        &one,
        Some("198.51.100.2"),
        None,
        Guard::ResourceVersion,
    ))
    .await;
    let three = send(&third).await.unwrap();
    refused(&third).await;
    let observed = observed(&three);
    assert_eq!(
        observed.ipv4.as_ref().unwrap().address.unwrap().to_string(),
        "198.51.100.2"
    );
    assert_eq!(observed.ipv6, two.status.unwrap().observed.unwrap().ipv6);

    // A late copy after the same address was stored again.
    let again = patch_for(&three, Some("198.51.100.2"), None, former);
    let late = patch_for(&three, Some("198.51.100.9"), None, former);
    let four = send(&again).await.unwrap();
    refused(&late).await;
    send(&patch_for(
        &four,
        Some("198.51.100.3"),
        None,
        Guard::ResourceVersion,
    ))
    .await
    .unwrap();

    // `observed` is missing.
    let emptied = Patch::Merge(json!({"status": {"observed": null}}));
    let empty = hosts
        .patch_status("home", &Default::default(), &emptied)
        .await
        .unwrap();
    let fifth = patch_for(&empty, Some("198.51.100.4"), Some("2001:db8::4"), former);
    send(&fifth).await.unwrap();
    refused(&fifth).await;

    // The name belongs to another object by now.
    let last = hosts.get("home").await.unwrap();
    hosts.delete("home", &Default::default()).await.unwrap();
    hosts.create(&PostParams::default(), &host).await.unwrap();
    refused(&patch_for(&last, Some("198.51.100.5"), None, former)).await;
    refused(&patch_for(&bare, Some("198.51.100.5"), None, former)).await;
}
