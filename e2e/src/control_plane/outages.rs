//! The API server and etcd, gone and back.

use anyhow::{Context as _, Result, ensure};
use http::Request;
use tokio::sync::Mutex;

use super::{ControlPlane, START_LIMIT, STOP_LIMIT};
use crate::{
    ChildProcess, ControlPlaneBinary, Signal, await_condition, control_plane_binary,
    process::log_tail,
};

impl ControlPlane {
    /// Starts the API server, on its port and with its data, and waits until it is ready.
    ///
    /// # Errors
    /// With the end of its log.
    pub async fn start_api_server(&self) -> Result<()> {
        let mut running = self.api_server.lock().await;
        let binary = control_plane_binary(ControlPlaneBinary::KubeApiserver).await?;
        let command = self.layout.api_server(&binary);
        let log = self.layout.log("kube-apiserver");
        let process = ChildProcess::spawn("kube-apiserver", &command, &log)?;
        process
            .await_start(START_LIMIT, || self.is_ready())
            .await
            .with_context(|| log_tail(&self.layout.log("etcd"), 5))?;
        *running = Some(process);
        Ok(())
    }

    /// Waits until the API server, which runs, is ready again: after etcd was away.
    ///
    /// # Errors
    /// Where it takes too long.
    pub async fn await_ready(&self) -> Result<()> {
        let what = "the API server is ready again";
        await_condition(what, START_LIMIT, || self.is_ready()).await
    }

    async fn is_ready(&self) -> Result<Option<()>> {
        // The API server makes the certificate when it starts for the first time.
        if !self.layout.certificate().exists() {
            return Ok(None);
        }
        let request = Request::get("/readyz").body(Vec::new())?;
        let answer = self.client().await?.request_text(request).await?;
        Ok((answer == "ok").then_some(()))
    }

    /// Stops the API server; etcd and its data stay.
    ///
    /// # Errors
    /// Where it does not end.
    pub async fn stop_api_server(&self) -> Result<()> {
        stop(&self.api_server).await
    }

    /// Ends the API server by SIGKILL.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn kill_api_server(&self) -> Result<()> {
        kill(&self.api_server).await
    }

    /// Freezes the API server by SIGSTOP: connections stay open and nothing answers.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn freeze_api_server(&self) -> Result<()> {
        signal(&self.api_server, Signal::STOP).await
    }

    /// Lets a frozen API server go on.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn thaw_api_server(&self) -> Result<()> {
        signal(&self.api_server, Signal::CONT).await
    }

    /// Starts etcd, on its port and with its data.
    ///
    /// # Errors
    /// Where it cannot be had, or runs already.
    pub async fn start_etcd(&self) -> Result<()> {
        let mut running = self.etcd.lock().await;
        ensure!(running.is_none(), "etcd runs already");
        let binary = control_plane_binary(ControlPlaneBinary::Etcd).await?;
        let (command, log) = (self.layout.etcd(&binary), self.layout.log("etcd"));
        *running = Some(ChildProcess::spawn("etcd", &command, &log)?);
        Ok(())
    }

    /// Stops etcd; its data stay.
    ///
    /// # Errors
    /// Where it does not end.
    pub async fn stop_etcd(&self) -> Result<()> {
        stop(&self.etcd).await
    }

    /// Ends etcd by SIGKILL.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn kill_etcd(&self) -> Result<()> {
        kill(&self.etcd).await
    }

    /// Freezes etcd by SIGSTOP: the API server answers, and can neither read nor write.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn freeze_etcd(&self) -> Result<()> {
        signal(&self.etcd, Signal::STOP).await
    }

    /// Lets a frozen etcd go on.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn thaw_etcd(&self) -> Result<()> {
        signal(&self.etcd, Signal::CONT).await
    }
}

/// A process, where it runs.
type Running = Mutex<Option<ChildProcess>>;

const NOT_RUNNING: &str = "it does not run";

async fn stop(running: &Running) -> Result<()> {
    if let Some(process) = running.lock().await.take() {
        process.stop(STOP_LIMIT).await?;
    }
    Ok(())
}

async fn kill(running: &Running) -> Result<()> {
    let process = running.lock().await.take();
    process.context(NOT_RUNNING)?.kill().await?;
    Ok(())
}

async fn signal(running: &Running, signal: Signal) -> Result<()> {
    let process = running.lock().await;
    process.as_ref().context(NOT_RUNNING)?.signal(signal)
}
