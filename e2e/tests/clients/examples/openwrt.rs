//! The files for OpenWrt.

use std::collections::BTreeMap;

use dynhost_e2e::debian_program;
use serde_json::Value;

use super::scripts::link_wget;
use super::{SHELLS, Setup, WRONG_KEY, expect};
use crate::SOURCE;
use crate::program::{program, run};

pub(super) async fn openwrt_hotplug(setup: &Setup<'_>) {
    const FILE: &str = "openwrt/30-dynhost-hotplug";
    let bin = setup.home.path().join("bin");
    for (shell, is_gnu) in SHELLS
        .into_iter()
        .flat_map(|shell| [(shell, true), (shell, false)])
    {
        link_wget(&bin, is_gnu).await;
        setup.forget().await;
        let ran = setup.script(shell, FILE, &setup.key, &[]).await;
        expect("hotplug", &ran, 0, "");
        setup.expect_stored("hotplug", &[SOURCE]).await;
        let ran = setup.script(shell, FILE, WRONG_KEY, &[]).await;
        expect("hotplug", &ran, 1, "");
        // Events of other interfaces, and of a line that goes down, are nothing to report.
        setup.forget().await;
        for (action, interface) in [("ifdown", "wan"), ("ifup", "lan")] {
            let path = setup.place(FILE, &setup.key);
            let mut command = program(debian_program("dash").await.unwrap(), setup.home.path());
            command
                .arg(path)
                .env("ACTION", action)
                .env("INTERFACE", interface);
            expect("hotplug", &run(&mut command).await, 0, "");
            setup.expect_stored("hotplug", &["198.51.100.99"]).await;
        }
    }
    // The line of cron, and the one-liner that makes one with a minute of its own.
    let text = setup.adapt("openwrt/crontab", "");
    let line = text.lines().find(|line| !line.starts_with('#')).unwrap();
    let one_liner = text
        .lines()
        .find_map(|line| line.strip_prefix("#   "))
        .unwrap();
    let one_liner = one_liner.split(" >> ").next().unwrap();
    let shell = debian_program("dash").await.unwrap();
    let made = run(program(shell, setup.home.path()).args(["-c", one_liner])).await;
    for line in [line, made.said.trim_end()] {
        let (minute, rest) = line.split_once(' ').unwrap();
        assert!(minute.parse::<u8>().unwrap() < 60, "{line}");
        assert_eq!(rest, "*/4 * * * /etc/hotplug.d/iface/30-dynhost-hotplug");
    }
}

/// As `dynamic_dns_functions.sh` of ddns-scripts 2.8.4 does it.
pub(super) async fn openwrt_service(setup: &Setup<'_>) {
    let service: Value =
        serde_json::from_str(&setup.adapt("openwrt/dynhost.json", &setup.key)).unwrap();
    let options = setup.adapt("openwrt/ddns", &setup.key);
    let options: BTreeMap<&str, &str> = options
        .lines()
        .filter_map(|line| line.trim().strip_prefix("option ")?.split_once(' '))
        .map(|(name, value)| (name, value.trim_matches('\'')))
        .collect();
    assert_eq!(service["name"], options["service_name"]);
    let answer = setup.home.path().join("answer");
    let log = setup.home.path().join("log");
    let transfer = async |section: &str, program_name: &str, address: &str, password: &str| {
        let url = service[section]["url"].as_str().unwrap();
        let url = url
            .replace("[USERNAME]", options["username"])
            .replace("[PASSWORD]", password)
            .replace("[DOMAIN]", options["domain"])
            .replace("[IP]", address);
        let path = debian_program(program_name).await.unwrap();
        let mut command = program(path, setup.home.path());
        match program_name {
            "wget" => command
                .args(["-nv", "-t", "1", "-O"])
                .arg(&answer)
                .arg("-o")
                .arg(&log),
            "curl" => command
                .args(["-RsS", "-o"])
                .arg(&answer)
                .arg("--stderr")
                .arg(&log),
            _ => command.args(["wget", "-q", "-O"]).arg(&answer),
        };
        let ran = run(command.arg(url)).await;
        let mut grep = program("/bin/grep", setup.home.path());
        grep.args(["-i", "-E", service[section]["answer"].as_str().unwrap()])
            .arg(&answer);
        ran.status == Some(0) && run(&mut grep).await.status == Some(0)
    };
    for name in ["wget", "curl", "busybox"] {
        setup.forget().await;
        for _same_again in 0..2 {
            assert!(
                transfer("ipv4", name, "198.51.100.7", options["password"]).await,
                "{name}"
            );
            assert!(
                transfer("ipv6", name, "2001:db8::7", options["password"]).await,
                "{name}"
            );
            setup
                .expect_stored(name, &["198.51.100.7", "2001:db8::7"])
                .await;
        }
        assert!(
            !transfer("ipv4", name, "198.51.100.8", WRONG_KEY).await,
            "{name}"
        );
    }
}
