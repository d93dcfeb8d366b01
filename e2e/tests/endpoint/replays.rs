//! What an older signed request, or a copy of one, meets: a replica that lags, another dialect, the
//! script of 2012 whose hash does not cover the address.

use std::net::{Ipv4Addr, SocketAddr};

use dynhost_crds::conditions::{ConditionType, Reason};
use dynhost_crds::key::{SHA1_SECRET, TOKEN};
use dynhost_e2e::{
    Operator, Stack, ZoneOptions, await_condition, random_hex,
    stack::{LIMIT, condition, operator_kubeconfig},
};
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use super::caller::Caller;
use super::replica;
use super::signing::{SHA1_USER, Signer, now, rfc_3339, sha1_script};
use super::stored::{Home, change_secret, supply};

/// A globally reachable address (of AS112, RFC 7535).
const SOURCE: &str = "192.31.196.27";

fn ok(body: &str) -> (u16, String) {
    (200, body.to_owned())
}

fn refused() -> (u16, String) {
    (401, "badauth".to_owned())
}

/// A proxy whose connections so far can be made to say nothing more, while new ones work: watches
/// lag, and patches do not. Drop closes it.
struct Lag {
    address: SocketAddr,
    hold: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Lag {
    async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (hold, held) = watch::channel(false);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let held = (!*held.borrow()).then(|| held.clone());
                connections.spawn(relay(client, server, held));
            }
        });
        Self {
            address,
            hold,
            accepting,
        }
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(mut client: TcpStream, server: SocketAddr, held: Option<watch::Receiver<bool>>) {
    let mut server = TcpStream::connect(server).await.unwrap();
    let until_held = async {
        if let Some(mut held) = held {
            let _ended = held.wait_for(|held| *held).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    select! {
        _ended = copy_bidirectional(&mut client, &mut server) => {}
        () = until_held => std::future::pending().await,
    }
}

#[tokio::test]
async fn an_endpoint_that_lags_behind_stores_no_older_message() {
    let stack = Stack::shared().await.unwrap();
    let lag = Lag::start(stack.control_plane.api_address()).await;
    let kubeconfig = operator_kubeconfig(&stack.control_plane, Some(lag.address)).await;
    let arguments = ["--no-controller".to_owned()];
    let endpoint = Operator::start(&kubeconfig.unwrap(), &arguments)
        .await
        .unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let signer = Signer::new();
    let spec = json!({"auth": {"publicKeys": [signer.public_key()]}});
    let home = Home::new((stack, &endpoint), &zone, "home", spec).await;
    let send = async |endpoint: &Operator, at: i64, address: &str| {
        let message = signer.signed(&home.name, at, [address, "", ""]);
        Caller::new(endpoint).send(&message).await
    };
    let at = now() - 60;
    let answer = send(&stack.operator, at, "198.51.100.1").await;
    assert_eq!(answer, ok("good 198.51.100.1"));
    await_condition("the other endpoint hears of it", LIMIT, async || {
        let answer = send(&endpoint, at + 1, "198.51.100.1").await;
        Ok((answer == ok("nochg 198.51.100.1")).then_some(()))
    })
    .await
    .unwrap();

    lag.hold.send_replace(true);
    let answer = send(&stack.operator, at + 9, "198.51.100.9").await;
    assert_eq!(answer, ok("good 198.51.100.9"));
    let stored = home.observed().await;
    let mark = stack.control_plane.audit_mark().await.unwrap();
    // The other family: its value is what this endpoint believes, but the time is not.
    let older = signer.signed(&home.name, at + 5, ["", "2001:db8::5", ""]);
    let answer = await_condition("a new connection is used", LIMIT, async || {
        let answer = Caller::new(&endpoint).send(&older).await;
        Ok((answer.0 != 503).then_some(answer))
    });
    assert_eq!(answer.await.unwrap(), refused());
    let events = stack.control_plane.audit_events(mark).await.unwrap();
    let refusals = events.iter().filter(|event| {
        event.namespace == zone.namespace && event.verb == "patch" && event.code == 422
    });
    // It did not know better, and the API server did.
    assert_eq!(refusals.count(), 1, "{events:#?}");
    for address in ["198.51.100.1", "198.51.100.9"] {
        assert_eq!(send(&endpoint, at + 9, address).await, refused());
    }
    assert_eq!(home.observed().await, stored);
    // Newer ones count all the same.
    assert_eq!(
        send(&endpoint, at + 10, "198.51.100.10").await,
        ok("good 198.51.100.10")
    );
    home.await_dns(&["198.51.100.10"], &[]).await;
}

#[tokio::test]
async fn a_message_that_one_replica_took_is_refused_by_the_other() {
    let stack = Stack::shared().await.unwrap();
    // It may write DNS, too, as soon as nobody else does.
    let other = stack.start_replica(Vec::new()).await.unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let signer = Signer::new();
    let spec = json!({"auth": {"publicKeys": [signer.public_key()]}});
    let home = Home::new((stack, &other), &zone, "home", spec).await;
    let at = now() - 60;
    for (n, first, second) in [(1, &stack.operator, &other), (11, &other, &stack.operator)] {
        let send = async |to: &Operator, n: i64| {
            let address = format!("198.51.100.{n}");
            let message = signer.signed(&home.name, at + n, [&address, "", ""]);
            Caller::new(to).send(&message).await
        };
        for n in [n, n + 1] {
            assert_eq!(send(first, n).await, ok(&format!("good 198.51.100.{n}")));
        }
        let stored = home.observed().await;
        // Whether the other one has heard of it or not.
        for _ in 0..3 {
            assert_eq!(send(second, n).await, refused());
        }
        assert_eq!(home.observed().await, stored);
        let newest = format!("198.51.100.{}", n + 1);
        home.await_dns(&[newest.as_str()], &[]).await;
    }
}

#[tokio::test]
async fn all_signed_dialects_have_one_time() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let signer = Signer::new();
    let secret = random_hex(16).unwrap();
    let data = [(TOKEN, &*random_hex(16).unwrap()), (SHA1_SECRET, &*secret)];
    supply(stack, &zone, "home-update-key", &data).await;
    let keys = [signer.public_key()];
    let spec = json!({"auth": {"publicKeys": keys, "sha1Script": {"user": SHA1_USER}}});
    let home = Home::new((stack, endpoint), &zone, "home", spec).await;
    let name = &home.name;
    let caller = Caller::new(endpoint).source(SOURCE);
    let at = now() - 8;
    /// What a request says beside its time.
    #[derive(Clone, Copy, Debug)]
    enum Form {
        Signed,
        Envelope,
        Script,
    }
    use Form::{Envelope, Script, Signed};
    let check = async |form: Form, n: i64, address: &str, expected: (u16, String), stored: i64| {
        let request = match form {
            Signed => signer.signed(name, at + n, [address, "", ""]),
            Envelope => signer.envelope(name, &rfc_3339(at + n), address, ""),
            Script => sha1_script(SHA1_USER, name, at + n, &secret),
        };
        assert_eq!(caller.send(&request).await, expected, "{form:?} {n}");
        let signed_at = home.observed().await.signed_at.unwrap();
        assert_eq!(signed_at.as_second(), at + stored, "{form:?} {n}");
        // Whole seconds, whatever the client has.
        assert_eq!(signed_at.subsec_nanosecond(), 0);
    };
    let good = |address: &str| ok(&format!("good {address}"));
    let same = |address: &str| ok(&format!("nochg {address}"));
    check(Envelope, 0, "198.51.100.1", good("198.51.100.1"), 0).await;
    for form in [Signed, Envelope, Script] {
        check(form, 0, "198.51.100.2", refused(), 0).await;
        check(form, -1, "198.51.100.2", refused(), 0).await;
    }
    check(Signed, 1, "198.51.100.2", good("198.51.100.2"), 1).await;
    for form in [Envelope, Script] {
        check(form, 1, "198.51.100.3", refused(), 1).await;
    }
    // What changes nothing writes nothing, and so may be sent again.
    for _ in 0..2 {
        check(Envelope, 3, "198.51.100.2", same("198.51.100.2"), 1).await;
    }
    check(Script, 2, "", good(SOURCE), 2).await;
    check(Signed, 2, "198.51.100.4", refused(), 2).await;
    // But for the script of 2012.
    check(Script, 4, "", same(SOURCE), 4).await;
    check(Script, 4, "", refused(), 4).await;
    check(Envelope, 3, "198.51.100.2", refused(), 4).await;
    // An update key has no time.
    let answer = caller.update(name, &home.token, "198.51.100.5").await;
    assert_eq!(answer, good("198.51.100.5"));
    check(Signed, 4, "198.51.100.6", refused(), 4).await;
    check(Signed, 5, "198.51.100.6", good("198.51.100.6"), 5).await;
}

#[tokio::test]
async fn a_copy_of_the_2012_scripts_request_publishes_nobody_elses_address() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let secret = random_hex(16).unwrap();
    // One line end is an editor's. A token is not needed.
    let data = [(SHA1_SECRET, &*format!("{secret}\n"))];
    supply(stack, &zone, "home-update-key", &data).await;
    let home = Home::of_script(stack, &zone).await;
    home.await_key(Reason::Supplied).await;
    let name = &home.name;
    let caller = Caller::new(endpoint).source(SOURCE);
    let thief = Caller::new(endpoint).source("192.31.196.99");
    let request = |at| sha1_script(SHA1_USER, name, at, &secret);

    let at = now() - 8;
    await_condition("the endpoint knows the host", LIMIT, async || {
        let answer = caller.send(&request(at)).await;
        Ok((answer == ok(&format!("good {SOURCE}"))).then_some(()))
    })
    .await
    .unwrap();
    let first = home.observed().await;
    assert_eq!(
        caller.send(&request(at + 1)).await,
        ok(&format!("nochg {SOURCE}"))
    );
    let second = home.observed().await;
    assert_eq!(second.ipv4, first.ipv4);
    assert_eq!(second.signed_at.unwrap().as_second(), at + 1);
    let elsewhere = replica::start(stack, &["--trusted-proxies", replica::TRUSTED]).await;
    let elsewhere = Caller::new(&elsewhere).source(SOURCE);
    for copy in [at, at + 1] {
        for caller in [&caller, &thief, &elsewhere] {
            assert_eq!(caller.send(&request(copy)).await, refused());
        }
    }
    for (what, wrong) in [
        ("the user", sha1_script("bob", name, at + 2, &secret)),
        ("no user", sha1_script("", name, at + 2, &secret)),
        (
            "the secret",
            sha1_script(SHA1_USER, name, at + 2, "another"),
        ),
        (
            "the line end",
            sha1_script(SHA1_USER, name, at + 2, &format!("{secret}\n")),
        ),
        ("no secret", sha1_script(SHA1_USER, name, at + 2, "")),
        ("too old", request(now() - 20)),
        ("of the future", request(now() + 10)),
    ] {
        assert_eq!(caller.send(&wrong).await, refused(), "{what}");
    }
    assert_eq!(home.observed().await, second);
    home.await_dns(&[SOURCE], &[]).await;
    assert_eq!(thief.send(&request(at + 2)).await, ok("good 192.31.196.99"));
}

#[tokio::test]
async fn a_host_of_the_2012_script_needs_its_secret() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let home = Home::of_script(stack, &zone).await;
    // Generated, with a token alone.
    let host = home.await_key(Reason::Invalid).await;
    let said = &condition(&host, ConditionType::KeyReady).unwrap().message;
    assert_eq!(
        said,
        "the Secret home-update-key has no sha1Secret, which auth.sha1Script needs"
    );
    let caller = Caller::new(endpoint).source(SOURCE);
    let at = now();
    let request = sha1_script(SHA1_USER, &home.name, at, "");
    assert_eq!(caller.send(&request).await, refused());

    change_secret(
        stack,
        &zone,
        "home-update-key",
        json!({(SHA1_SECRET): "s3cret"}),
    )
    .await;
    home.await_key(Reason::Generated).await;
    await_condition("the endpoint knows the secret", LIMIT, async || {
        let request = sha1_script(SHA1_USER, &home.name, now(), "s3cret");
        Ok((caller.send(&request).await == ok(&format!("good {SOURCE}"))).then_some(()))
    })
    .await
    .unwrap();
    home.await_dns(&[SOURCE], &[]).await;
}
