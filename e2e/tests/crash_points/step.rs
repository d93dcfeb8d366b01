//! The steps of lives, and what each makes of the world.

use serde_json::{Value, json};

/// What the client, the host's owner or the zone's administrator does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    CreateZone,
    CreateHost,
    /// The client reports these addresses, comma-separated.
    Report(&'static str),
    /// Another replica's endpoint has taken the client's report of this IPv4 address.
    ReportElsewhere(&'static str),
    /// The client withdraws this address.
    Withdraw(&'static str),
    /// The owner wants the host to have its [`aliases`], or none.
    Aliases(bool),
    /// The owner wants another TTL, in seconds.
    Ttl(u32),
    /// The owner wants IPv4 only.
    OnlyIpv4,
    Suspend,
    Resume,
    DeleteHost,
    DeleteZone,
}

impl Step {
    /// What the owner writes into the spec of a host of this name.
    pub(crate) fn spec(self, hostname: &str) -> Option<Value> {
        match self {
            Self::Aliases(true) => Some(json!({"aliases": [
                {"name": format!("cam.{hostname}")},
                {"name": format!("nas.{hostname}"), "type": "CNAME"},
            ]})),
            Self::Aliases(false) => Some(json!({"aliases": []})),
            Self::Ttl(ttl) => Some(json!({"ttl": ttl})),
            Self::OnlyIpv4 => Some(json!({"families": ["IPv4"]})),
            Self::Suspend => Some(json!({"suspend": true})),
            Self::Resume => Some(json!({"suspend": false})),
            _ => None,
        }
    }

    /// Some of what it makes the operator write.
    pub(crate) fn writes(self) -> &'static [&'static str] {
        const REPORT: &str = "PATCH dynamichosts/status by dynhost-endpoint";
        const STATUS: &str = "PATCH dynamichosts/status by dynhost-controller";
        const HOST: &str = "PATCH dynamichosts by dynhost-controller";
        const ZONE_STATUS: &str = "PATCH dynamiczones/status by dynhost-controller";
        const ZONE: &str = "PATCH dynamiczones by dynhost-controller";
        const KEY: &str = "POST secrets by dynhost-controller";
        match self {
            Self::CreateZone => &[ZONE_STATUS],
            Self::CreateHost => &[HOST, KEY, STATUS, ZONE_STATUS],
            Self::Report(_) | Self::Withdraw(_) => &[REPORT, "UPDATE", STATUS],
            Self::ReportElsewhere(_) | Self::Aliases(_) | Self::Ttl(_) => &["UPDATE", STATUS],
            Self::OnlyIpv4 | Self::Suspend | Self::Resume => &[STATUS],
            Self::DeleteHost => &["UPDATE", HOST, ZONE_STATUS],
            Self::DeleteZone => &[ZONE],
        }
    }
}

/// What there must be in the end, as far as these steps tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) zone: bool,
    /// The zone has had a host.
    pub(crate) is_in_use: bool,
    pub(crate) host: Option<ExpectedHost>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExpectedHost {
    ttl: u32,
    ipv4: Option<&'static str>,
    ipv6: Option<&'static str>,
    aliases: bool,
    suspend: bool,
    has_reported: bool,
}

impl Expected {
    /// Behind these steps, the first of which creates the zone.
    pub(crate) fn after(steps: &[Step]) -> Self {
        let mut expected = Self {
            zone: true,
            is_in_use: false,
            host: None,
        };
        for step in steps {
            match step {
                Step::CreateZone => {}
                Step::CreateHost => {
                    expected.is_in_use = true;
                    expected.host = Some(ExpectedHost {
                        ttl: 60,
                        ipv4: None,
                        ipv6: None,
                        aliases: false,
                        suspend: false,
                        has_reported: false,
                    });
                }
                Step::DeleteHost => expected.host = None,
                Step::DeleteZone => expected.zone = false,
                of_host => expected
                    .host
                    .iter_mut()
                    .for_each(|host| host.take(*of_host)),
            }
        }
        expected
    }

    /// What DNS has of the host: `name ttl type data`, names relative to the apex, sorted.
    pub(crate) fn records(&self) -> Vec<String> {
        let Some(host) = &self.host else {
            return Vec::new();
        };
        let ttl = host.ttl;
        let marker = |name: &str| format!("_dynhost.{name} {ttl} TXT v=1 o=home");
        let addresses = |name: &str| {
            let ipv4 = host.ipv4.map(|ipv4| format!("{name} {ttl} A {ipv4}"));
            let ipv6 = host.ipv6.map(|ipv6| format!("{name} {ttl} AAAA {ipv6}"));
            ipv4.into_iter().chain(ipv6)
        };
        let mut records: Vec<String> = addresses("home").collect();
        if !records.is_empty() {
            records.push(marker("home"));
        }
        if host.aliases && !records.is_empty() {
            records.extend([marker("cam.home"), marker("nas.home")]);
            records.extend(addresses("cam.home"));
            records.push(format!("nas.home {ttl} CNAME home.APEX."));
        }
        records.sort();
        records
    }

    /// Of those, how many RRsets the host's status lists: markers are none.
    pub(crate) fn rrsets(&self) -> usize {
        let records = self.records();
        let is_marker = |record: &&String| record.starts_with("_dynhost.");
        records.len() - records.iter().filter(is_marker).count()
    }

    /// The reason of the host's condition Published.
    pub(crate) fn published(&self) -> Option<&'static str> {
        let host = self.host.as_ref()?;
        Some(match (host.suspend, host.has_reported) {
            (true, _) => "Suspended",
            (false, true) => "Published",
            (false, false) => "AwaitingFirstUpdate",
        })
    }
}

impl ExpectedHost {
    fn take(&mut self, step: Step) {
        match step {
            Step::Report(addresses) | Step::ReportElsewhere(addresses) => {
                self.has_reported = true;
                for address in addresses.split(',') {
                    *self.family(address) = Some(address);
                }
            }
            Step::Withdraw(address) => *self.family(address) = None,
            Step::Aliases(aliases) => self.aliases = aliases,
            Step::Ttl(ttl) => self.ttl = ttl,
            Step::OnlyIpv4 => self.ipv6 = None,
            Step::Suspend => self.suspend = true,
            Step::Resume => self.suspend = false,
            Step::CreateZone | Step::CreateHost | Step::DeleteHost | Step::DeleteZone => {}
        }
    }

    fn family(&mut self, address: &str) -> &mut Option<&'static str> {
        match address.contains(':') {
            true => &mut self.ipv6,
            false => &mut self.ipv4,
        }
    }
}
