//! What may happen next, and what it makes of the model.

use dynhost_e2e::SeededRandom;

use super::world::{Host, Told, World};

/// The first labels that hosts ask for.
pub(super) const LABELS: [&str; 6] = ["h1", "h2", "h3", "h4", "h5", "h6"];

/// The host that reports the prefix of others, and has no records itself.
pub(super) const ROUTER: &str = "router";

/// One thing that somebody does.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// Creates a DynamicHost.
    Create { object: String, host: Host },
    /// Deletes one.
    Delete { object: String },
    /// Writes the spec's changeable fields.
    Change { object: String, host: Host },
    /// The same, and the endpoint has heard of it: a report of a family that the host does not
    /// publish is acknowledged and forgotten.
    ChangeFamilies { object: String, host: Host },
    /// A client reports addresses, comma-separated.
    Report { object: String, addresses: String },
    /// A client withdraws its IPv4 address.
    Withdraw { object: String, address: String },
    /// The router reports a prefix, by its third group.
    Prefix(u16),
    /// Another program changes the zone: lines of nsupdate, names relative to the apex.
    Nsupdate(Vec<String>),
    /// Every host is touched, which ends the pause behind what failed.
    Touch,
}

impl World {
    /// What may be done while others of its kind are under way: what comes of it does not depend on
    /// what has been written in between.
    pub(super) fn choose(
        &mut self,
        random: &mut SeededRandom,
        may_delete: bool,
    ) -> Option<Operation> {
        let objects: Vec<String> = self.hosts.keys().cloned().collect();
        let object = random.pick(&objects);
        match random.below(12) {
            0 | 1 => Some(self.create(random)),
            2 if may_delete => self.delete(&object?),
            2 | 3 => {
                let mut host = self.hosts.get(object.as_ref()?)?.clone();
                host.ttl = random.pick(&[None, Some(30), Some(90)])?;
                self.change(object?, host)
            }
            4 => {
                let mut host = self.hosts.get(object.as_ref()?)?.clone();
                host.aliases = !host.aliases;
                self.change(object?, host)
            }
            5 => {
                let mut host = self.hosts.get(object.as_ref()?)?.clone();
                host.only_ipv4 = !host.only_ipv4;
                let object = object?;
                self.change(object.clone(), host.clone())?;
                Some(Operation::ChangeFamilies { object, host })
            }
            6 => {
                let mut host = self.hosts.get(object.as_ref()?)?.clone();
                host.suspend = false;
                self.change(object?, host)
            }
            7 => {
                let prefix = 1 + u16::try_from(random.below(4)).ok()?;
                self.prefix = Some(prefix);
                LABELS.iter().for_each(|label| self.settle(label));
                Some(Operation::Prefix(prefix))
            }
            8 => self.withdraw(&object?),
            _ => {
                let addresses = match random.below(3) {
                    0 => ipv4(random),
                    1 => ipv6(random),
                    _ => format!("{},{}", ipv4(random), ipv6(random)),
                };
                self.report(&object?, &addresses)
            }
        }
    }

    /// What is done when all before it is done.
    pub(super) fn choose_settled(&mut self, random: &mut SeededRandom) -> Option<Vec<Operation>> {
        let label = random.pick(&LABELS)?;
        match random.below(8) {
            0 => {
                let objects: Vec<String> = self.hosts.keys().cloned().collect();
                let object = random.pick(&objects)?;
                let mut host = self.hosts.get(&object)?.clone();
                host.suspend = true;
                Some(vec![self.change(object, host)?])
            }
            1 | 2 => self.own_records(random),
            3 | 4 => self.put_in_the_way(label, random),
            5 => self.clear_the_way(label),
            6 => self.take_over(label, random),
            _ => self.disturb(label, random),
        }
    }

    fn create(&mut self, random: &mut SeededRandom) -> Operation {
        self.created += 1;
        let object = format!("host-{:04}", self.created);
        let label = LABELS[random.below(LABELS.len())];
        let host = Host {
            label,
            ttl: random.pick(&[None, Some(30)]).flatten(),
            only_ipv4: random.once_in(6),
            aliases: random.once_in(3),
            is_behind_router: random.once_in(5),
            ..Host::default()
        };
        self.hosts.insert(object.clone(), host.clone());
        self.settle(label);
        Operation::Create { object, host }
    }

    fn delete(&mut self, object: &str) -> Option<Operation> {
        let host = self.hosts.remove(object)?;
        if self.written.get(host.label).is_some_and(|w| w.by == object) {
            self.written.remove(host.label);
        }
        self.settle(host.label);
        Some(Operation::Delete {
            object: object.to_owned(),
        })
    }

    fn change(&mut self, object: String, host: Host) -> Option<Operation> {
        let label = host.label;
        self.hosts.insert(object.clone(), host.clone());
        self.settle(label);
        Some(Operation::Change { object, host })
    }

    /// Only for hosts whose client is heard.
    fn report(&mut self, object: &str, addresses: &str) -> Option<Operation> {
        let label = self.hosts.get(object)?.label;
        let (holder, _) = self.holder(label)?;
        let is_holder = holder == object;
        let host = self.hosts.get_mut(object)?;
        if !is_holder || host.suspend || host.is_behind_router {
            return None;
        }
        for address in addresses.split(',') {
            match address.contains(':') {
                true if host.only_ipv4 => {}
                true => host.ipv6 = Some(Some(address.to_owned())),
                false => host.ipv4 = Some(Some(address.to_owned())),
            }
        }
        self.settle(label);
        Some(Operation::Report {
            object: object.to_owned(),
            addresses: addresses.to_owned(),
        })
    }

    fn withdraw(&mut self, object: &str) -> Option<Operation> {
        let host = self.hosts.get(object)?;
        let label = host.label;
        let address = host.ipv4.clone()??;
        // As a report is.
        self.report(object, &address)?;
        self.hosts.get_mut(object)?.ipv4 = Some(None);
        self.settle(label);
        Some(Operation::Withdraw {
            object: object.to_owned(),
            address,
        })
    }

    /// Somebody else's records at names that no host asks for.
    fn own_records(&mut self, random: &mut SeededRandom) -> Option<Vec<Operation>> {
        let name = random.pick(&["www", "text", "new", "deep.new", "*", "_sip._tcp"])?;
        let data = match name {
            "_sip._tcp" => format!("SRV 0 5 {} sip.example.net.", 5060 + random.below(3)),
            "text" => format!("TXT word{}", random.below(3)),
            "new" => format!("MX {} mail.example.net.", random.below(3)),
            "*" if random.once_in(2) => "TXT wild".to_owned(),
            _ => format!("A 192.0.2.{}", random.below(3)),
        };
        let record = format!("{name} 300 {data}");
        let line = match self.foreign.remove(&record) {
            true => format!("update delete {record}"),
            false => {
                self.foreign.insert(record.clone());
                format!("update add {record}")
            }
        };
        Some(vec![Operation::Nsupdate(vec![line])])
    }

    /// Somebody else's record at a name where nothing of a host's is written.
    fn put_in_the_way(
        &mut self,
        label: &'static str,
        random: &mut SeededRandom,
    ) -> Option<Vec<Operation>> {
        if self.written.contains_key(label) {
            return None;
        }
        let name = match random.below(4) {
            0 => format!("a.{label}"),
            1 => format!("c.{label}"),
            _ => label.to_owned(),
        };
        let is_taken = self.has_records_at(&name);
        let record = match random.below(5) {
            0 if !is_taken => format!("{name} 300 CNAME www.example.net."),
            1 => format!("{name} 300 AAAA 2001:db8:bad::1"),
            2 => format!("_dynhost.{name} 300 TXT stranger"),
            3 => format!("{name} 300 TXT beside"),
            _ => format!("{name} 300 A 192.0.2.7"),
        };
        // A CNAME stands alone, and a server silently ignores what is added beside it.
        let cname = format!("{name} 300 CNAME www.example.net.");
        if self.foreign.contains(&cname) || !self.foreign.insert(record.clone()) {
            return None;
        }
        let line = format!("update add {record}");
        Some(vec![Operation::Nsupdate(vec![line]), Operation::Touch])
    }

    fn has_records_at(&self, name: &str) -> bool {
        let front = format!("{name} ");
        self.foreign.iter().any(|record| record.starts_with(&front))
    }

    /// All records of others at a host's names are deleted, one by one.
    fn clear_the_way(&mut self, label: &'static str) -> Option<Vec<Operation>> {
        let is_there = |record: &&String| {
            let name = record.split(' ').next().unwrap_or_default();
            let name = name.strip_prefix("_dynhost.").unwrap_or(name);
            name == label || name == format!("a.{label}") || name == format!("c.{label}")
        };
        let there: Vec<String> = self.foreign.iter().filter(is_there).cloned().collect();
        if there.is_empty() {
            return None;
        }
        for record in &there {
            self.foreign.remove(record);
        }
        self.settle(label);
        let lines = there.iter().map(|record| format!("update delete {record}"));
        Some(vec![Operation::Nsupdate(lines.collect()), Operation::Touch])
    }

    /// Somebody else makes a host's name their own.
    fn take_over(
        &mut self,
        label: &'static str,
        random: &mut SeededRandom,
    ) -> Option<Vec<Operation>> {
        let object = self.undisturbed_holder(label)?;
        let written = self.written.get(label)?.clone();
        if self.hosts.get(&object)?.aliases || written.has_aliases() {
            return None;
        }
        self.written.remove(label);
        self.foreign.insert(format!("{label} 300 A 192.0.2.9"));
        // Nobody can tell any more whose that was.
        self.foreign.extend(written.ipv6_record(label));
        let lines = vec![
            format!("update delete {label} A"),
            format!("update delete _dynhost.{label} TXT"),
            format!("update add {label} 300 A 192.0.2.9"),
        ];
        let report = self.report(&object, &self.news(&object, random))?;
        Some(vec![Operation::Nsupdate(lines), report])
    }

    /// Somebody breaks what a host has in DNS, then the host is updated or deleted.
    fn disturb(
        &mut self,
        label: &'static str,
        random: &mut SeededRandom,
    ) -> Option<Vec<Operation>> {
        let object = self.undisturbed_holder(label)?;
        let written = self.written.get(label)?;
        let marker = format!("update delete _dynhost.{label} TXT");
        let lines = match random.below(4) {
            0 => vec![marker],
            1 => vec![format!("update delete {label} A")],
            2 if written.ipv4.is_some() => vec![
                format!("update delete {label} A"),
                format!("update add {label} 300 A 192.0.2.8"),
            ],
            _ => vec![
                marker,
                format!("update delete {label} A"),
                format!("update delete {label} AAAA"),
            ],
        };
        let then = match random.once_in(3) {
            true => self.delete(&object)?,
            false => self.report(&object, &self.news(&object, random))?,
        };
        Some(vec![Operation::Nsupdate(lines), then])
    }

    /// The holder of a name, where its records are there and its client is heard.
    fn undisturbed_holder(&self, label: &str) -> Option<String> {
        let (object, host) = self.holder(label)?;
        let is_published = self.told(object) == Told::Published("Published");
        let is_written = self.written.contains_key(label);
        (is_published && is_written && !host.is_behind_router).then(|| object.clone())
    }

    /// An address that the host's client has not reported last.
    fn news(&self, object: &str, random: &mut SeededRandom) -> String {
        let last = self.hosts.get(object).and_then(|host| host.ipv4.clone());
        let mut address = ipv4(random);
        while last == Some(Some(address.clone())) {
            address = ipv4(random);
        }
        address
    }
}

fn ipv4(random: &mut SeededRandom) -> String {
    format!("198.51.100.{}", 1 + random.below(5))
}

fn ipv6(random: &mut SeededRandom) -> String {
    format!("2001:db8:1::{}", 1 + random.below(5))
}
