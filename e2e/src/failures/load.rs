//! Clients that report ever new addresses at whichever replica answers.

use std::{
    net::SocketAddr,
    ops::AddAssign,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

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
use crate::{SeededRandom, http::read_response};

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
    /// Clients at a time. Each has one host after the other, as long as there are some that nobody has
    /// had: a host that is left in the middle of what fails is mended by no later report.
    pub clients: usize,
    /// A client leaves a host with a new address and after so many reports at most, or some more until
    /// the next new one.
    pub stay: u32,
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

/// Clients, until they are told to stop. Drop ends them at once.
#[derive(Debug)]
pub struct Load {
    replicas: watch::Sender<Replicas>,
    stop: watch::Sender<bool>,
    clients: JoinSet<Result<Reported>>,
    hosts: usize,
}

impl Load {
    /// Starts to report.
    pub fn start(population: &Population, replicas: Vec<SocketAddr>, pace: Pace) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (replicas, asked) = watch::channel(Replicas::from(replicas));
        let keys = population.hostnames.iter().zip(&population.tokens);
        let hosts: Arc<[Host]> = keys
            .map(|(hostname, token)| Host {
                hostname: hostname.clone(),
                credentials: BASE64_STANDARD.encode(format!("router:{token}")),
            })
            .collect();
        let count = pace.clients.min(hosts.len());
        let next = Arc::new(AtomicUsize::new(count));
        let step = Duration::from_secs(1) / pace.rate;
        let start = Instant::now();
        let mut clients = JoinSet::new();
        for number in 0..count {
            let client = Client {
                number,
                hosts: hosts.clone(),
                next: next.clone(),
                pace,
                random: SeededRandom(number as u64),
                replicas: asked.clone(),
                stopped: stopped.clone(),
                reports: Reports::default(),
            };
            let first = start + step * u32::try_from(number).unwrap_or_default();
            let period = step * u32::try_from(count).unwrap_or_default();
            clients.spawn(client.run(first, period));
        }
        Self {
            replicas,
            stop,
            clients,
            hosts: hosts.len(),
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
        let mut histories = vec![History::default(); self.hosts];
        let mut all = Reports::default();
        while let Some(ended) = self.clients.join_next().await {
            let reported = ended??;
            for (number, history) in reported.histories {
                histories[number] = history;
            }
            all += reported.reports;
        }
        Ok((histories, all))
    }
}

/// What one client has to tell in the end.
#[derive(Debug)]
struct Reported {
    /// Of the hosts that it had, by their numbers.
    histories: Vec<(usize, History)>,
    reports: Reports,
}

struct Host {
    hostname: String,
    credentials: String,
}

struct Client {
    number: usize,
    hosts: Arc<[Host]>,
    /// The first host that nobody has had.
    next: Arc<AtomicUsize>,
    pace: Pace,
    random: SeededRandom,
    replicas: watch::Receiver<Replicas>,
    stopped: watch::Receiver<bool>,
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
    async fn run(mut self, first: Instant, period: Duration) -> Result<Reported> {
        let start = Instant::now();
        let mut due = interval_at(first, period);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopped = self.stopped.clone();
        let mut histories = Vec::new();
        let mut host = Some(self.number);
        while let Some(number) = host {
            let mut history = History::default();
            let stay = self.random.below(self.pace.stay as usize);
            host = None;
            for turn in 0.. {
                tokio::select! {
                    _ended = stopped.wait_for(|stopped| *stopped) => break,
                    _ = due.tick() => {}
                }
                let value = turn / self.pace.change_every;
                let outcome = self.report(number, value, turn).await?;
                history.note(value, outcome);
                let is_new = turn % self.pace.change_every == 0;
                if is_new && turn as usize >= stay {
                    host = self.next_host();
                    if host.is_some() {
                        break;
                    }
                }
            }
            histories.push((number, history));
        }
        self.reports.time = start.elapsed();
        Ok(Reported {
            histories,
            reports: self.reports,
        })
    }

    fn next_host(&self) -> Option<usize> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        (next < self.hosts.len()).then_some(next)
    }

    async fn report(&mut self, host: usize, value: u32, turn: u32) -> Result<Outcome> {
        let mut former = None;
        for _ in 0..ATTEMPTS {
            let replica = self.next_replica(turn, former)?;
            former = Some(replica);
            let answer = self.send(replica, host, value).await?;
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

    /// Each client asks all of them in turn, and another one than the one that has just failed it, though
    /// the list may have changed meanwhile.
    fn next_replica(&self, turn: u32, failed: Option<SocketAddr>) -> Result<SocketAddr> {
        let replicas = self.replicas.borrow();
        let first = self.number + turn as usize;
        let in_turn = (0..replicas.len()).map(|step| replicas[(first + step) % replicas.len()]);
        let mut others = in_turn.filter(|replica| Some(*replica) != failed);
        others.next().or(failed).context("there are no replicas")
    }

    async fn send(&self, replica: SocketAddr, host: usize, value: u32) -> Result<Answer> {
        let Host {
            hostname,
            credentials,
        } = &self.hosts[host];
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
