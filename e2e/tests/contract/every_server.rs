//! One behaviour on each server.

use std::panic::{AssertUnwindSafe, resume_unwind};

use anyhow::{Context, Result};
use dynhost_e2e::Software;
use futures::{FutureExt, future::try_join_all};

/// Runs `behaviour` on every server, beside each other; a failure says on which.
pub(crate) async fn on_every_server(behaviour: impl AsyncFn(Software) -> Result<()>) -> Result<()> {
    let runs = Software::ALL.map(async |software| {
        let run = AssertUnwindSafe(behaviour(software)).catch_unwind().await;
        run.unwrap_or_else(|panic| {
            eprintln!("on {software:?}:");
            resume_unwind(panic)
        })
        .with_context(|| format!("on {software:?}"))
    });
    try_join_all(runs).await?;
    Ok(())
}

/// What each server does, where they differ.
pub(crate) struct Each<T> {
    pub(crate) bind: T,
    pub(crate) knot: T,
    pub(crate) powerdns: T,
}

impl<T: Copy> Each<T> {
    pub(crate) fn all(value: T) -> Self {
        Self {
            bind: value,
            knot: value,
            powerdns: value,
        }
    }

    pub(crate) fn of(&self, software: Software) -> T {
        match software {
            Software::Bind => self.bind,
            Software::Knot => self.knot,
            Software::PowerDns => self.powerdns,
        }
    }
}
