//! Update clients as people install them: what they log and how they end, whatever the endpoint says.

use dynhost_crds::host::DynamicHost;
use dynhost_e2e::{
    Mode, Operator, Scratch, Stack, TcpProxy, ZoneOptions, debian_program, python_program,
    scratch::write_private, stack::operator_kubeconfig,
};
use futures::future::join_all;
use serde_json::Value;
use std::net::SocketAddr;

use super::program::{Ran, program, run, run_until};
use super::{addresses, observed, operator_arguments, stack};

const ADDRESS: &str = "198.51.100.7";
const NEW_ADDRESS: &str = "198.51.100.8";
const WRONG_KEY: &str = "TheUpdateKeyOfNobodyAtAll0123456";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Ddclient,
    Inadyn,
    Dyndnsc,
    /// PyPI ddns, which sends credentials when asked.
    DdnsNoIp,
    /// The same, with a form.
    DdnsHe,
    Curl,
    GnuWget,
    BusyboxWget,
}

use Client::{BusyboxWget, Curl, Ddclient, DdnsHe, DdnsNoIp, Dyndnsc, GnuWget, Inadyn};

const CLIENTS: [Client; 8] = [
    Ddclient,
    Inadyn,
    Dyndnsc,
    DdnsNoIp,
    DdnsHe,
    Curl,
    GnuWget,
    BusyboxWget,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Situation {
    NewAddress,
    SameAddress,
    WrongKey,
    UnknownName,
    NoApiServer,
}

use Situation::{NewAddress, NoApiServer, SameAddress, UnknownName, WrongKey};

/// Exit status (`None`: it goes on) and what the log has to say.
fn expected(client: Client, situation: Situation) -> (Option<i32>, &'static str) {
    match (client, situation) {
        (Ddclient, NewAddress) => (Some(0), "good: IP address set to 198.51.100.7"),
        (Ddclient, SameAddress) => (Some(0), "nochg: No update required"),
        (Ddclient, WrongKey) => (Some(1), "authorization failed (HTTP/1.1 401 Unauthorized"),
        // Nothing but what `-verbose` shows of the answer.
        (Ddclient, UnknownName) => (Some(0), "RECEIVE:  nohost"),
        (Ddclient, NoApiServer) => (Some(0), "RECEIVE:  HTTP/1.1 503 Service Unavailable"),

        (Inadyn, NewAddress | SameAddress) => (Some(0), "Updating cache for inadyn."),
        (Inadyn, WrongKey) => (Some(50), "[401 Unauthorized] badauth"),
        (Inadyn, UnknownName) => (Some(48), "[404 Not Found] nohost"),
        (Inadyn, NoApiServer) => (None, "Will retry again in 600 sec ..."),

        (Dyndnsc, NewAddress) => (Some(0), "status 200, good 198.51.100.7"),
        (Dyndnsc, SameAddress) => (Some(0), "status 200, nochg 198.51.100.7"),
        (Dyndnsc, WrongKey) => (Some(0), "status 401, badauth"),
        (Dyndnsc, UnknownName) => (Some(0), "status 404, nohost"),
        (Dyndnsc, NoApiServer) => (Some(0), "status 503, 911"),

        (DdnsNoIp | DdnsHe, NewAddress | SameAddress) => {
            (Some(0), "[IPv4]: 198.51.100.7 successfully.")
        }
        (DdnsNoIp | DdnsHe, WrongKey) => (Some(1), "response status: 401 Unauthorized"),
        (DdnsNoIp, UnknownName) => (Some(1), "does not exist under No-IP account"),
        (DdnsHe, UnknownName) => (Some(1), "HE API error: nohost"),
        (DdnsNoIp | DdnsHe, NoApiServer) => (Some(1), "HTTP 503 error, retrying in 2 seconds"),

        (Curl | GnuWget | BusyboxWget, NewAddress) => (Some(0), "good 198.51.100.7"),
        (Curl | GnuWget | BusyboxWget, SameAddress) => (Some(0), "nochg 198.51.100.7"),
        (Curl, WrongKey) => (Some(22), "curl: (22) The requested URL returned error: 401"),
        (Curl, UnknownName) => (Some(22), "curl: (22) The requested URL returned error: 404"),
        (Curl, NoApiServer) => (Some(22), "curl: (22) The requested URL returned error: 503"),
        (GnuWget, WrongKey) => (Some(6), "Username/Password Authentication Failed."),
        (GnuWget, UnknownName) => (Some(8), "ERROR 404: Not Found."),
        (GnuWget, NoApiServer) => (Some(8), "ERROR 503: Service Unavailable."),
        (BusyboxWget, WrongKey) => (Some(1), "server returned error: HTTP/1.1 401 Unauthorized"),
        (BusyboxWget, UnknownName) => (Some(1), "server returned error: HTTP/1.1 404 Not Found"),
        (BusyboxWget, NoApiServer) => (
            Some(1),
            "server returned error: HTTP/1.1 503 Service Unavailable",
        ),
    }
}

impl Client {
    /// The label of this client's host.
    fn label(self) -> &'static str {
        match self {
            Ddclient => "ddclient",
            Inadyn => "inadyn",
            Dyndnsc => "dyndnsc",
            DdnsNoIp => "ddns-noip",
            DdnsHe => "ddns-he",
            Curl => "curl",
            GnuWget => "wget",
            BusyboxWget => "busybox",
        }
    }

    /// Reports `address` once. `goes_on`: the client is known not to end; it is ended at that line.
    async fn report(
        self,
        server: SocketAddr,
        name: &str,
        key: &str,
        address: &str,
        goes_on: Option<&str>,
    ) -> Ran {
        let scratch = Scratch::new(self.label()).unwrap();
        let home = scratch.path();
        let file = |name: &str| home.join(name).to_str().unwrap().to_owned();
        let with_key = format!("http://router:{key}@{server}");
        let url = format!("{with_key}/nic/update?hostname={name}&myip={address}");
        let config = file("config");
        let path = match self {
            Dyndnsc => python_program("dyndnsc").await,
            DdnsNoIp | DdnsHe => python_program("ddns").await,
            BusyboxWget => debian_program("busybox").await,
            GnuWget => debian_program("wget").await,
            Ddclient | Inadyn | Curl => debian_program(self.label()).await,
        };
        let mut command = program(path.unwrap(), home);
        match self {
            Ddclient => {
                let text = format!(
                    "syslog=no\nssl=no\nprotocol=dyndns2\nserver={server}\nuse=ip, ip={address}\n\
                     login=router\npassword='{key}'\n{name}\n"
                );
                write_private(config.as_ref(), &text).unwrap();
                command.args(["-daemon=0", "-foreground", "-verbose", "-noquiet", "-force"]);
                command.args([
                    "-file",
                    &config,
                    "-cache",
                    &file("cache"),
                    "-pid",
                    &file("pid"),
                ])
            }
            Inadyn => {
                let text = format!(
                    "custom {name} {{\nssl = false\nddns-server = \"{server}\"\n\
                     ddns-path = \"/nic/update?hostname=%h&myip=%i\"\nusername = router\n\
                     password = {key}\nhostname = {name}\ncheckip-command = \"echo {address}\"\n}}\n"
                );
                write_private(config.as_ref(), &text).unwrap();
                command.args(["-1", "-n", "--force", "--no-pidfile", "-f", &config]);
                command.arg(format!("--cache-dir={}", home.display()))
            }
            Dyndnsc => {
                let url = format!("http://{server}/nic/update");
                command.args(["--debug", "--log-json", "--updater-dyndns2"]);
                command.args(["--updater-dyndns2-hostname", name]);
                command.args(["--updater-dyndns2-userid", "router"]);
                command.args(["--updater-dyndns2-password", key]);
                command.args(["--updater-dyndns2-url", &url, "--detector-command"]);
                command.args(["--detector-command-command", &format!("echo {address}")])
            }
            DdnsNoIp | DdnsHe => {
                command.args(["--endpoint", &format!("http://{server}")]);
                match self {
                    DdnsHe => command.args(["--dns", "he"]),
                    _ => command.args(["--dns", "noip", "--id", "router"]),
                };
                command.args(["--token", key, "--ipv4", name, "--no-cache"]);
                command.args(["--index4", &format!("shell:echo {address}")])
            }
            Curl => command.args(["-fsS", &url]),
            GnuWget => command.args(["-nv", "-O", "-", &url]),
            BusyboxWget => command.args(["wget", "-q", "-O", "-", &url]),
        };
        match goes_on {
            Some(line) => run_until(&mut command, line).await,
            None => run(&mut command).await,
        }
    }
}

/// A client with the host that it reports for.
struct Subject<'a> {
    client: Client,
    stack: &'a Stack,
    host: DynamicHost,
    key: String,
}

impl Subject<'_> {
    async fn observed(&self) -> Value {
        observed(self.stack, &self.host).await.unwrap()
    }

    /// Checks what the client says and how it ends; what is stored is for the caller to check.
    async fn check(&self, situation: Situation, server: SocketAddr) {
        let client = self.client;
        let unknown = format!("nowhere.{}", self.host.spec.hostname);
        let name = if situation == UnknownName {
            &unknown
        } else {
            &self.host.spec.hostname
        };
        let key = if situation == WrongKey {
            WRONG_KEY
        } else {
            &self.key
        };
        let address = match situation {
            NewAddress | SameAddress => ADDRESS,
            WrongKey | UnknownName | NoApiServer => NEW_ADDRESS,
        };
        let (status, line) = expected(client, situation);
        let goes_on = status.is_none().then_some(line);
        let ran = client.report(server, name, key, address, goes_on).await;
        let found = (ran.status, ran.said.contains(line));
        assert_eq!(
            found,
            (status, true),
            "{client:?} {situation:?}: {line:?}\n{}",
            ran.said
        );
        if client == Ddclient && matches!(situation, UnknownName | NoApiServer) {
            let is_silent = ["SUCCESS", "WARNING", "FAILED"]
                .iter()
                .all(|w| !ran.said.contains(w));
            assert!(is_silent, "{situation:?}\n{}", ran.said);
        }
    }
}

#[tokio::test]
async fn clients_log_and_end_as_the_endpoint_says() {
    let stack = stack().await.unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let zone = &zone;
    let subjects = join_all(CLIENTS.map(|client| async move {
        let host = zone.host(client.label());
        let key = stack.create_host(&host).await.unwrap();
        Subject {
            client,
            stack,
            host,
            key,
        }
    }))
    .await;
    let server = stack.operator.update_address();
    join_all(subjects.iter().map(|subject| async {
        subject.check(NewAddress, server).await;
        let stored = subject.observed().await;
        assert_eq!(addresses(&stored), [ADDRESS], "{:?}", subject.client);
        for situation in [SameAddress, WrongKey, UnknownName] {
            subject.check(situation, server).await;
            assert_eq!(
                subject.observed().await,
                stored,
                "{:?} {situation:?}",
                subject.client
            );
        }
    }))
    .await;

    // An endpoint of its own, which loses its API server.
    let api = stack.control_plane.api_address();
    let proxy = TcpProxy::start(api).await.unwrap();
    let through = Some(proxy.address());
    let kubeconfig = operator_kubeconfig(&stack.control_plane, through)
        .await
        .unwrap();
    let mut arguments = operator_arguments();
    arguments.push("--no-controller".to_owned());
    let endpoint = Operator::start(&kubeconfig, &arguments).await.unwrap();
    proxy.set_mode(Mode::Cut);
    join_all(subjects.iter().map(|subject| async {
        subject.check(NoApiServer, endpoint.update_address()).await;
        let stored = subject.observed().await;
        assert_eq!(addresses(&stored), [ADDRESS], "{:?}", subject.client);
    }))
    .await;
}

/// ddclient 3.10 gives each name the line that stands in its place.
#[tokio::test]
async fn ddclient_with_two_names_hears_of_each() {
    let stack = stack().await.unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let (mut home, mut nas) = (zone.host("home"), zone.host("nas"));
    for host in [&mut home, &mut nas] {
        host.spec.auth.secret_name = Some("router".to_owned());
    }
    let key = stack.create_host(&home).await.unwrap();
    stack.create_host(&nas).await.unwrap();
    let (home, nas) = (&home.spec.hostname, &nas.spec.hostname);
    let server = stack.operator.update_address();
    let report = async |names: &str| Ddclient.report(server, names, &key, ADDRESS, None).await;
    let check = |ran: &Ran, lines: [String; 2]| {
        for line in lines {
            assert!(ran.said.contains(&line), "no {line:?} in\n{}", ran.said);
        }
    };
    let good = |name: &str| format!("updating {name}: good: IP address set to {ADDRESS}");
    let same = |name: &str| format!("updating {name}: nochg: No update required");
    check(
        &report(&format!("{home},{nas}")).await,
        [good(home), good(nas)],
    );
    check(
        &report(&format!("{home},{nas}")).await,
        [same(home), same(nas)],
    );
    // A name that is wrong does not spoil the other one's line.
    let unknown = format!("a.{home}");
    let ran = report(&format!("{unknown},{nas}")).await;
    check(
        &ran,
        [
            format!("updating {unknown}: nohost: The hostname specified"),
            same(nas),
        ],
    );
}
