//! The scripts and lines of cron for every Unix.

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use dynhost_crds::key;
use dynhost_e2e::{
    Stack, Zone, await_condition, debian_program, random_hex, scratch::write_private,
};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::json;

use super::{SHA1_SECRET, SHELLS, Setup, WRONG_KEY, expect};
use crate::SOURCE;
use crate::program::{program, run};

pub(super) async fn curl_sh(setup: &Setup<'_>) {
    let name = &setup.host.spec.hostname;
    for shell in SHELLS {
        setup.forget().await;
        let both = "198.51.100.7,2001:db8::7";
        let ran = setup
            .script(shell, "curl.sh", &setup.key, &[name, both])
            .await;
        assert_eq!(
            (ran.status, &*ran.said),
            (Some(0), &*format!("good {both}"))
        );
        let ran = setup.script(shell, "curl.sh", &setup.key, &[name]).await;
        expect("curl.sh", &ran, 0, &format!("good {SOURCE}"));
        setup
            .expect_stored("curl.sh", &[SOURCE, "2001:db8::7"])
            .await;
        let ran = setup.script(shell, "curl.sh", WRONG_KEY, &[name]).await;
        expect("curl.sh", &ran, 22, "badauth");
        // IPv6 is news for the next shell, too.
        let other = "198.51.100.7,2001:db8::8";
        setup
            .script(shell, "curl.sh", &setup.key, &[name, other])
            .await;
    }
}

pub(super) async fn wget_sh(setup: &Setup<'_>) {
    let bin = setup.home.path().join("bin");
    for (shell, is_gnu) in SHELLS
        .into_iter()
        .flat_map(|shell| [(shell, true), (shell, false)])
    {
        link_wget(&bin, is_gnu).await;
        setup.forget().await;
        let ran = setup
            .script(shell, "wget.sh", &setup.key, &["198.51.100.7"])
            .await;
        assert_eq!(
            (ran.status, &*ran.said),
            (Some(0), "good 198.51.100.7"),
            "{is_gnu}"
        );
        let ran = setup.script(shell, "wget.sh", &setup.key, &[]).await;
        assert_eq!(
            (ran.status, &*ran.said),
            (Some(0), &*format!("good {SOURCE}"))
        );
        let ran = setup.script(shell, "wget.sh", WRONG_KEY, &[]).await;
        expect("wget.sh", &ran, if is_gnu { 6 } else { 1 }, "");
        setup.expect_stored("wget.sh", &[SOURCE]).await;
    }
}

/// Puts GNU's or busybox's wget into a folder.
pub(super) async fn link_wget(bin: &Path, is_gnu: bool) {
    fs::create_dir_all(bin).unwrap();
    let link = bin.join("wget");
    if link.is_symlink() {
        fs::remove_file(&link).unwrap();
    }
    let target = if is_gnu { "wget" } else { "busybox" };
    symlink(debian_program(target).await.unwrap(), link).unwrap();
}

pub(super) async fn duckdns_sh(setup: &Setup<'_>) {
    let folder = setup.home.path().join("duckdns");
    fs::create_dir_all(&folder).unwrap();
    for shell in SHELLS {
        setup.forget().await;
        for (key, answer) in [(&*setup.key, "OK"), (&*setup.key, "OK"), (WRONG_KEY, "KO")] {
            let ran = setup.script(shell, "duckdns.sh", key, &[]).await;
            assert_eq!(ran.status, Some(0), "{}", ran.said);
            assert_eq!(fs::read_to_string(folder.join("duck.log")).unwrap(), answer);
            setup.expect_stored("duckdns.sh", &[SOURCE]).await;
        }
    }
}

pub(super) async fn sftdyn_sh(setup: &Setup<'_>) {
    for shell in SHELLS {
        setup.forget().await;
        for answer in ["OK", "UPTODATE"] {
            let ran = setup.script(shell, "sftdyn.sh", &setup.key, &[]).await;
            assert_eq!((ran.status, &*ran.said), (Some(0), answer));
            setup.expect_stored("sftdyn.sh", &[SOURCE]).await;
        }
        let ran = setup.script(shell, "sftdyn.sh", WRONG_KEY, &[]).await;
        assert_eq!((ran.status, &*ran.said), (Some(22), ""));
    }
}

pub(super) async fn sha1_script_sh(setup: &Setup<'_>) {
    let until = async |shell, answer: &str| {
        // A second is good for one request.
        let said = await_condition(answer, Duration::from_secs(15), async || {
            let ran = setup.script(shell, "sha1-script.sh", "", &[]).await;
            Ok((ran.status == Some(0)).then_some(ran.said))
        });
        assert_eq!(said.await.unwrap(), answer);
    };
    for shell in SHELLS {
        until(shell, &format!("good {SOURCE}")).await;
        until(shell, &format!("nochg {SOURCE}")).await;
        setup.expect_stored("sha1-script.sh", &[SOURCE]).await;
        setup.forget().await;
        let path = setup.place("sha1-script.sh", "");
        let text = fs::read_to_string(&path)
            .unwrap()
            .replace(SHA1_SECRET, WRONG_KEY);
        write_private(&path, &text).unwrap();
        let dash = debian_program("dash").await.unwrap();
        let ran = run(program(dash, setup.home.path()).arg(path)).await;
        expect("sha1-script.sh", &ran, 22, "error: 401");
        setup
            .expect_stored("sha1-script.sh", &["198.51.100.99"])
            .await;
    }
}

/// The Secret of a host that takes requests of the script of 2012, which has to be there first.
pub(super) async fn supply_sha1_secret(stack: &Stack, zone: &Zone, host: &str) {
    let secret = json!({
        "metadata": {"name": format!("{host}-update-key")},
        "type": key::SECRET_TYPE,
        "stringData": {(key::TOKEN): random_hex(16).unwrap(), (key::SHA1_SECRET): SHA1_SECRET},
    });
    let client = stack.client().await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(client, &zone.namespace);
    let secret = serde_json::from_value(secret).unwrap();
    secrets.create(&Default::default(), &secret).await.unwrap();
}

pub(super) async fn systemd_script(setup: &Setup<'_>) {
    for shell in SHELLS {
        setup.forget().await;
        setup.place("systemd/dynhost.conf", &setup.key);
        for word in ["good", "nochg"] {
            let ran = setup.script(shell, "systemd/dynhost-update", "", &[]).await;
            assert_eq!(
                (ran.status, ran.said),
                (Some(0), format!("{word} {SOURCE}"))
            );
        }
        setup.place("systemd/dynhost.conf", WRONG_KEY);
        let ran = setup.script(shell, "systemd/dynhost-update", "", &[]).await;
        expect("dynhost-update", &ran, 22, "badauth");
        setup.expect_stored("dynhost-update", &[SOURCE]).await;
    }
    let unit = setup.adapt("systemd/dynhost-update.service", "");
    assert!(
        unit.contains("ExecStart=/usr/local/bin/dynhost-update\n"),
        "{unit}"
    );
    assert!(
        unit.contains("LoadCredential=dynhost.conf:/etc/dynhost.conf\n"),
        "{unit}"
    );
}

pub(super) async fn crontab(setup: &Setup<'_>) {
    for (key, status) in [(&*setup.key, 0), (WRONG_KEY, 22)] {
        let text = setup.adapt("crontab", key);
        let machine = text.lines().find_map(|line| line.strip_prefix("#   "));
        write_private(&setup.home.path().join(".netrc"), machine.unwrap()).unwrap();
        let line = text.lines().find(|line| !line.starts_with('#')).unwrap();
        let command = line.splitn(6, ' ').last().unwrap();
        assert!(line.starts_with("2-59/5 * * * * curl "), "{line}");
        let shell = debian_program("dash").await.unwrap();
        let ran = run(program(shell, setup.home.path()).args(["-c", command])).await;
        expect("crontab", &ran, status, "");
        setup.expect_stored("crontab", &[SOURCE]).await;
    }
}
