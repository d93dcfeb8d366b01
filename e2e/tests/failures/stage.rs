//! Where one test at a time lets things fail.

use anyhow::Result;
use dynhost_e2e::{Stack, StackOptions};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// Servers; no operator.
pub(crate) struct Stage(Stack);

impl Stage {
    /// Waits until no other test is on it.
    pub(crate) async fn enter() -> Result<MutexGuard<'static, Self>> {
        static STAGE: OnceCell<Mutex<Stage>> = OnceCell::const_new();
        let stage = STAGE.get_or_try_init(async || {
            let stack = Stack::start(StackOptions::default()).await?;
            // What fails here, it only logs; and it takes a part of two cores.
            stack.control_plane.stop_controller_manager().await?;
            stack.operator.terminate().await?;
            Ok::<_, anyhow::Error>(Mutex::new(Self(stack)))
        });
        Ok(stage.await?.lock().await)
    }

    pub(crate) fn stack(&self) -> &Stack {
        &self.0
    }
}
