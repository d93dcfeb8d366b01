//! Clients that report ever new addresses at whichever replica answers.

use std::{net::SocketAddr, ops::AddAssign, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use super::{History, Outcome, Population, address};
use crate::http::read_response;

/// How long a client waits for an answer: longer than the 10 s within which there is one.
const PATIENCE: Duration = Duration::from_secs(11);

/// Attempts at each report, at one replica after the other.
const ATTEMPTS: usize = 2;

/// How much is reported.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Reports a second of all hosts, where every one is answered in time.
    pub rate: u32,
    /// Every so many reports of a host there is a new address; the others repeat the last one.
    pub change_every: u32,
}

/// What became of the requests, and of the reports that they were attempts at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reports {
    /// Requests that were sent whole.
    pub sent: u64,
    /// `good` or `nochg`.
    pub acknowledged: u64,
    /// 503 `911`: come again.
    pub refused: u64,
    /// No answer, or not all of one.
    pub unanswered: u64,
    /// Connections that were refused: nothing was sent.
    pub unreached: u64,
    /// Reports of which no attempt was acknowledged.
    pub failed: u64,
    /// How long clients reported.
    pub time: Duration,
}

impl AddAssign for Reports {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.unreached += other.unreached;
        self.failed += other.failed;
        self.time = self.time.max(other.time);
    }
}

/// Where clients may ask, which changes as replicas come and go.
type Replicas = Arc<[SocketAddr]>;

/// A client for each host, until it is told to stop. Drop ends them at once.
#[derive(Debug)]
pub struct Load {
    replicas: watch::Sender<Replicas>,
    stop: watch::Sender<bool>,
    clients: JoinSet<Result<(usize, History, Reports)>>,
}

impl Load {
    /// Starts to report.
    pub fn start(population: &Population, replicas: Vec<SocketAddr>, pace: Pace) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (replicas, asked) = watch::channel(Replicas::from(replicas));
        let hosts = population.hostnames.len();
        let step = Duration::from_secs(1) / pace.rate;
        let start = Instant::now();
        let mut clients = JoinSet::new();
        let keys = population.hostnames.iter().zip(&population.tokens);
        for (number, (hostname, token)) in keys.enumerate() {
            let client = Client {
                number,
                hostname: hostname.clone(),
                credentials: BASE64_STANDARD.encode(format!("router:{token}")),
                change_every: pace.change_every,
                replicas: asked.clone(),
                stopped: stopped.clone(),
                history: History::default(),
                reports: Reports::default(),
            };
            let first = start + step * u32::try_from(number).unwrap_or_default();
            let period = step * u32::try_from(hosts).unwrap_or_default();
            clients.spawn(client.run(first, period));
        }
        Self {
            replicas,
            stop,
            clients,
        }
    }

    /// From now on clients ask these.
    pub fn ask(&self, replicas: Vec<SocketAddr>) {
        self.replicas.send_replace(replicas.into());
    }

    /// Lets each client finish its report, and gives the histories in the order of the hosts.
    ///
    /// # Errors
    /// Where a client was told anything but that its report is stored or that it may come again.
    pub async fn finish(mut self) -> Result<(Vec<History>, Reports)> {
        self.stop.send_replace(true);
        let mut histories = vec![History::default(); self.clients.len()];
        let mut all = Reports::default();
        while let Some(ended) = self.clients.join_next().await {
            let (number, history, reports) = ended??;
            histories[number] = history;
            all += reports;
        }
        Ok((histories, all))
    }
}

struct Client {
    number: usize,
    hostname: String,
    credentials: String,
    change_every: u32,
    replicas: watch::Receiver<Replicas>,
    stopped: watch::Receiver<bool>,
    history: History,
    reports: Reports,
}

/// What became of one request.
enum Answer {
    Acknowledged,
    Refused,
    Unanswered,
    Unreached,
}

impl Client {
    async fn run(mut self, first: Instant, period: Duration) -> Result<(usize, History, Reports)> {
        let start = Instant::now();
        let mut due = interval_at(first, period);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopped = self.stopped.clone();
        for turn in 0.. {
            tokio::select! {
                _ended = stopped.wait_for(|stopped| *stopped) => break,
                _ = due.tick() => {}
            }
            let value = turn / self.change_every;
            let outcome = self.report(value, turn).await?;
            self.history.note(value, outcome);
        }
        self.reports.time = start.elapsed();
        Ok((self.number, self.history, self.reports))
    }

    async fn report(&mut self, value: u32, turn: u32) -> Result<Outcome> {
        let mut former = None;
        for _ in 0..ATTEMPTS {
            let replica = self.next_replica(turn, former)?;
            former = Some(replica);
            let answer = self.send(replica, value).await?;
            self.reports.sent += u64::from(!matches!(answer, Answer::Unreached));
            match answer {
                Answer::Acknowledged => {
                    self.reports.acknowledged += 1;
                    return Ok(Outcome::Acknowledged);
                }
                Answer::Refused => self.reports.refused += 1,
                Answer::Unanswered => self.reports.unanswered += 1,
                Answer::Unreached => self.reports.unreached += 1,
            }
        }
        self.reports.failed += 1;
        Ok(Outcome::Unknown)
    }

    /// Each host asks all of them in turn, and another one than the one that has just failed it, though
    /// the list may have changed meanwhile.
    fn next_replica(&self, turn: u32, failed: Option<SocketAddr>) -> Result<SocketAddr> {
        let replicas = self.replicas.borrow();
        let first = self.number + turn as usize;
        let in_turn = (0..replicas.len()).map(|step| replicas[(first + step) % replicas.len()]);
        let mut others = in_turn.filter(|replica| Some(*replica) != failed);
        others.next().or(failed).context("there are no replicas")
    }

    async fn send(&self, replica: SocketAddr, value: u32) -> Result<Answer> {
        let Self {
            hostname,
            credentials,
            ..
        } = self;
        let address = address(value);
        let request = format!(
            "GET /nic/update?hostname={hostname}&myip={address} HTTP/1.1\r\nHost: {replica}\r\n\
             Authorization: Basic {credentials}\r\nConnection: close\r\n\r\n"
        );
        let Ok(Ok(mut stream)) = timeout(PATIENCE, TcpStream::connect(replica)).await else {
            return Ok(Answer::Unreached);
        };
        let exchange = async {
            stream.write_all(request.as_bytes()).await?;
            read_response(&mut stream).await
        };
        let Ok(Ok(response)) = timeout(PATIENCE, exchange).await else {
            return Ok(Answer::Unanswered);
        };
        let text = response.text();
        let is_stored = [format!("good {address}"), format!("nochg {address}")].contains(&text);
        match (response.status, text.as_str()) {
            (200, _) if is_stored => Ok(Answer::Acknowledged),
            (503, "911") => {
                let retry_after = response.header("retry-after");
                retry_after.context("503 without Retry-After")?;
                Ok(Answer::Refused)
            }
            (status, text) => bail!("{hostname} was answered {status} {text:?}"),
        }
    }
}
