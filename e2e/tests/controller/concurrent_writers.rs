//! Others write a host's status, too.

use std::cell::Cell;

use anyhow::{Context, Result};
use dynhost_e2e::{
    AuditEvent, Mode, Stack, StackOptions, ZoneOptions, await_condition, http, stack::LIMIT,
};

use super::live_host::LiveHost;

#[tokio::test]
async fn an_address_stored_by_somebody_else_is_published() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
    host.store_ipv4("198.51.100.8").await?;
    host.await_published(&["A 60 198.51.100.8"]).await?;
    let answer = host.try_report("198.51.100.8").await?;
    assert_eq!(answer.text(), "nochg 198.51.100.8");
    host.report("198.51.100.7").await?;
    host.await_published(&["A 60 198.51.100.7"]).await?;
    host.await_a(&["198.51.100.7"]).await
}

/// In a stack of its own, with a proxy between the operator and the API server.
#[tokio::test]
async fn a_report_that_meets_another_write_is_decided_again() -> Result<()> {
    let options = StackOptions {
        api_proxy: true,
        ..StackOptions::default()
    };
    let stack = Stack::start(options).await?;
    let proxy = stack.api_proxy.as_ref().unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = LiveHost::create_published(&stack, &zone, "home", "198.51.100.7").await?;

    let is_refused = |event: &AuditEvent| event.verb == "patch" && event.code >= 400;
    let last = Cell::new(7_u8);
    let next_address = || {
        last.set(
            last.get()
                .checked_add(1)
                .context("the addresses are used up")?,
        );
        Ok::<_, anyhow::Error>(format!("198.51.100.{}", last.get()))
    };
    await_condition("a patch of the endpoint is refused", LIMIT, async || {
        let (others, news) = (next_address()?, next_address()?);
        let mark = stack.control_plane.audit_mark().await?;
        // The operator hears of what somebody else stores only when its own patch is on its way,
        // or, where this is too quick for it, a little before: then there is no conflict.
        proxy.set_mode(Mode::Hold);
        host.store_ipv4(&others).await?;
        let let_pass = async {
            http::get(stack.operator.update_address(), "/ip", None).await?;
            proxy.set_mode(Mode::Pass);
            Ok(())
        };
        tokio::try_join!(host.report(&news), let_pass)?;
        host.await_published_addresses(&news).await?;
        host.await_a(&[&news]).await?;
        let events = stack.control_plane.audit_events(mark).await?;
        Ok(events.iter().any(is_refused).then_some(()))
    })
    .await
}
