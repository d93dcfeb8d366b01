//! A stack whose operator is killed and whose schema is changed, by one test at a time.

use anyhow::Result;
use dynhost_e2e::{Stack, StackOptions};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// Waits for its turn. The operator runs when a test gets it, and must when the test ends well.
pub(crate) async fn restarted_stack() -> Result<MutexGuard<'static, Stack>> {
    static STACK: OnceCell<Mutex<Stack>> = OnceCell::const_new();
    let stack = STACK
        .get_or_try_init(|| async {
            let stack = Stack::start(StackOptions::default()).await?;
            Ok::<_, anyhow::Error>(Mutex::new(stack))
        })
        .await?
        .lock()
        .await;
    // A test that failed may have left it stopped.
    if stack.operator.pid().await.is_err() {
        stack.operator.start_again().await?;
    }
    Ok(stack)
}
