//! The DAP server on a TCP port of this machine.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{
    debug::Control,
    kernel::ports::bind_error,
    protocols::dap::{ServeOptions, serve},
};

/// How long to wait after `accept` has failed: it does so when descriptors are
/// short, and would fail again at once.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// What to do about a port that is taken.
const ADVICE: &str = "choose another with --dap PORT, or 0 for a free one";

/// A listening server. Dropping it ends it and all of its connections.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
    finish: Option<oneshot::Sender<Duration>>,
}

impl Server {
    /// Stops listening and gives clients up to `grace` to read their last events
    /// and to disconnect.
    ///
    /// To be called before the process exits: a connection that is torn down
    /// with unread requests in it loses what was on its way to the client.
    pub async fn finish(mut self, grace: Duration) {
        if let Some(finish) = self.finish.take() {
            // Fails only if the task has ended already.
            let _ = finish.send(grace);
        }
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the DAP server failed");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens on `port` of 127.0.0.1, where 0 picks a free one, for debuggers of
/// the session behind `control`.
///
/// Needs a tokio runtime with I/O and time.
pub async fn listen(port: u16, control: Control, options: ServeOptions) -> anyhow::Result<Server> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener =
        TcpListener::bind(wanted).await.map_err(|error| bind_error(&error, wanted, ADVICE))?;
    let address = listener.local_addr().context("cannot tell the port of the DAP server")?;
    let (finish, finished) = oneshot::channel();
    let task = tokio::spawn(accept(listener, control, options, finished));
    Ok(Server { address, task, finish: Some(finish) })
}

async fn accept(
    listener: TcpListener,
    control: Control,
    options: ServeOptions,
    mut finished: oneshot::Receiver<Duration>,
) {
    // Owns the connections: they end with it.
    let mut connections = JoinSet::new();
    let grace = loop {
        tokio::select! {
            grace = &mut finished => break grace.unwrap_or_default(),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let options = ServeOptions { peer: peer.to_string(), ..options.clone() };
                    connections.spawn(connection(stream, control.clone(), options));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a debugger");
                    sleep(AFTER_FAILED_ACCEPT).await;
                }
            },
            Some(ended) = connections.join_next() => report(ended),
        }
    };
    drop(listener);
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if timeout(grace, all_ended).await.is_err() {
        tracing::debug!("debuggers are still connected");
    }
}

async fn connection(mut stream: TcpStream, control: Control, options: ServeOptions) {
    // Small messages both ways: Nagle's algorithm would add 40 ms to each step.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let (input, output) = stream.split();
    serve(input, output, control, options).await;
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a DAP connection failed");
    }
}
