//! Requests, from any client over any wire: what each leads to.
//!
//! What needs no Lua is answered here and now; what does becomes a job of a
//! session, or a visit to its VM, and is answered when that is over.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use serde_json::json;

use crate::{
    debug::{Completion, CompletionKind, EvaluateContext, Inspector, RunState},
    kernel::{
        Inner,
        clients::ClientState,
        console,
        events::Origin,
        message::{
            Completeness, Execute, Executed, MAIN_SESSION, Match, Position, PublicationBody,
            ReplyBody, Request, RequestBody, Status, Subscription,
        },
        sessions::{Job, KernelSession},
    },
    lua::syntax,
};

impl Inner {
    /// Carries out a request; its message id.
    pub(super) fn dispatch(
        self: &Arc<Self>,
        client: &Arc<ClientState>,
        request: Request,
    ) -> String {
        let msg_id = request.msg_id.clone().unwrap_or_else(|| client.next_message_id());
        {
            let mut state = client.inner();
            if state.in_flight.contains(&msg_id) {
                drop(state);
                let message = format!("there is a request '{msg_id}' under way");
                let body = ReplyBody::ErrorReply { message };
                let reply = crate::kernel::message::Reply {
                    parent_id: msg_id.clone(),
                    session: None,
                    body,
                };
                client.queue.push(crate::kernel::message::Message::Reply(reply));
                return msg_id;
            }
            state.in_flight.push(msg_id.clone());
        }
        let name = request.session.clone().unwrap_or_else(|| client.inner().session.clone());
        let origin = Origin {
            correlation_id: Some(request.correlation_id.unwrap_or_else(|| msg_id.clone())),
            causation_id: Some(request.causation_id.unwrap_or_else(|| msg_id.clone())),
            session: Some(name.clone()),
        };
        if let Err(message) = self.carry_out(client, &msg_id, &name, origin, request.body) {
            self.answer(client, &msg_id, Some(name), ReplyBody::ErrorReply { message });
        }
        msg_id
    }

    fn carry_out(
        self: &Arc<Self>,
        client: &Arc<ClientState>,
        msg_id: &str,
        session: &str,
        origin: Origin,
        body: RequestBody,
    ) -> Result<(), String> {
        let answer = |body: ReplyBody| self.answer(client, msg_id, Some(session.to_owned()), body);
        let done = || answer(ReplyBody::OkReply {});
        match body {
            RequestBody::ExecuteRequest(execute) => {
                let session = self.session(session)?;
                let job = self.job(client, msg_id, origin, "execute");
                self.execute(&session, job, execute);
            }
            RequestBody::CompleteRequest(position) => {
                let (session, offset) = (self.session(session)?, offset(&position));
                self.visit(client, msg_id, &session, "complete", move |session| async move {
                    complete(&session, position.code, offset).await
                });
            }
            RequestBody::InspectRequest(position) => {
                let (session, offset) = (self.session(session)?, offset(&position));
                self.visit(client, msg_id, &session, "inspect", move |session| async move {
                    inspect(&session, &position.code, offset).await
                });
            }
            RequestBody::IsCompleteRequest { code } => {
                let status = match syntax::completeness(&code) {
                    syntax::Completeness::Complete => Completeness::Complete,
                    syntax::Completeness::Incomplete => Completeness::Incomplete,
                    syntax::Completeness::Invalid => Completeness::Invalid,
                };
                answer(ReplyBody::IsCompleteReply { status });
            }
            RequestBody::CommandRequest { line } => {
                let session = self.session(session)?;
                console::command(self, client, &session, msg_id, &origin, &line)?;
            }
            RequestBody::InterruptRequest {} => {
                self.session(session)?.interrupt();
                done();
            }
            RequestBody::DebugRequest { enabled } => {
                self.set_pilot(client, session, enabled)?;
                done();
            }
            RequestBody::SubscribeRequest(subscription) => {
                client.inner().subscription = Some(checked(subscription)?);
                done();
            }
            RequestBody::KernelInfoRequest {} => {
                answer(ReplyBody::KernelInfoReply(self.info(&client.id)));
            }
            RequestBody::StatusRequest {} => answer(ReplyBody::StatusReply(self.status())),
            RequestBody::ExportStateRequest {} => answer(ReplyBody::StatusReply(self.state())),
            RequestBody::SessionsRequest {} => {
                answer(ReplyBody::SessionsReply { sessions: self.session_infos() });
            }
            RequestBody::CreateSessionRequest { name, profile } => {
                let name = self.create_session(client, name, profile.as_deref())?;
                self.answer(client, msg_id, Some(name), ReplyBody::OkReply {});
            }
            RequestBody::UseSessionRequest { name } => {
                self.use_session(client, &name)?;
                self.answer(client, msg_id, Some(name), ReplyBody::OkReply {});
            }
            RequestBody::EndSessionRequest { name } => {
                self.finish_session(&name)?;
                done();
            }
            RequestBody::ShutdownRequest {} => {
                done();
                self.ask_to_end();
            }
        }
        Ok(())
    }

    /// A request that is carried out on a session, with a trace of its own.
    pub(super) fn job(
        &self,
        client: &Arc<ClientState>,
        msg_id: &str,
        origin: Origin,
        name: &str,
    ) -> Job {
        let attributes = vec![
            ("llmspell.session", json!(origin.session)),
            ("llmspell.client", json!(client.id)),
            ("llmspell.correlation_id", json!(origin.correlation_id)),
        ];
        let span = self.traces.begin(msg_id, name, attributes);
        Job { msg_id: msg_id.to_owned(), origin, client: Arc::clone(client), span, timed: false }
    }

    /// Runs a cell, or evaluates it in the frame where the program stands.
    pub(super) fn execute(self: &Arc<Self>, session: &Arc<KernelSession>, job: Job, cell: Execute) {
        job.client.inner().execution_count += 1;
        let code = syntax::without_equals(&cell.code).to_owned();
        let cell = Execute { code, ..cell };
        if cell.in_frame && session.control.state() == RunState::Stopped {
            self.evaluate(session, job, cell.code);
        } else {
            session.execute(job, cell, self.live().wait_for_debugger);
        }
    }

    fn evaluate(self: &Arc<Self>, session: &Arc<KernelSession>, job: Job, code: String) {
        let (this, session) = (Arc::clone(self), Arc::clone(session));
        spawn(async move {
            let started = Instant::now();
            let frame = session.frame.load(Ordering::SeqCst);
            let in_frame = move |inspector: &Inspector<'_>| {
                let id = console::frame_id(inspector, frame)?;
                inspector.evaluate(&code, Some(id), EvaluateContext::Repl, false)
            };
            session.evaluating.fetch_add(1, Ordering::SeqCst);
            let result = session.control.visit(in_frame).await.and_then(|it| it);
            session.evaluating.fetch_sub(1, Ordering::SeqCst);
            session.control.flush();
            let (status, values, error) = match result {
                Ok(it) if it.value.is_empty() && it.type_name == "nil" => {
                    (Status::Ok, Vec::new(), None)
                }
                Ok(variable) => (Status::Ok, vec![variable.value], None),
                Err(message) => (Status::Error, Vec::new(), Some(message)),
            };
            this.traces.end(&job.span, error.clone());
            this.metrics.record("evaluate", started.elapsed(), status == Status::Ok);
            let executed = Executed {
                status,
                execution_count: 0,
                values,
                error,
                traceback: None,
                exit_code: None,
                duration_ms: started.elapsed().as_secs_f64() * 1000.0,
            };
            this.reply(&job, ReplyBody::ExecuteReply(executed));
        });
    }

    /// Looks into a session's VM as soon as that can be, and answers then.
    fn visit<F>(
        self: &Arc<Self>,
        client: &Arc<ClientState>,
        msg_id: &str,
        session: &Arc<KernelSession>,
        operation: &'static str,
        look: impl FnOnce(Arc<KernelSession>) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<ReplyBody, String>> + Send,
    {
        let (this, client, session) = (Arc::clone(self), Arc::clone(client), Arc::clone(session));
        let msg_id = msg_id.to_owned();
        spawn(async move {
            let started = Instant::now();
            let name = session.name.clone();
            let result = look(session).await;
            this.metrics.record(operation, started.elapsed(), result.is_ok());
            let body = result.unwrap_or_else(|message| ReplyBody::ErrorReply { message });
            this.answer(&client, &msg_id, Some(name), body);
        });
    }

    /// Whether the program of a session stops for a client.
    pub(super) fn set_pilot(
        &self,
        client: &ClientState,
        session: &str,
        enabled: bool,
    ) -> Result<(), String> {
        let control = self.session(session)?.control.clone();
        let mut state = client.inner();
        if enabled {
            state.pilots.entry(session.to_owned()).or_insert_with(|| control.pilot());
        } else {
            state.pilots.remove(session);
        }
        Ok(())
    }

    /// Makes a session that ends with its client, who uses it from now on.
    pub(super) fn create_session(
        self: &Arc<Self>,
        client: &Arc<ClientState>,
        name: Option<String>,
        profile: Option<&str>,
    ) -> Result<String, String> {
        let number = || self.next_session.fetch_add(1, Ordering::Relaxed);
        let name = name.unwrap_or_else(|| format!("session-{}", number()));
        let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
            return Err(format!(
                "'{name}' is no name for a session: use up to 64 letters, digits, '-', '_' and '.'"
            ));
        }
        if self.sessions.all().len() >= MOST_SESSIONS {
            return Err(format!("there are {MOST_SESSIONS} sessions already; end one first"));
        }
        self.add_session(&name, Some(client.id.clone()), profile)?;
        self.use_session(client, &name)?;
        Ok(name)
    }

    /// Has a client use a session; it keeps debugging if it did.
    pub(super) fn use_session(&self, client: &ClientState, name: &str) -> Result<(), String> {
        self.session(name)?;
        let old = std::mem::replace(&mut client.inner().session, name.to_owned());
        let debugs = client.inner().pilots.contains_key(&old);
        if debugs && old != name {
            self.set_pilot(client, &old, false)?;
            self.set_pilot(client, name, true)?;
        }
        Ok(())
    }

    pub(super) fn finish_session(&self, name: &str) -> Result<(), String> {
        if name == MAIN_SESSION {
            return Err("the main session ends with the kernel; reset it instead".to_owned());
        }
        self.session(name)?;
        self.end_session(name);
        Ok(())
    }
}

/// Most sessions at a time: each has a thread.
const MOST_SESSIONS: usize = 64;

/// Runs on the process's runtime, from whatever thread.
pub(super) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    match crate::session::runtime() {
        Ok(runtime) => drop(runtime.spawn(future)),
        Err(error) => tracing::error!("a request is lost: there is no runtime: {error}"),
    }
}

fn offset(position: &Position) -> usize {
    let end = position.code.len();
    let mut offset = position.cursor_pos.unwrap_or(end).min(end);
    while !position.code.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

fn checked(subscription: Subscription) -> Result<Subscription, String> {
    let known = |topic: &String| topic == "*" || PublicationBody::TOPICS.contains(&topic.as_str());
    match subscription.topics.iter().find(|topic| !known(topic)) {
        None => Ok(subscription),
        Some(topic) => Err(format!(
            "'{topic}' is no topic; there are: {}, *",
            PublicationBody::TOPICS.join(", ")
        )),
    }
}

async fn complete(
    session: &KernelSession,
    code: String,
    offset: usize,
) -> Result<ReplyBody, String> {
    let frame = session.frame.load(Ordering::SeqCst);
    let found = session
        .control
        .visit(move |inspector| {
            let frame = console::frame_id(inspector, frame).ok();
            inspector.completions(&code, offset, frame)
        })
        .await?;
    let cursor_start = found.first().map_or(offset, |it| it.start);
    let cursor_end = found.first().map_or(offset, |it| it.start + it.length);
    let kind = |completion: &Completion| match completion.kind {
        CompletionKind::Function => "function",
        CompletionKind::Field => "field",
        CompletionKind::Variable => "variable",
        CompletionKind::Keyword => "keyword",
    };
    let matches =
        found.into_iter().map(|it| Match { kind: kind(&it).to_owned(), text: it.label }).collect();
    Ok(ReplyBody::CompleteReply { matches, cursor_start, cursor_end })
}

async fn inspect(session: &KernelSession, code: &str, offset: usize) -> Result<ReplyBody, String> {
    let path = path_at(code, offset).to_owned();
    let not_found =
        ReplyBody::InspectReply { found: false, value: String::new(), type_name: String::new() };
    if path.is_empty() {
        return Ok(not_found);
    }
    let frame = session.frame.load(Ordering::SeqCst);
    let look = move |inspector: &Inspector<'_>| {
        let frame = console::frame_id(inspector, frame).ok();
        inspector.evaluate(&path, frame, EvaluateContext::Hover, false)
    };
    Ok(match session.control.visit(look).await? {
        Ok(found) if found.type_name != "nil" => {
            ReplyBody::InspectReply { found: true, value: found.value, type_name: found.type_name }
        }
        _ => not_found,
    })
}

/// The name or path, such as `a.b`, around an offset.
fn path_at(code: &str, offset: usize) -> &str {
    let is_part = |it: char| it.is_alphanumeric() || matches!(it, '_' | '.' | ':');
    let start = code[..offset].rfind(|it| !is_part(it));
    let start = start.map_or(0, |at| at + code[at..].chars().next().map_or(0, char::len_utf8));
    let rest = &code[offset..];
    let end = rest.find(|it: char| !(it.is_alphanumeric() || it == '_'));
    let path = &code[start..end.map_or(code.len(), |end| offset + end)];
    path.trim_matches(['.', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_around_the_cursor() {
        let check = |text: &str, expected: &str| {
            let offset = text.find('|').unwrap();
            assert_eq!(path_at(&text.replace('|', ""), offset), expected, "{text}");
        };
        check("print(str|ing.format('x'))", "string");
        check("print(string.fo|rmat('x'))", "string.format");
        check("print(string.format|)", "string.format");
        check("é = |", "");
        check("|x", "x");
        check("a:b|", "a:b");
    }
}
