//! A zone whose server is gone, beside one whose server answers.

use std::time::Duration;

use anyhow::{Result, ensure};
use dynhost_crds::host::DynamicHost;
use dynhost_e2e::stack::{Stack, StackOptions, Zone, ZoneOptions};
use dynhost_e2e::{Mode, TcpProxy};
use tokio::time::{Instant, sleep, sleep_until};

use crate::load::{ask, connect};
use crate::population::Population;
use crate::product;
use crate::report::{Part, Target};
use crate::scale::clients;
use crate::timing::Timing;

/// Hosts of the zone whose server goes.
const HOSTS: usize = 2000;

/// Updates of the healthy zone's host, in each phase.
const UPDATES: usize = 1000;

/// Between two reports of the other zone's hosts, one host after the other.
const EVERY: Duration = Duration::from_millis(25);

/// What the server of the other zone does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    Answers,
    Silent,
    Closed,
}

struct Bench {
    stack: Stack,
    healthy: Zone,
    host: DynamicHost,
    token: String,
    other: Population,
    round: usize,
}

pub(crate) async fn measure(options: StackOptions, hosts: usize) -> Result<Part> {
    let stack = Stack::start(options).await?;
    stack.control_plane.stop_controller_manager().await?;
    let healthy = stack.create_zone(ZoneOptions::default()).await?;
    let host = healthy.host("bench");
    let token = stack.create_host(&host).await?;
    let proxy = TcpProxy::start(stack.bind.address()).await?;
    let through_proxy = ZoneOptions {
        servers: Some(vec![proxy.address().to_string()]),
        ..ZoneOptions::default()
    };
    let hosts = HOSTS.min(hosts);
    let other = Population::create(&stack, through_proxy, hosts).await?;
    stack.operator.start_again().await?;
    let mut bench = Bench {
        stack,
        healthy,
        host,
        token,
        other,
        round: 0,
    };
    let mut all = Vec::new();
    let first = bench.phase().await?;
    proxy.set_mode(Mode::Hold);
    all.push((Server::Silent, bench.phase().await?));
    proxy.set_mode(Mode::Pass);
    let second = bench.phase().await?;
    drop(proxy);
    all.push((Server::Closed, bench.phase().await?));
    all.insert(0, (Server::Answers, first.and(second)));
    Ok(part(hosts, &all))
}

impl Bench {
    /// Every host of the other zone reports another address, and some go on doing so while the
    /// healthy zone's host is measured.
    async fn phase(&mut self) -> Result<Timing> {
        self.round += 1;
        let all = 0..self.other.size();
        let reports = all
            .map(|host| self.other.report(host, self.round))
            .collect();
        let server = self.stack.operator.update_address();
        clients(server, reports).await?;
        settle(&self.stack).await?;
        self.round += 1;
        let Self {
            stack,
            healthy,
            host,
            token,
            other,
            round,
        } = self;
        let reports = async {
            let mut due = Instant::now();
            let mut connection = connect(server, [127, 0, 0, 1].into()).await?;
            loop {
                for host in 0..other.size() {
                    let report = other.report(host, *round);
                    let (status, body) = ask(&mut connection, &report).await?;
                    ensure!(report.expects(status, &body), "answered {status}");
                    due += EVERY;
                    sleep_until(due).await;
                }
                *round += 1;
            }
        };
        tokio::select! {
            updates = product::updates(stack, healthy, host, token, UPDATES) => Ok(updates?.in_dns),
            failed = reports => failed,
        }
    }
}

/// Waits until the operator has said of all hosts what there is to say.
async fn settle(stack: &Stack) -> Result<()> {
    const STEP: Duration = Duration::from_millis(500);
    const STEPS: u32 = 6;
    const LIMIT: Duration = Duration::from_secs(120);
    let start = Instant::now();
    let mut quiet = 0;
    let mut before = product::api_writes(&stack.operator).await?;
    while quiet < STEPS && start.elapsed() < LIMIT {
        sleep(STEP).await;
        let now = product::api_writes(&stack.operator).await?;
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
    Ok(())
}

fn part(hosts: usize, all: &[(Server, Timing)]) -> Part {
    let mut page = format!(
        "\n## A dead zone beside a healthy one\n\nThe other zone has {hosts} hosts. All of them have \
         reported another address before each measurement, and go on doing so, one every {} ms, while \
         the healthy zone's host is updated, one update after the other. That the other zone's server \
         answers was measured before and between the other two.\n\n\
         | update in the healthy zone until BIND answers with it | n | p50 | p99 |\n|---|---|---|---|\n",
        EVERY.as_millis()
    );
    let mut targets = Vec::new();
    let quiet = all.first().map(|(_, timing)| timing.clone());
    for (server, timing) in all {
        page += &timing.row(match server {
            Server::Answers => "the other zone's server answers",
            Server::Silent => "it takes connections and never answers",
            Server::Closed => "its port is closed",
        });
        let (Some(quiet), Server::Silent | Server::Closed) = (&quiet, server) else {
            continue;
        };
        let ratio = timing.p99() / quiet.p99();
        targets.push(Target {
            what: match server {
                Server::Silent => "update beside a zone whose server is silent, p99".to_owned(),
                _ => "update beside a zone whose server's port is closed, p99".to_owned(),
            },
            floor: Some(format!("{:.2} ms", quiet.p99())),
            product: format!("{:.2} ms", timing.p99()),
            ratio: Some(ratio),
            target: "< 1.20",
            is_met: ratio < 1.2,
        });
    }
    Part { page, targets }
}
