//! Values that resist being looked at, and values that change under the look.

use serde_json::{Value, json};

use crate::lab::{Debugged, debug};

fn stopped(script: &str) -> Debugged {
    let mut debugged = debug(script);
    debugged.expect_stop("breakpoint");
    debugged
}

/// The variable of this name in a scope of the topmost frame.
fn variable(debugged: &mut Debugged, scope: &str, name: &str) -> Value {
    let frame = debugged.stack_trace()[0].id;
    let scopes = debugged.scopes(frame);
    let (_, reference) =
        scopes.iter().find(|(theirs, _)| theirs == scope).expect("the scope is there").clone();
    let body = debugged.request("variables", json!({ "variablesReference": reference }));
    let variables = body["variables"].as_array().unwrap();
    let found = variables.iter().find(|variable| variable["name"] == name);
    found.unwrap_or_else(|| panic!("no '{name}' in {body}")).clone()
}

#[test]
fn metamethods_that_loop_or_fail_harm_nobody() {
    for body in [
        "while true do end",
        "error('no')",
        "error(nil)",
        "return 42",
        "coroutine.yield()",
        "return ('x'):rep(1e8)",
    ] {
        let script = format!(
            "local function bad() {body} end
local object = setmetatable({{ field = 7 }}, {{ __tostring = bad, __pairs = bad, __len = bad,
  __index = bad, __newindex = bad, __eq = bad, __call = bad, __concat = bad, __close = bad, __gc = nil }})
print('here') --@
print(rawget(object, 'field'))"
        );
        let mut debugged = stopped(&script);
        let object = variable(&mut debugged, "Locals", "object");
        let children = debugged.variables(object["variablesReference"].as_i64().unwrap());
        assert!(children.contains(&("field".to_owned(), "7".to_owned())), "{body}: {children:?}");
        let hover = debugged.try_evaluate("object.field", "hover");
        assert_eq!(hover.as_deref(), Ok("7"));
        debugged.try_evaluate("object", "watch").expect("the object can be shown");
        debugged.try_evaluate("object", "clipboard").expect("the object can be copied");
        debugged.go_to_end();
        assert_eq!(debugged.stdout(), "here\n7\n");
    }
}

#[test]
fn a_metatable_that_is_protected_or_odd_is_shown_as_it_is() {
    let mut debugged = stopped(
        "local locked = setmetatable({ 1 }, { __metatable = 'locked' })
local named = setmetatable({}, { __name = 42 })
local looped = {} setmetatable(looped, looped) looped.__index = looped
print(#locked) --@",
    );
    for name in ["locked", "named", "looped"] {
        let value = variable(&mut debugged, "Locals", name);
        debugged.variables(value["variablesReference"].as_i64().unwrap());
    }
    assert_eq!(debugged.try_evaluate("looped.missing", "hover").ok().as_deref(), Some("nil"));
    debugged.go_to_end();
}

#[test]
fn garbage_may_be_collected_during_a_stop() {
    let mut debugged = stopped(
        "local weak = setmetatable({}, { __mode = 'kv' })
weak[1] = { 'going' }
local kept = { { 'inner' } }
setmetatable({}, { __gc = function() kept.finalized = true end })
print('here') --@
print(kept[1][1])",
    );
    let weak = variable(&mut debugged, "Locals", "weak");
    let weak = weak["variablesReference"].as_i64().unwrap();
    let kept = variable(&mut debugged, "Locals", "kept");
    let kept = kept["variablesReference"].as_i64().unwrap();
    let inner = debugged.request("variables", json!({ "variablesReference": kept }));
    let inner = inner["variables"][0]["variablesReference"].as_i64().unwrap();
    for _ in 0..3 {
        debugged.evaluate("collectgarbage()");
        debugged.variables(weak);
        assert_eq!(debugged.variables(inner)[0].1, "\"inner\"");
    }
    // The table goes while its reference is known to the client.
    debugged.evaluate("kept[1] = nil");
    debugged.evaluate("collectgarbage()");
    assert_eq!(debugged.variables(inner)[0].1, "\"inner\"", "what is shown is kept");
    debugged.evaluate("kept[1] = {'new'}");
    debugged.evaluate("collectgarbage('generational')");
    debugged.go_to_end();
    assert_eq!(debugged.stdout(), "here\nnew\n");
}

#[test]
fn a_table_may_change_between_two_pages() {
    let mut debugged = stopped(
        "local t = {} for i = 1, 1000 do t[i] = i t['k' .. i] = i end
print(#t) --@",
    );
    let table = variable(&mut debugged, "Locals", "t");
    let reference = table["variablesReference"].as_i64().unwrap();
    assert_eq!(table["indexedVariables"], 1000);
    let page = |debugged: &mut Debugged, filter: &str, start: usize| {
        let arguments = json!({
            "variablesReference": reference, "filter": filter, "start": start, "count": 10,
        });
        let body = debugged.request("variables", arguments);
        body["variables"].as_array().unwrap().len()
    };
    assert_eq!(page(&mut debugged, "named", 0), 10);
    debugged.evaluate(
        "for i = 1, 1000 do t['k' .. i] = nil end for i = 1, 5000 do t['n' .. i] = i end",
    );
    assert_eq!(page(&mut debugged, "named", 500), 10);
    debugged.evaluate("for k in pairs(t) do t[k] = nil end");
    assert_eq!(page(&mut debugged, "named", 500), 0);
    assert_eq!(page(&mut debugged, "indexed", 990), 0);
    debugged.evaluate("t = nil");
    assert_eq!(page(&mut debugged, "named", 0), 0);
    debugged.request("terminate", json!({}));
    debugged.ends_with(143);
}

#[test]
fn odd_keys_can_be_shown_and_written() {
    let mut debugged = stopped(
        "local t = { [1.5] = 'float', [true] = 'yes', ['two words'] = 'space', ['end'] = 'keyword',
  ['a\"b'] = 'quote', ['\\0\\xff'] = 'bytes', [-1] = 'negative', [1e100] = 'big', [print] = 'function' }
print('here') --@
print(t[1.5], t[true], t['two words'], t['end'], t['a\"b'], t['\\0\\xff'], t[-1], t[1e100], t[print])",
    );
    let table = variable(&mut debugged, "Locals", "t");
    let reference = table["variablesReference"].as_i64().unwrap();
    let body = debugged.request("variables", json!({ "variablesReference": reference }));
    for child in body["variables"].as_array().unwrap().clone() {
        let name = child["name"].as_str().unwrap().to_owned();
        if name.contains("metatable") {
            continue;
        }
        let change = json!({ "variablesReference": reference, "name": name, "value": "'changed'" });
        debugged.request("setVariable", change);
        if let Some(expression) = child["evaluateName"].as_str() {
            assert_eq!(debugged.evaluate(expression), "\"changed\"", "{expression}");
        }
    }
    debugged.go_to_end();
    assert_eq!(debugged.stdout(), format!("here\n{}\n", ["changed"; 9].join("\t")));
}

#[test]
fn constants_and_closing_variables_are_left_alone_or_changed_honestly() {
    let mut debugged = stopped(
        "local folded <const> = 42
local constant <const> = { 1 }
local closed = 0
do
  local closing <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
  print(folded, #constant) --@
end
print(folded, #constant, closed)",
    );
    let frame = debugged.stack_trace()[0].id;
    let names: Vec<String> =
        debugged.scope(frame, "Locals").into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"closing".to_owned()) && names.contains(&"constant".to_owned()));
    // Lua keeps no note of `<const>`; refused or done, the answer must be true.
    let scopes = debugged.scopes(frame);
    let arguments =
        json!({ "variablesReference": scopes[0].1, "name": "constant", "value": "{2, 3}" });
    let answer = debugged.try_request("setVariable", arguments);
    let length = debugged.evaluate("#constant");
    assert_eq!(length, if answer.is_ok() { "2" } else { "1" });
    debugged.go_to_end();
    assert_eq!(debugged.stdout(), format!("42\t{length}\n42\t{length}\t1\n"));
}

#[test]
fn every_frame_of_every_kind_can_be_opened() {
    let mut debugged = stopped(
        "local function deep(n, ...)
  local here = n
  if n == 0 then
    print('deep') --@
    return here
  end
  if n == 1 then return (string.gsub('x', 'x', function() return deep(0) end)) end
  if n == 2 then return (pcall(deep, 1, 'vararg')) end
  if n == 3 then return (coroutine.wrap(deep)(2, nil, nil)) end
  if n == 4 then table.sort({ 2, 1 }, function() deep(3) end) return end
  if n == 5 then return setmetatable({}, { __index = function() return deep(4) end }).x end
  return deep(n - 1, n)
end
deep(8)",
    );
    let stack = debugged.stack_trace();
    assert!(stack.len() > 10, "{stack:?}");
    for frame in &stack {
        for (name, reference) in debugged.scopes(frame.id) {
            if name != "Globals" && name != "Standard library" {
                debugged.variables(reference);
            }
        }
        // Also in frames that have no names of their own.
        let arguments =
            json!({ "expression": "type(print)", "frameId": frame.id, "context": "watch" });
        let value = debugged.request("evaluate", arguments);
        assert_eq!(value["result"], "\"function\"", "{frame:?}");
    }
    debugged.go_to_end();
}

#[test]
fn two_hundred_locals_and_upvalues_fit() {
    let locals: String = (0..190).map(|i| format!("local v{i} = {i}\n")).collect();
    let uses: String = (0..190).map(|i| format!("v{i}, ")).collect();
    let script = format!(
        "{locals}local function f()
  local _ = {{ {uses} }}
  print('here') --@
end
f()"
    );
    let mut debugged = stopped(&script);
    let frame = debugged.stack_trace()[0].id;
    let upvalues = debugged.scope(frame, "Upvalues");
    assert!(upvalues.len() >= 190, "{}", upvalues.len());
    assert_eq!(debugged.evaluate("v0 + v189"), "189");
    debugged.evaluate("v77 = 'changed'");
    assert_eq!(debugged.evaluate("v77"), "\"changed\"");
    debugged.go_to_end();
}
