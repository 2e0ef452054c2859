//! A kernel here or elsewhere, used alike.

use crate::{
    client::Connection,
    kernel::{
        Client,
        message::{KernelInfo, Message, ReplyBody, RequestBody},
    },
};

/// How the kernel is reached.
pub enum Link {
    /// It is in this process, and nobody else's.
    Local(Client),
    /// It is elsewhere.
    Remote(Connection),
}

impl Link {
    /// Sends a request; its message id. Does not wait.
    pub(super) fn send(&self, body: RequestBody) -> Result<String, String> {
        match self {
            Self::Local(client) => Ok(client.send(body)),
            Self::Remote(connection) => connection.send(body),
        }
    }

    /// The next message; `None` when no more will come.
    pub(super) async fn next(&self) -> Option<Message> {
        match self {
            Self::Local(client) => client.next().await,
            Self::Remote(connection) => connection.next().await,
        }
    }

    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Why no more messages come.
    pub(super) fn ending(&self) -> String {
        match self {
            Self::Local(_) => "the kernel has ended".to_owned(),
            Self::Remote(connection) => connection.ending(),
        }
    }

    /// Asks the kernel what it is, and says it.
    pub(super) async fn greet(&self) -> Result<String, String> {
        let id = self.send(RequestBody::KernelInfoRequest {})?;
        loop {
            let message = self.next().await.ok_or_else(|| self.ending())?;
            match message {
                Message::Reply(reply) if reply.parent_id == id => match reply.body {
                    ReplyBody::KernelInfoReply(info) => return Ok(self.greeting(&info)),
                    ReplyBody::ErrorReply { message } => return Err(message),
                    _ => {}
                },
                // Nothing has been asked that could have caused it.
                _ => {}
            }
        }
    }

    fn greeting(&self, info: &KernelInfo) -> String {
        let versions = format!("llmspell {}, Lua {}", info.version, info.lua_version);
        let whose = match self {
            Self::Local(_) => versions,
            Self::Remote(_) => format!("kernel {} ({versions})", info.id),
        };
        format!("{whose}. Type .help for help; Ctrl-D leaves.\n")
    }
}
