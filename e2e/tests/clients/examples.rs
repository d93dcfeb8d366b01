//! The very files of examples/clients/, with server, name and key put in.

mod configurations;
mod openwrt;
mod scripts;
mod urls;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use dynhost_crds::host::DynamicHost;
use dynhost_e2e::{Scratch, Stack, Zone, ZoneOptions, debian_program, scratch::write_private};
use serde_json::{Value, json};

use super::gateway::Gateway;
use super::program::{Ran, program, run};
use super::{SOURCE, addresses, observed, stack};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/clients");
const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/clients");
const SHELLS: [&[&str]; 2] = [&["dash"], &["busybox", "ash"]];
const WRONG_KEY: &str = "TheUpdateKeyOfNobodyAtAll0123456";
const SHA1_SECRET: &str = "AnotherSecretOfTheScriptOf2012";

/// An example with a host of its own, behind a proxy that says it comes from [`SOURCE`].
struct Setup<'a> {
    stack: &'a Stack,
    gateway: &'a Gateway,
    host: DynamicHost,
    key: String,
    home: Scratch,
}

impl<'a> Setup<'a> {
    async fn new(
        stack: &'a Stack,
        gateway: &'a Gateway,
        zone: &Zone,
        label: &str,
        spec: impl FnOnce(&mut DynamicHost),
    ) -> Self {
        let mut host = zone.host(label);
        spec(&mut host);
        let key = stack.create_host(&host).await.unwrap();
        Self {
            stack,
            gateway,
            host,
            key,
            home: Scratch::new(label).unwrap(),
        }
    }

    /// The text of a file with the placeholders of docs/clients/README.md replaced, and without TLS,
    /// which is the proxy's in real life.
    fn adapt(&self, file: &str, key: &str) -> String {
        let text = fs::read_to_string(Path::new(FOLDER).join(file)).unwrap();
        let server = self.server().to_string();
        let of_netrc = "machine 127.0.0.1";
        let replacements = [
            ("https://updates.example.org", &*format!("http://{server}")),
            ("machine updates.example.org", of_netrc),
            ("updates.example.org", &server),
            ("home.dyn.example.org", &self.host.spec.hostname),
            ("TheUpdateKeyOfYourHost", key),
            ("TheSha1SecretOfYourHost", SHA1_SECRET),
            ("ssl=yes", "ssl=no"),
            ("ssl            = true", "ssl = false"),
            ("checkip-ssl    = true", "checkip-ssl = false"),
            ("option use_https '1'", "option use_https '0'"),
        ];
        let replace = |text: String, (theirs, ours): (&str, &str)| text.replace(theirs, ours);
        replacements.into_iter().fold(text, replace)
    }

    fn server(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// Writes the file into the home folder.
    fn place(&self, file: &str, key: &str) -> PathBuf {
        let path = self.home.path().join(Path::new(file).file_name().unwrap());
        write_private(&path, &self.adapt(file, key)).unwrap();
        path
    }

    /// Runs a script of examples/clients/ by that shell.
    async fn script(&self, shell: &[&str], file: &str, key: &str, arguments: &[&str]) -> Ran {
        let path = self.place(file, key);
        let name = debian_program(shell[0]).await.unwrap();
        let mut command = program(name, self.home.path());
        command.args(&shell[1..]).arg(path).args(arguments);
        command
            .env("UPDATE_URL", format!("http://{}", self.server()))
            .env("TOKEN", key);
        command.env("DYNHOST_CONF", self.home.path().join("dynhost.conf"));
        // Where a test wants another wget than GNU's.
        let path = std::env::var("PATH").unwrap();
        command.env(
            "PATH",
            format!("{}:{path}", self.home.path().join("bin").display()),
        );
        run(&mut command).await
    }

    async fn observed(&self) -> Value {
        observed(self.stack, &self.host).await.unwrap()
    }

    async fn expect_stored(&self, what: &str, expected: &[&str]) {
        assert_eq!(addresses(&self.observed().await), expected, "{what}");
    }

    /// Another address is stored than any example reports.
    async fn forget(&self) {
        let answer = self
            .stack
            .update(&self.host.spec.hostname, &self.key, "198.51.100.99")
            .await;
        assert_eq!(answer.unwrap().status, 200);
    }
}

fn expect(what: &str, ran: &Ran, status: i32, said: &str) {
    let found = (ran.status, ran.said.contains(said));
    assert_eq!(
        found,
        (Some(status), true),
        "{what}: {said:?}\n{}",
        ran.said
    );
}

#[tokio::test]
async fn the_example_files_update_a_host() {
    let stack = stack().await.unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let gateway = Gateway::start(stack.operator.update_address(), SOURCE)
        .await
        .unwrap();
    scripts::supply_sha1_secret(stack, &zone, "sha1").await;
    let setup = async |label: &str| Setup::new(stack, &gateway, &zone, label, |_| ()).await;
    let (home, curl, wget, sftdyn, sha1, systemd, cron, hotplug, json, ddclient, inadyn, urls) = tokio::join!(
        setup("home"),
        setup("curl"),
        setup("wget"),
        setup("sftdyn"),
        Setup::new(stack, &gateway, &zone, "sha1", |host| {
            let script = json!({"sha1Script": {"user": "alice"}});
            host.spec.auth = serde_json::from_value(script).unwrap();
        }),
        setup("systemd"),
        setup("cron"),
        setup("hotplug"),
        setup("json"),
        setup("ddclient"),
        setup("inadyn"),
        setup("urls"),
    );
    tokio::join!(
        scripts::duckdns_sh(&home),
        scripts::curl_sh(&curl),
        scripts::wget_sh(&wget),
        scripts::sftdyn_sh(&sftdyn),
        scripts::sha1_script_sh(&sha1),
        scripts::systemd_script(&systemd),
        scripts::crontab(&cron),
        openwrt::openwrt_hotplug(&hotplug),
        openwrt::openwrt_service(&json),
        configurations::ddclient_conf(&ddclient),
        configurations::inadyn_conf(&inadyn),
        urls::urls_txt(&urls),
    );
}

#[test]
fn every_example_is_on_a_page() {
    fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => visit(&path, found),
                false => found.push(path),
            }
        }
    }
    let mut examples = Vec::new();
    visit(Path::new(FOLDER), &mut examples);
    let mut pages = Vec::new();
    visit(Path::new(PAGES).parent().unwrap(), &mut pages);
    let text: String = pages
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for example in examples {
        let name = example
            .strip_prefix(FOLDER)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        assert!(
            text.contains(&format!("examples/clients/{name}")),
            "no page names {name}"
        );
    }
}
