//! The harness itself: its servers start, answer, and leave nothing behind.

// Helpers of tests are tests, too: where they cannot go on, the test fails.
#![allow(clippy::unwrap_used)]

use std::{path::Path, time::Duration};

use dynhost_e2e::{
    AuditEvent, ControlPlane, Mode, NameServer, Software, TcpProxy, TsigAlgorithm, TsigKey,
    ZoneSpec, await_condition, random_hex,
};
use hickory_net::proto::{op::ResponseCode, rr::RecordType};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Config, config::KubeConfigOptions, config::Kubeconfig};

#[tokio::test]
async fn the_control_plane_counts_writes_and_survives_a_freeze_and_a_restart() {
    let control_plane = ControlPlane::start().await.unwrap();
    let mark = control_plane.audit_mark().await.unwrap();
    let namespace = control_plane.namespace("smoke").await.unwrap();
    let events = control_plane.audit_events(mark).await.unwrap();
    // The API server writes objects of its own for a while after its start.
    let is_ours = |event: &&AuditEvent| event.is_write() && event.user == "admin";
    let writes: Vec<&AuditEvent> = events.iter().filter(is_ours).collect();
    assert_eq!(writes.len(), 1, "{events:?}");
    assert_eq!(writes[0].resource, "namespaces");

    let client = control_plane.client().await.unwrap();
    control_plane.freeze_api_server().await.unwrap();
    let version = client.apiserver_version();
    let answered = tokio::time::timeout(Duration::from_millis(500), version).await;
    assert!(answered.is_err());
    control_plane.thaw_api_server().await.unwrap();
    client.apiserver_version().await.unwrap();

    control_plane.start_controller_manager().await.unwrap();
    control_plane.stop_api_server().await.unwrap();
    control_plane.start_api_server().await.unwrap();
    let listed = control_plane
        .kubectl(&["get", "namespaces", "-o", "name"], "")
        .await
        .unwrap();
    assert!(listed.contains(&namespace), "{listed}");

    let namespaces: Api<Namespace> = Api::all(control_plane.client().await.unwrap());
    namespaces
        .delete(&namespace, &Default::default())
        .await
        .unwrap();
    await_condition(
        "the namespace controller works",
        Duration::from_secs(60),
        async || {
            Ok(namespaces
                .get_opt(&namespace)
                .await?
                .is_none()
                .then_some(()))
        },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_proxy_loses_the_reply_to_a_write_that_happened() {
    let control_plane = ControlPlane::start().await.unwrap();
    control_plane
        .kubectl(&["apply", "-f", "-"], ADMINISTRATOR)
        .await
        .unwrap();
    let proxy = TcpProxy::start(control_plane.api_address()).await.unwrap();
    let kubeconfig = control_plane
        .service_account_kubeconfig("default", "smoke", Some(proxy.address()))
        .await
        .unwrap();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    let client = Client::try_from(config).unwrap();
    client.apiserver_version().await.unwrap();

    proxy.set_mode(Mode::SwallowReplies);
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace: Namespace =
        serde_json::from_value(serde_json::json!({"metadata": {"name": "lost-reply"}})).unwrap();
    let creating =
        tokio::spawn(async move { namespaces.create(&Default::default(), &namespace).await });
    let direct: Api<Namespace> = Api::all(control_plane.client().await.unwrap());
    await_condition(
        "the write behind the proxy happens",
        Duration::from_secs(20),
        async || direct.get_opt("lost-reply").await.map_err(Into::into),
    )
    .await
    .unwrap();
    proxy.set_mode(Mode::Cut);
    creating.await.unwrap().unwrap_err();

    proxy.set_mode(Mode::Pass);
    client.apiserver_version().await.unwrap();
}

const ADMINISTRATOR: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: smoke, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: smoke}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: smoke, namespace: default}]
";

#[tokio::test]
async fn name_servers_take_updates_by_every_algorithm_and_keep_them() {
    for software in Software::ALL {
        let server = NameServer::start(software, None).await.unwrap();
        for algorithm in [
            TsigAlgorithm::HmacSha1,
            TsigAlgorithm::HmacSha256,
            TsigAlgorithm::HmacSha384,
            TsigAlgorithm::HmacSha512,
        ] {
            let apex = format!("z{}.example.org", random_hex(4).unwrap());
            let key = TsigKey::generate(algorithm).unwrap();
            let spec = ZoneSpec {
                apex: apex.clone(),
                keys: vec![key.clone()],
                records: vec!["*.wild TXT \"there\"".to_owned()],
                allow_transfer: false,
            };
            server.add_zone(spec.clone()).await.unwrap();
            let home = format!("home.{apex}");
            let add = format!("update add {home} 30 A 198.51.100.7");
            server.nsupdate(&apex, &key, &add).await.unwrap();
            let taken = format!("prereq nxrrset {home} A\n{add}");
            server.nsupdate(&apex, &key, &taken).await.unwrap_err();

            let answer = server.query(&home, RecordType::A).await.unwrap();
            assert_eq!(answer.rdata, ["198.51.100.7"], "{software:?}");
            assert_eq!(answer.ttl, Some(30), "{software:?}");
            let absent = format!("no.{apex}");
            let absent = server.query(&absent, RecordType::A).await.unwrap();
            assert_eq!(absent.rcode, ResponseCode::NXDomain, "{software:?}");
            if let NameServer::Bind(bind) = &server {
                let counts = bind.update_counts(&apex).await.unwrap();
                assert_eq!((counts.done, counts.bad_prerequisite), (1, 1), "{counts:?}");
            }

            // New keys, the former data.
            let keys = vec![TsigKey::generate(algorithm).unwrap()];
            let keys = ZoneSpec { keys, ..spec };
            server.add_zone(keys.clone()).await.unwrap();
            server.nsupdate(&apex, &key, &add).await.unwrap_err();
            let more = format!("update add {home} 30 A 198.51.100.8");
            server.nsupdate(&apex, &keys.keys[0], &more).await.unwrap();

            server.stop().await.unwrap();
            server.query(&home, RecordType::A).await.unwrap_err();
            server.start_again().await.unwrap();
            let dump = server.dump(&apex).await.unwrap();
            assert_eq!(dump.len(), 5, "{software:?}: {dump:#?}");
            assert!(
                dump.contains(&format!("{home}. 30 IN A 198.51.100.7")),
                "{software:?}: {dump:#?}"
            );
        }
    }
}

#[tokio::test]
async fn a_dropped_control_plane_leaves_nothing() {
    let control_plane = ControlPlane::start().await.unwrap();
    let kubeconfig = control_plane.kubeconfig();
    let folder = kubeconfig.parent().unwrap().to_owned();
    let folder_text = folder.to_str().unwrap().to_owned();
    assert_ne!(processes_that_name(&folder_text), Vec::<String>::new());
    drop(control_plane);
    assert_eq!(processes_that_name(&folder_text), Vec::<String>::new());
    assert!(!folder.exists());
}

/// The command lines of all processes that mention `text`.
fn processes_that_name(text: &str) -> Vec<String> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(Path::new(&entry.ok()?.path()).join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text))
        .collect()
}
