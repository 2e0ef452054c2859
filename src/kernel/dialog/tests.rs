//! A conversation without a kernel: what each message changes.

use super::*;

fn line(text: &str) -> Line {
    if is_command(text) { Line::Command(text.into()) } else { Line::Lua(text.into()) }
}

fn reply(id: &str, body: ReplyBody) -> Message {
    Message::Reply(Reply { parent_id: id.into(), session: Some("main".into()), body })
}

fn ok(id: &str) -> Message {
    let text = String::new();
    reply(id, ReplyBody::CommandReply { text })
}

fn over(id: &str) -> Message {
    reply(
        id,
        ReplyBody::ExecuteReply(Executed {
            status: Status::Ok,
            execution_count: 1,
            values: vec!["1".into()],
            error: None,
            traceback: None,
            exit_code: None,
            duration_ms: 0.0,
        }),
    )
}

fn told(body: PublicationBody) -> Message {
    let session = Some("main".to_owned());
    Message::Publication(Publication { parent_id: None, session, body })
}

fn stopped() -> Message {
    told(PublicationBody::Stopped(Stopped {
        reason: "step".into(),
        source: "f.lua".into(),
        line: 3,
        text: "return m".into(),
        ..Stopped::default()
    }))
}

#[test]
fn lines_are_gathered_until_they_are_whole() {
    let mut chunk = Chunk::default();
    assert_eq!(chunk.push("  "), None);
    assert_eq!(chunk.push("x = 1"), Some(line("x = 1")));
    assert_eq!(chunk.push("function f()"), None);
    assert_eq!(chunk.push(""), None, "an empty line ends nothing");
    assert_eq!(chunk.push("  return g"), None);
    assert_eq!(chunk.push("  .x"), None, "it is Lua here");
    assert_eq!(chunk.push(".cancel"), None);
    assert!(chunk.is_empty());
    assert_eq!(chunk.push(" .help "), Some(line(".help")));
    assert_eq!(chunk.push(".5 + 1"), Some(Line::Lua(".5 + 1".into())));
    assert_eq!(chunk.push(".time for i = 1, 2 do"), None);
    assert_eq!(chunk.push("end"), Some(line(".time for i = 1, 2 do\nend")));
    assert_eq!(chunk.push("x ="), None);
    assert_eq!(chunk.rest(), Some(line("x =")));
    assert_eq!(chunk.rest(), None);
}

#[test]
fn long_chunks_are_gathered_too() {
    let filler = "x = { [ [[\n]]..'(' ] = 1, f(2) } --[[ do ]] -- if\n".repeat(100);
    let long = format!(
        "function f()\n{filler}for i = 1, 2 do\nend\nrepeat until x\n\
         s = [==[\n end ]]\n]==]\nif x then return '\\\n)' end\nend"
    );
    let mut chunk = Chunk::default();
    let lines: Vec<_> = long.lines().collect();
    let (last, before) = lines.split_last().unwrap();
    for (number, line) in before.iter().enumerate() {
        assert_eq!(chunk.push(line), None, "{number}: {line}");
    }
    assert_eq!(chunk.push(last), Some(line(&long)));
    // Such as goes on without anything open.
    let long = format!("x = 1 {}", "+ 1 ".repeat(2000));
    assert_eq!(chunk.push(&(long.clone() + "+")), None);
    assert_eq!(chunk.push("1"), Some(line(&(long + "+\n1"))));
}

#[test]
fn the_next_line_waits_for_the_answer() {
    let mut dialog = Dialog::default();
    dialog.sent("1", line("f()"));
    assert!(!dialog.is_ready());
    assert_eq!(dialog.take(over("0")).len(), 1, "it is shown, whoever asked");
    assert!(!dialog.is_ready());
    assert_eq!(dialog.take(over("1")), [Piece::lines(Tone::Value, "1")]);
    assert!(dialog.is_ready() && dialog.is_idle());
}

#[test]
fn a_stop_lets_the_next_line_go_to_where_it_stands() {
    let mut dialog = Dialog::default();
    dialog.sent("1", line(".break f"));
    dialog.take(ok("1"));
    dialog.sent("2", line("f()"));
    let pieces = dialog.take(stopped());
    assert_eq!(pieces[0].text, "stopped: step at f.lua:3\n    3  return m\n");
    assert!(dialog.is_ready() && !dialog.is_idle());
    assert!(matches!(
        dialog.request(&line("m")),
        RequestBody::ExecuteRequest(Execute { in_frame: true, .. })
    ));
    dialog.sent("3", line(".next"));
    dialog.take(ok("3"));
    assert!(!dialog.is_ready(), "it goes on, though nothing has said so yet");
    dialog.take(told(PublicationBody::Resumed {}));
    dialog.take(stopped());
    assert!(dialog.is_ready());
    // The stop of a step may also come before the step's own answer.
    dialog.sent("3", line(".step"));
    dialog.take(told(PublicationBody::Resumed {}));
    dialog.take(stopped());
    assert!(!dialog.is_ready());
    dialog.take(ok("3"));
    assert!(dialog.is_ready());
    dialog.sent("4", line(".continue"));
    dialog.take(told(PublicationBody::Resumed {}));
    dialog.take(ok("4"));
    assert!(!dialog.is_ready(), "the cell goes on");
    dialog.take(over("2"));
    assert!(dialog.is_idle());
}

#[test]
fn stops_for_others_keep_lines_waiting() {
    let mut dialog = Dialog::default();
    dialog.sent("1", line(".debug on"));
    dialog.take(reply("1", ReplyBody::ErrorReply { message: "no".into() }));
    assert!(dialog.has_failed());
    dialog.sent("2", line("f()"));
    assert!(dialog.take(stopped())[0].text.ends_with("(for another debugger)\n"));
    assert!(!dialog.is_ready() && dialog.stop().is_none());
}

#[test]
fn another_session_does_not_wait_for_the_one_left() {
    let mut dialog = Dialog::default();
    dialog.sent("1", line(".debug on"));
    dialog.take(ok("1"));
    dialog.sent("2", line("f()"));
    dialog.take(stopped());
    dialog.sent("3", line(".session new b"));
    let body = ReplyBody::CommandReply { text: "using 'b'\n".into() };
    let session = Some("b".to_owned());
    dialog.take(Message::Reply(Reply { parent_id: "3".into(), session, body }));
    assert!(dialog.is_idle() && dialog.stop().is_none());
    assert_eq!(dialog.session(), Some("b"));
}

#[test]
fn lines_begin_where_lines_begin() {
    let mut layout = Layout::default();
    let raw = |text: &str| Piece { tone: Tone::Output, text: text.into() };
    assert_eq!(layout.before(&raw("a")), "");
    assert_eq!(layout.before(&raw("b")), "");
    assert_eq!(layout.before(&Piece::lines(Tone::Answer, "")), "");
    assert_eq!(layout.before(&Piece::lines(Tone::Value, "1")), "\n");
    assert_eq!(layout.before(&Piece::lines(Tone::Value, "2")), "");
    assert_eq!(layout.finish_line(), "");
}

#[test]
fn characters_beyond_ascii_are_taken_anywhere() {
    for line in ["Ź+", "local ƣx = {1}", "陲l", "i?ۀ", "x = 'é'"] {
        // Whether it is Lua is Lua's business.
        let _ = super::Chunk::default().push(line);
    }
}
