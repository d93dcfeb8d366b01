//! Real clients.

use std::process::Output;

use dynhost_crds::conditions::{ConditionType, Reason};
use dynhost_e2e::{Scratch, Stack, ZoneOptions, debian_program, scratch::write_private};
use hickory_net::proto::rr::RecordType;
use tokio::process::Command;

/// Runs ddclient once and returns its log.
async fn run_ddclient(stack: &Stack, hostname: &str, token: &str, address: &str) -> String {
    let scratch = Scratch::new("ddclient").unwrap();
    let server = stack.operator.update_address();
    let configuration = format!(
        "syslog=no\nssl=no\nprotocol=dyndns2\nserver={server}\nuse=ip, ip={address}\n\
         login={hostname}\npassword='{token}'\n{hostname}\n"
    );
    let file = scratch.path().join("ddclient.conf");
    write_private(&file, &configuration).unwrap();
    let output = Command::new(debian_program("ddclient").await.unwrap())
        .args(["-daemon=0", "-foreground", "-verbose", "-noquiet", "-force"])
        .arg("-file")
        .arg(&file)
        .arg("-cache")
        .arg(scratch.path().join("ddclient.cache"))
        .arg("-pid")
        .arg(scratch.path().join("ddclient.pid"))
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    text_of(&output)
}

async fn run_curl(stack: &Stack, path: &str, arguments: &[&str]) -> String {
    let url = format!("{}{path}", stack.operator.update_url());
    let output = Command::new(debian_program("curl").await.unwrap())
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "15",
            "--write-out",
            " %{http_code}",
        ])
        .args(arguments)
        .arg(url)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    text_of(&output)
}

fn text_of(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[tokio::test]
async fn ddclient_says_what_the_endpoint_said() {
    let stack = Stack::shared().await.unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let host = zone.host("home");
    let token = stack.create_host(&host).await.unwrap();
    let hostname = &host.spec.hostname;
    let check = async |token: &str, address: &str, expected: &str| {
        let log = run_ddclient(stack, hostname, token, address).await;
        assert!(log.contains(expected), "no {expected:?} in\n{log}");
    };
    check(
        &token,
        "198.51.100.7",
        "good: IP address set to 198.51.100.7",
    )
    .await;
    stack
        .await_dns(hostname, RecordType::A, &["198.51.100.7"])
        .await
        .unwrap();
    check(&token, "198.51.100.7", "nochg: No update required").await;
    check("wrong-horse-battery", "198.51.100.7", "401").await;
}

#[tokio::test]
async fn curl_updates_by_query_by_form_and_by_http_1_0() {
    let stack = Stack::shared().await.unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let host = zone.host("home");
    let token = stack.create_host(&host).await.unwrap();
    let hostname = &host.spec.hostname;
    let user = format!("x:{token}");
    let name = format!("hostname={hostname}");
    let query = format!("/nic/update?{name}&myip=");
    let check = async |path: &str, arguments: &[&str], expected: &str| {
        let answer = run_curl(stack, path, arguments).await;
        assert_eq!(answer, expected, "{path} {arguments:?}");
    };
    check(
        &format!("{query}198.51.100.7"),
        &["-u", &user],
        "good 198.51.100.7 200",
    )
    .await;
    check(
        &format!("{query}198.51.100.7"),
        &["-0", "-u", &user],
        "nochg 198.51.100.7 200",
    )
    .await;
    let form = [
        "-u",
        &user,
        "-d",
        &name,
        "--data-urlencode",
        "myip=2001:db8::7",
    ];
    check("/nic/update", &form, "good 2001:db8::7 200").await;
    check(&format!("{query}198.51.100.7"), &[], "badauth 401").await;
    stack
        .await_reason(
            &zone.namespace,
            "home",
            ConditionType::Published,
            Reason::Published,
        )
        .await
        .unwrap();
    stack
        .await_dns(hostname, RecordType::AAAA, &["2001:db8::7"])
        .await
        .unwrap();
}
