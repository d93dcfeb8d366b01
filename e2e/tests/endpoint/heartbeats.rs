//! When clients were seen, noted by two endpoints over a real API server.

use dynhost_crds::GROUP;
use dynhost_e2e::{AuditEvent, Operator, Stack, ZoneOptions, await_condition, stack::LIMIT};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::caller::Caller;
use super::stored::Home;
use super::{ok, replica};

impl Home<'_> {
    /// Has its client be seen this long ago, and returns when that was.
    async fn set_back(&self, hours: i64) -> Timestamp {
        let seen = Timestamp::now() - SignedDuration::from_hours(hours);
        let seen = Timestamp::from_second(seen.as_second()).unwrap();
        self.merge_status(json!({"observed": {"lastSeen": seen}}))
            .await;
        seen
    }

    /// Confirms what is stored at each endpoint, until its client is noted as seen since `seen`.
    async fn confirm_until_noted(&self, endpoints: [&Operator; 2], address: &str, seen: Timestamp) {
        let what = format!("{} was seen", self.name);
        await_condition(&what, LIMIT, async || {
            self.confirm(endpoints, address).await;
            Ok((self.last_seen().await != Some(seen)).then_some(()))
        })
        .await
        .unwrap();
    }

    async fn confirm(&self, endpoints: [&Operator; 2], address: &str) {
        for endpoint in endpoints {
            let caller = Caller::new(endpoint);
            let answer = caller.update(&self.name, &self.token, address).await;
            assert_eq!(answer, ok(&format!("nochg {address}")));
        }
    }
}

#[tokio::test]
async fn what_two_endpoints_see_is_noted_once() {
    let stack = Stack::shared().await.unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let other = replica::start(stack, &[]).await;
    let endpoints = [&stack.operator, &other];
    let address = "198.51.100.7";
    let mut homes = Vec::new();
    for label in ["home", "fence"] {
        let home = Home::new((stack, &other), &zone, label, json!({})).await;
        let caller = Caller::new(&stack.operator);
        let answer = caller.update(&home.name, &home.token, address).await;
        assert_eq!(answer, ok(&format!("good {address}")));
        home.await_dns(&[address], &[]).await;
        homes.push(home);
    }
    let [home, fence] = &homes[..] else {
        unreachable!()
    };
    for home in &homes {
        home.await_published().await;
        let what = format!("the other endpoint knows the address of {}", home.name);
        await_condition(&what, LIMIT, async || {
            let caller = Caller::new(&other);
            let answer = caller.update(&home.name, &home.token, address).await;
            Ok((answer == ok(&format!("nochg {address}"))).then_some(()))
        })
        .await
        .unwrap();
    }

    let seen = home.set_back(7).await;
    let mark = stack.control_plane.audit_mark().await.unwrap();
    home.confirm_until_noted(endpoints, address, seen).await;
    for _ in 0..5 {
        home.confirm(endpoints, address).await;
    }
    // Whatever that has set off comes before what the fence sets off later.
    let seen = fence.set_back(7).await;
    fence.confirm_until_noted(endpoints, address, seen).await;
    let events = stack.control_plane.audit_events(mark).await.unwrap();
    let is_of_home = |event: &&AuditEvent| {
        event.group == GROUP && event.namespace == zone.namespace && event.name == "home"
    };
    let writes = events.iter().filter(|event| event.is_write());
    let writes: Vec<_> = writes.filter(is_of_home).collect();
    assert_eq!(writes.len(), 1, "{writes:#?}");
}
