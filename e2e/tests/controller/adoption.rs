//! The zone's administrator lets dynhost take a name over.

use anyhow::{Result, ensure};
use dynhost_crds::{
    ADOPT_ANNOTATION,
    conditions::{ConditionType, Reason},
};
use dynhost_e2e::{Stack, Zone, ZoneOptions, await_condition, stack::LIMIT};
use serde_json::json;

use super::live_host::LiveHost;
use super::zone_records::{merge_zone, records};

/// Makes the controller try again, and waits until BIND has refused it.
async fn await_refusal(host: &LiveHost<'_>, zone: &Zone) -> Result<()> {
    let bind = &host.stack.bind;
    let before = bind.update_counts(&zone.apex).await?.bad_prerequisite;
    host.touch().await?;
    await_condition("another attempt is refused", LIMIT, async || {
        let counts = bind.update_counts(&zone.apex).await?;
        ensure!(counts.bad_prerequisite > before, "{counts:?}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn the_zones_annotation_takes_that_name_over_and_a_hosts_none() -> Result<()> {
    let stack = Stack::shared().await?;
    let foreign = [
        "home 300 A 192.0.2.1",
        "home 300 TXT \"beside\"",
        "other 300 A 192.0.2.2",
        "www 300 CNAME target.example.net.",
    ];
    let options = ZoneOptions {
        records: foreign.map(str::to_owned).to_vec(),
        ..ZoneOptions::default()
    };
    let zone = stack.create_zone(options).await?;
    let before = records(&stack.bind, &zone).await?;
    let mut hosts = Vec::new();
    for label in ["home", "www", "other"] {
        let host = LiveHost::create(stack, &zone.host(label)).await?;
        host.report("198.51.100.7,2001:db8::7").await?;
        host.await_reason(ConditionType::Published, Reason::ForeignRecord)
            .await?;
        hosts.push(host);
    }
    let [home, www, other] = hosts.as_slice() else {
        unreachable!("there are three");
    };

    let adopt = |name: &str| json!({"metadata": {"annotations": {ADOPT_ANNOTATION: name}}});
    home.merge(adopt(&home.hostname)).await?;
    await_refusal(home, &zone).await?;
    assert_eq!(records(&stack.bind, &zone).await?, before);

    let both = ["A 60 198.51.100.7", "AAAA 60 2001:db8::7"];
    merge_zone(stack, &zone, adopt(&home.hostname)).await?;
    home.await_published(&both).await?;
    await_refusal(www, &zone).await?;
    await_refusal(other, &zone).await?;
    assert_eq!(
        records(&stack.bind, &zone).await?,
        [
            "_dynhost.home 60 TXT marker",
            "home 300 TXT beside",
            "home 60 A 198.51.100.7",
            "home 60 AAAA 2001:db8::7",
            "other 300 A 192.0.2.2",
            "www 300 CNAME target.example.net.",
        ]
    );

    merge_zone(stack, &zone, adopt(&www.hostname)).await?;
    www.await_published(&both).await?;
    www.report("198.51.100.8").await?;
    www.await_published(&["A 60 198.51.100.8", "AAAA 60 2001:db8::7"])
        .await?;
    assert_eq!(
        records(&stack.bind, &zone).await?,
        [
            "_dynhost.home 60 TXT marker",
            "_dynhost.www 60 TXT marker",
            "home 300 TXT beside",
            "home 60 A 198.51.100.7",
            "home 60 AAAA 2001:db8::7",
            "other 300 A 192.0.2.2",
            "www 60 A 198.51.100.8",
            "www 60 AAAA 2001:db8::7",
        ]
    );
    Ok(())
}
