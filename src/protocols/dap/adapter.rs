//! `llmspell dap`: the adapter that editors start, speaking DAP over stdio.
//!
//! It debugs nothing itself. It starts a script in a process of its own (or
//! connects to one that runs), and passes messages between the client and the
//! DAP server in there. So a script that crashes, or calls C code that never
//! returns, takes no adapter with it.
//!
//! The hard thing is to look like one adapter. Requests go through as they are,
//! with the client's numbers, so that responses and `cancel` fit; even the
//! `initialize` that the program gets is the client's own. What comes back is
//! numbered anew, between events of our own: the program's streams and its
//! end. The one `initialized` that the client sees is the program's, which
//! comes when the program is there to be configured.

mod debuggee;
mod proxy;

use std::{ffi::OsString, ops::ControlFlow, path::PathBuf};

use anyhow::Context;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use self::{debuggee::Debuggee, proxy::Proxy};
use super::{
    FAREWELL,
    capabilities::capabilities,
    message::{Answer, Message, Request, RequestError, encode, parse_request},
    outgoing::Outgoing,
};
use crate::protocols::codec::{CodecError, DEFAULT_MAX_MESSAGE, Incoming, MessageReader};

/// Serves the client on standard input and output until it is gone.
///
/// Scripts are run with this very program and these options. tokio reads standard
/// input on a thread that cannot be stopped: leave the process afterwards, without
/// waiting for the runtime to wind down.
pub async fn run_stdio(options: Vec<OsString>) -> anyhow::Result<()> {
    let executable = std::env::current_exe().context("cannot tell where llmspell is")?;
    run(tokio::io::stdin(), tokio::io::stdout(), Runner { executable, options }).await;
    Ok(())
}

/// The llmspell that scripts are run with.
#[derive(Debug)]
pub struct Runner {
    /// Where it is.
    pub executable: PathBuf,
    /// Options in front of its command.
    pub options: Vec<OsString>,
}

/// Serves one client.
pub async fn run(input: impl AsyncRead + Unpin, output: impl AsyncWrite + Unpin, runner: Runner) {
    let outgoing = Outgoing::default();
    let mut client = MessageReader::new(input, DEFAULT_MAX_MESSAGE);
    let adapter = Adapter { runner, outgoing: outgoing.clone() };
    let mut writing = std::pin::pin!(outgoing.write_to(output));
    let gone = tokio::select! {
        () = adapter.serve(&mut client) => false,
        result = &mut writing => {
            tracing::debug!(?result, "the client does not read any more");
            true
        }
    };
    outgoing.close();
    if !gone && timeout(FAREWELL, writing).await.is_err() {
        tracing::debug!("the client has not read the last messages");
    }
}

struct Adapter {
    runner: Runner,
    outgoing: Outgoing,
}

impl Adapter {
    async fn serve(&self, client: &mut MessageReader<impl AsyncRead + Unpin>) {
        let Some(debuggee) = self.introduce(client).await else { return };
        Proxy::new(debuggee, self.outgoing.clone()).run(client).await;
    }

    /// Talks to the client until it has a program to debug; `None` if it leaves
    /// before.
    async fn introduce(
        &self,
        client: &mut MessageReader<impl AsyncRead + Unpin>,
    ) -> Option<Debuggee> {
        let mut initialize: Option<Value> = None;
        loop {
            let (message, request) = self.next_request(client).await?;
            let answer: Answer<Value> = match (request.command.as_str(), &initialize) {
                ("initialize", None) => {
                    initialize = Some(message);
                    Ok(encode(&capabilities()))
                }
                ("initialize", Some(_)) => Err(RequestError::new("already initialized")),
                ("disconnect", _) => {
                    self.answer(&request, Ok(Value::Null));
                    return None;
                }
                ("launch" | "attach", Some(initialize)) => {
                    match self.start(initialize, &message, &request).await {
                        Ok(debuggee) => return Some(debuggee),
                        Err(error) => Err(error),
                    }
                }
                (command, None) => {
                    Err(RequestError::new(format!("'{command}' before 'initialize'")))
                }
                (command, Some(_)) => {
                    Err(RequestError::new(format!("'{command}' before 'launch' or 'attach'")))
                }
            };
            self.answer(&request, answer);
        }
    }

    /// Starts or finds the program and passes on the client's first requests.
    async fn start(
        &self,
        initialize: &Value,
        message: &Value,
        request: &Request,
    ) -> Answer<Debuggee> {
        let mut debuggee = if request.command == "launch" {
            Debuggee::launch(&self.runner, &request.arguments, &self.outgoing).await?
        } else {
            Debuggee::attach(&request.arguments).await?
        };
        debuggee.introduce(initialize, message).await?;
        Ok(debuggee)
    }

    /// The next request as it came and as it is understood.
    async fn next_request(
        &self,
        client: &mut MessageReader<impl AsyncRead + Unpin>,
    ) -> Option<(Value, Request)> {
        loop {
            let incoming = client.next().await;
            let ControlFlow::Continue(message) = receive(incoming, &self.outgoing) else {
                return None;
            };
            match message.as_ref().map(parse_request) {
                Some(Ok(Some(request))) => return Some((message?, request)),
                Some(Err(refusal)) => self.outgoing.respond(refusal),
                Some(Ok(None)) | None => {}
            }
        }
    }

    fn answer(&self, request: &Request, answer: Answer<Value>) {
        self.outgoing.respond(Message::response(request.seq, &request.command, answer));
    }
}

/// Sorts what was read from the client: a message, or `None` where there was
/// none, which has been answered. Breaks if there will be nothing more.
fn receive(
    incoming: Result<Option<Incoming>, CodecError>,
    outgoing: &Outgoing,
) -> ControlFlow<(), Option<Value>> {
    let (problem, over) = match incoming {
        Ok(Some(Ok(message))) => return ControlFlow::Continue(Some(message)),
        Ok(None) => return ControlFlow::Break(()),
        Ok(Some(Err(malformed))) => (malformed.to_string(), false),
        Err(error) => (error.to_string(), true),
    };
    outgoing.respond(Message::response(0, "", Err(RequestError::new(problem))));
    if over { ControlFlow::Break(()) } else { ControlFlow::Continue(None) }
}
