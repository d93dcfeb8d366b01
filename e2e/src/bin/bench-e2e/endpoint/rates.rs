//! Answers a second on one core.

use std::time::Duration;

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dynhost::name::Fqdn;
use dynhost::update::protocol::signed::{self, Update};
use dynhost_e2e::Operator;
use dynhost_e2e::stack::Stack;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Host, check_no_change, start_operator};
use crate::load::{Clients, Load, Rate, Saturate};
use crate::report::{Part, Target, median};
use crate::request::{Exchange, dyndns2, own_address, post};

const ROUNDS: usize = 3;
const CONNECTIONS: usize = 32;

/// Answers are given without waiting for anybody, so a short time has many of them.
const TIME: Duration = Duration::from_secs(2);

/// `/ip` answers only public addresses, which a client on this machine does not have.
const CLIENT: &str = "X-Forwarded-For: 9.9.9.9\r\n";

/// As many address checks as can be: each would count as a failing request does. The limit is
/// looked at all the same.
const FLAGS: [&str; 4] = [
    "--trusted-proxies",
    "127.0.0.0/8",
    "--source-rate",
    "1000000000",
];

/// The stack's own operator must be stopped meanwhile.
pub(crate) async fn measure(stack: &Stack, clients: &Clients, hosts: &[Host]) -> Result<Part> {
    let operator = start_operator(stack, &FLAGS).await?;
    for host in hosts {
        check_no_change(&operator, host).await?;
    }
    let own_address = [Exchange {
        request: own_address(CLIENT),
        status: 200,
        body: "9.9.9.9\n".to_owned(),
    }];
    let no_change: Vec<_> = hosts
        .iter()
        .map(|host| Exchange {
            request: dyndns2(&host.hostname, &host.token, &host.address, CLIENT),
            status: 200,
            body: host.no_change(),
        })
        .collect();
    let mut rates: [Rates; 5] = Default::default();
    let [ip, nochg, verify, own, envelope] = &mut rates;
    for _ in 0..ROUNDS {
        ip.push(saturate(&operator, clients, &own_address).await?);
        nochg.push(saturate(&operator, clients, &no_change).await?);
        verify.push(clients.run(&Load::Verify(TIME / 2)).await?);
        own.push(saturate(&operator, clients, &signed(hosts, own_form)?).await?);
        envelope.push(saturate(&operator, clients, &signed(hosts, envelope_form)?).await?);
    }
    operator.terminate().await?;
    Ok(part(&rates))
}

async fn saturate(operator: &Operator, clients: &Clients, exchanges: &[Exchange]) -> Result<Rate> {
    let load = Load::Saturate(Saturate {
        server: operator.update_address(),
        pid: operator.pid().await?,
        exchanges: exchanges.to_vec(),
        connections: CONNECTIONS,
        time: TIME,
    });
    clients.run(&load).await
}

/// One message for each host, signed now: it may be sent again for 5 minutes, since one that
/// changes nothing does not store its time.
fn signed(hosts: &[Host], form: fn(&Host, i64) -> Result<String>) -> Result<Vec<Exchange>> {
    let now = jiff::Timestamp::now().as_second();
    let exchange = |host: &Host| {
        Ok(Exchange {
            request: form(host, now)?,
            status: 200,
            body: host.no_change(),
        })
    };
    hosts.iter().map(exchange).collect()
}

fn own_form(host: &Host, now: i64) -> Result<String> {
    let text = signed::render_text(&Update {
        name: Fqdn::parse(&host.hostname)?,
        at: now.try_into()?,
        ipv4: Some(host.address.parse()?),
        ipv6: None,
        prefix: None,
    });
    let body = signed::render_body(&text, host.pair.sign(&text).as_ref().try_into()?);
    let content_type = "application/octet-stream";
    Ok(post("/signed/update", content_type, str::from_utf8(&body)?))
}

/// As soerenschneider/dyndns signs it.
fn envelope_form(host: &Host, now: i64) -> Result<String> {
    let digest = Sha256::digest(format!("{now}{}{}", host.hostname, host.address));
    let digits: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    let envelope = json!({
        "public_ip": {
            "ipv4": host.address,
            "host": host.hostname,
            "timestamp": jiff::Timestamp::from_second(now)?.to_string(),
        },
        "signature": BASE64_STANDARD.encode(host.pair.sign(digits.as_bytes())),
    });
    Ok(post("/update", "application/json", &envelope.to_string()))
}

/// One a round.
#[derive(Default)]
struct Rates(Vec<Rate>);

impl Rates {
    fn push(&mut self, rate: Rate) {
        self.0.push(rate);
    }

    fn median(&self, of: fn(&Rate) -> f64) -> f64 {
        median(self.0.iter().map(of))
    }

    fn per_second(&self) -> f64 {
        self.median(|rate| rate.per_second)
    }

    fn row(&self, what: &str) -> String {
        let rounds: Vec<_> = self
            .0
            .iter()
            .map(|rate| thousands(rate.per_second))
            .collect();
        format!(
            "| {what} | {} | {} | {} |\n",
            thousands(self.per_second()),
            rounds.join(" / "),
            thousands(self.median(|rate| rate.per_cpu_second)),
        )
    }
}

/// Such as 61.3k.
fn thousands(rate: f64) -> String {
    format!("{:.1}k", rate / 1000.0)
}

fn part(rates: &[Rates; 5]) -> Part {
    let [ip, nochg, verify, own, envelope] = rates;
    let share = 100.0 * nochg.per_second() / ip.per_second();
    let mut page = format!(
        "\n## Answers a second on one core\n\n\
         The operator has core 0 and one thread, the client core 1 and {CONNECTIONS} connections that \
         it keeps. {ROUNDS} rounds of {} s, the requests of one kind after those of the other; status \
         and body of every answer are checked. Limits and metrics are on: `--source-rate` alone is \
         as high as can be, since address checks count by it. Requests carry `X-Forwarded-For: 9.9.9.9` \
         from a trusted proxy (the signed ones do not), for `/ip` tells public addresses only. The \
         signed messages are of {} hosts, whose addresses are stored already: such a message stores \
         nothing, not even its time, and may be sent again for 5 minutes.\n\n\
         | what | answers/s, median | of each round | for each second of the server's CPU time |\n\
         |---|---|---|---|\n",
        TIME.as_secs(),
        super::HOSTS,
    );
    page += &ip.row("`/ip`");
    page += &nochg.row("`nochg` by dyndns2");
    page += &format!("| **`nochg`, of `/ip`** | **{share:.0} %** | | |\n");
    page += &verify.row("Ed25519 verifications by the library alone");
    page += &own.row("`nochg` signed, `POST /signed/update`");
    page += &envelope.row("`nochg` signed, `POST /update` (soerenschneider's envelope)");
    let slower = own.per_second().min(envelope.per_second());
    let rate = |rate: f64| format!("{}/s", thousands(rate));
    let targets = vec![
        Target::alone(
            "`nochg` answers on one core",
            rate(nochg.per_second()),
            "≥ 60k/s",
            nochg.per_second() >= 60_000.0,
        ),
        Target {
            what: "`nochg` answers on one core, of `/ip`".to_owned(),
            floor: Some(rate(ip.per_second())),
            product: rate(nochg.per_second()),
            ratio: Some(share / 100.0),
            target: "≥ 0.60",
            is_met: share >= 60.0,
        },
        Target {
            what: "signed requests on one core".to_owned(),
            floor: Some(rate(verify.per_second())),
            product: rate(slower),
            ratio: Some(slower / verify.per_second()),
            target: "≥ 5k/s",
            is_met: slower >= 5_000.0,
        },
    ];
    Part { page, targets }
}
