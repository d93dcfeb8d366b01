//! SeededRandom operations on a zone that others use too, held against a model of a few dozen lines.

mod operation;
mod play;
mod world;

use anyhow::{Context, Result};
use dynhost_e2e::{CrashPoint, SeededRandom, When, random_hex};
use futures::{StreamExt, TryStreamExt, stream};

use self::{operation::Operation, play::Play, world::World};
use super::lane::{LANES, Lane};

/// What others have in the zone at first: at names of their own, beside hosts, and in the way.
const FOREIGN: [&str; 17] = [
    "www 300 A 192.0.2.1",
    "www 300 AAAA 2001:db8:bad::1",
    "text 300 TXT word0",
    "@ 300 MX 10 mail.example.net.",
    "@ 300 TXT spf",
    "_sip._tcp 300 SRV 0 5 5060 sip.example.net.",
    "* 300 A 192.0.2.1",
    "* 300 TXT wild",
    "sub 300 NS ns.sub",
    "ns.sub 300 A 192.0.2.53",
    "sub 300 DS 1 8 2 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
    "c.h1 300 CNAME www.example.net.",
    "h2 300 MX 10 mail.example.net.",
    "h2 300 TXT beside",
    "h3 300 A 192.0.2.7",
    "h4 300 CNAME www.example.net.",
    "_dynhost.h5 300 TXT stranger",
];

/// Those that every run takes; one more is new each time.
const SEEDS: [u64; 3] = [1, 2, 3];

/// Between two times that all is compared, up to this many operations.
const BURST: usize = 4;

const BURSTS: usize = 30;

#[tokio::test]
async fn no_foreign_record_ever_changes_and_every_host_has_what_the_model_says() -> Result<()> {
    let fresh = u64::from_str_radix(&random_hex(8)?, 16)?;
    stream::iter(SEEDS.into_iter().chain([fresh]))
        .map(async |seed| {
            println!("seed {seed}");
            let lane = Lane::get().await?;
            let context = || format!("seed {seed}");
            check(&lane, seed).await.with_context(context)
        })
        .buffer_unordered(LANES)
        .try_collect()
        .await
}

async fn check(lane: &Lane, seed: u64) -> Result<()> {
    let mut random = SeededRandom(seed);
    lane.seam().begin(None);
    let play = Play::begin(lane, &FOREIGN).await?;
    let mut world = World {
        foreign: play.records().await?,
        ..World::default()
    };
    let mut history = Vec::new();
    for _ in 0..BURSTS {
        let burst = Burst::choose(&mut world, &mut random);
        history.push(format!("{burst:?}"));
        let settled = burst.live(lane, &play, &world).await;
        let told = |history: &[String]| history[history.len().saturating_sub(12)..].join("\n");
        settled.with_context(|| format!("after\n{}", told(&history)))?;
    }
    Ok(())
}

/// What happens before all is compared again.
#[derive(Debug)]
struct Burst {
    operations: Vec<Operation>,
    death: Option<CrashPoint>,
    bind_is_away: bool,
}

impl Burst {
    fn choose(world: &mut World, random: &mut SeededRandom) -> Self {
        let mut operations = world.choose_settled(random).unwrap_or_default();
        let bind_is_away = operations.is_empty() && random.once_in(6);
        let number = operations.len() + 1 + random.below(BURST);
        while operations.len() < number {
            // A host stays until its records are gone, and with it the claim that others wait for.
            operations.extend(world.choose(random, !bind_is_away));
        }
        // An operator that starts again needs its name server to look at everything.
        let dies = !bind_is_away && random.once_in(2);
        let death = dies.then(|| CrashPoint {
            label: None,
            number: 1 + random.below(8),
            when: match random.once_in(2) {
                true => When::Before,
                false => When::After,
            },
        });
        Self {
            operations,
            death,
            bind_is_away,
        }
    }

    async fn live(&self, lane: &Lane, play: &Play<'_>, world: &World) -> Result<()> {
        let bind = &lane.stack().bind;
        lane.seam().begin(self.death.clone());
        let operate = async {
            if self.bind_is_away {
                bind.stop().await?;
            }
            for operation in &self.operations {
                play.perform(operation).await?;
            }
            if self.bind_is_away {
                bind.start_again().await?;
            }
            play.await_settled(world).await
        };
        lane.survive(operate).await?;
        lane.seam().end().await;
        if lane.seam().is_dead() {
            lane.bury().await?;
            lane.start_again().await?;
        }
        play.await_settled(world).await
    }
}
