//! Conditions, hit conditions and log messages of breakpoints.
//!
//! A condition on a hot line is asked millions of times, so comparisons of
//! locals, upvalues and literals, joined by `and`/`or`, are decided here on the
//! paused frame's own stack; everything else is compiled once and goes through
//! the evaluator.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, c_int},
    sync::atomic::{AtomicI32, AtomicUsize, Ordering},
};

use mlua::ffi::{self, lua_Debug, lua_State};

use crate::{
    debug::scratch,
    lua::{layout::CallInfo, raw},
};

/// A condition: an expression that is known to compile.
pub(super) struct Condition {
    pub(super) text: String,
    quick: Option<Vec<Vec<Comparison>>>,
}

impl Condition {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        scratch::check_expression(text).map_err(|message| format!("condition: {message}"))?;
        Ok(Self { text: text.to_owned(), quick: Parser::parse(text) })
    }

    /// Decides the condition without the evaluator; `None` if that is not
    /// possible here.
    ///
    /// # Safety
    /// `frame` must be the running Lua frame of `l`, inside a hook.
    pub(super) unsafe fn decide(&self, l: *mut lua_State, frame: *mut CallInfo) -> Option<bool> {
        let alternatives = self.quick.as_ref()?;
        // SAFETY: by the caller's promise.
        let site = unsafe { Site::of(l, frame) };
        for comparisons in alternatives {
            let mut all = true;
            for comparison in comparisons {
                // SAFETY: a hook has twenty free slots; each comparison uses three.
                if !unsafe { comparison.decide(&site)? } {
                    all = false;
                    break;
                }
            }
            if all {
                return Some(true);
            }
        }
        Some(false)
    }
}

/// Where a condition is asked.
struct Site {
    l: *mut lua_State,
    frame: *mut CallInfo,
    record: lua_Debug,
    /// Prototype and instruction, to recognise the place.
    proto: usize,
    pc: c_int,
}

impl Site {
    unsafe fn of(l: *mut lua_State, frame: *mut CallInfo) -> Self {
        // SAFETY: a running Lua frame, by the caller's promise.
        unsafe {
            Self {
                l,
                frame,
                record: crate::lua::layout::activation(frame),
                proto: std::ptr::from_ref((*frame).proto()) as usize,
                pc: (*frame).pc(),
            }
        }
    }
}

struct Comparison {
    left: Operand,
    operator: Operator,
    right: Operand,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

enum Operand {
    Name(Name),
    Integer(i64),
    Float(f64),
    Text(Vec<u8>),
    Boolean(bool),
    Nil,
}

/// A variable, with the place where it was found last: positive for a local,
/// negative for an upvalue, zero for neither.
struct Name {
    text: CString,
    proto: AtomicUsize,
    pc: AtomicI32,
    index: AtomicI32,
}

impl Comparison {
    unsafe fn decide(&self, site: &Site) -> Option<bool> {
        // SAFETY: pushes two values and pops them again.
        unsafe {
            let l = site.l;
            if !self.left.push(site) {
                return None;
            }
            if !self.right.push(site) {
                ffi::lua_pop(l, 1);
                return None;
            }
            let (left, right) = (ffi::lua_type(l, -2), ffi::lua_type(l, -1));
            let is_plain = |kind| !matches!(kind, ffi::LUA_TTABLE | ffi::LUA_TUSERDATA);
            let ordered = left == right && matches!(left, ffi::LUA_TNUMBER | ffi::LUA_TSTRING);
            let (left_first, operator) = match self.operator {
                Operator::Equal | Operator::NotEqual => (true, ffi::LUA_OPEQ),
                Operator::Less => (true, ffi::LUA_OPLT),
                Operator::LessOrEqual => (true, ffi::LUA_OPLE),
                Operator::Greater => (false, ffi::LUA_OPLT),
                Operator::GreaterOrEqual => (false, ffi::LUA_OPLE),
            };
            let decided = if operator == ffi::LUA_OPEQ {
                // Metamethods only ever compare two tables or two userdata.
                is_plain(left) || left != right || ffi::lua_rawequal(l, -2, -1) != 0
            } else {
                ordered
            };
            let (first, second) = if left_first { (-2, -1) } else { (-1, -2) };
            let holds = decided.then(|| ffi::lua_compare(l, first, second, operator) != 0);
            ffi::lua_pop(l, 2);
            holds.map(|holds| holds != (self.operator == Operator::NotEqual))
        }
    }
}

impl Operand {
    /// Pushes the operand; `false` (and nothing pushed) if it is not in reach.
    unsafe fn push(&self, site: &Site) -> bool {
        // SAFETY: pushes one value.
        unsafe {
            match self {
                Self::Name(name) => return name.push(site),
                Self::Integer(value) => ffi::lua_pushinteger(site.l, *value),
                Self::Float(value) => ffi::lua_pushnumber(site.l, *value),
                Self::Text(bytes) => raw::push_bytes(site.l, bytes),
                Self::Boolean(value) => ffi::lua_pushboolean(site.l, c_int::from(*value)),
                Self::Nil => ffi::lua_pushnil(site.l),
            }
        }
        true
    }
}

impl Name {
    unsafe fn push(&self, site: &Site) -> bool {
        if self.proto.load(Ordering::Relaxed) != site.proto
            || self.pc.load(Ordering::Relaxed) != site.pc
        {
            // SAFETY: as for this function.
            let index = unsafe { self.find(site) };
            self.index.store(index, Ordering::Relaxed);
            self.pc.store(site.pc, Ordering::Relaxed);
            self.proto.store(site.proto, Ordering::Relaxed);
        }
        // SAFETY: the index was found at this very instruction.
        unsafe {
            match self.index.load(Ordering::Relaxed) {
                0 => false,
                index if index > 0 => {
                    !ffi::lua_getlocal(site.l, &raw const site.record, index).is_null()
                }
                index => {
                    let mut record = crate::lua::layout::activation(site.frame);
                    raw::get_info(site.l, c"f", &mut record);
                    let found = !ffi::lua_getupvalue(site.l, -1, -index).is_null();
                    ffi::lua_remove(site.l, if found { -2 } else { -1 });
                    found
                }
            }
        }
    }

    /// The innermost local of this name, else the upvalue.
    unsafe fn find(&self, site: &Site) -> c_int {
        let mut found = 0;
        // SAFETY: each name comes with a value, popped at once.
        unsafe {
            for index in 1.. {
                let name = ffi::lua_getlocal(site.l, &raw const site.record, index);
                if name.is_null() {
                    break;
                }
                ffi::lua_pop(site.l, 1);
                if CStr::from_ptr(name) == self.text.as_c_str() {
                    found = index;
                }
            }
            if found != 0 {
                return found;
            }
            let mut record = crate::lua::layout::activation(site.frame);
            raw::get_info(site.l, c"f", &mut record);
            for index in 1.. {
                let name = ffi::lua_getupvalue(site.l, -1, index);
                if name.is_null() {
                    break;
                }
                ffi::lua_pop(site.l, 1);
                if CStr::from_ptr(name) == self.text.as_c_str() {
                    found = -index;
                    break;
                }
            }
            ffi::lua_pop(site.l, 1);
        }
        found
    }
}

/// Reads `a < 1 and b == "x" or c`-like conditions; gives up on everything else.
struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn parse(text: &'t str) -> Option<Vec<Vec<Comparison>>> {
        let mut parser = Self { rest: text.trim() };
        let mut alternatives = vec![vec![parser.comparison()?]];
        while !parser.rest.is_empty() {
            let word = parser.word()?;
            let comparison = parser.comparison()?;
            match word {
                "and" => alternatives.last_mut()?.push(comparison),
                "or" => alternatives.push(vec![comparison]),
                _ => return None,
            }
        }
        Some(alternatives)
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let left = self.operand()?;
        let operators = [
            ("==", Operator::Equal),
            ("~=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let (sign, operator) =
            operators.into_iter().find(|(sign, _)| self.rest.starts_with(sign))?;
        self.skip(sign.len());
        // `a << b` and the like are for the evaluator.
        if self.rest.starts_with(['<', '>', '=']) {
            return None;
        }
        let right = self.operand()?;
        Some(Comparison { left, operator, right })
    }

    fn operand(&mut self) -> Option<Operand> {
        let first = self.rest.chars().next()?;
        let operand = match first {
            '"' | '\'' => {
                let (text, _) = self.rest[1..].split_once(first)?;
                if text.contains('\\') {
                    return None;
                }
                self.skip(text.len() + 2);
                Operand::Text(text.as_bytes().to_vec())
            }
            '-' | '0'..='9' => self.number()?,
            _ => match self.word()? {
                "nil" => Operand::Nil,
                "true" => Operand::Boolean(true),
                "false" => Operand::Boolean(false),
                "and" | "or" | "not" | "function" => return None,
                word => Operand::Name(Name {
                    text: CString::new(word).ok()?,
                    proto: AtomicUsize::new(0),
                    pc: AtomicI32::new(0),
                    index: AtomicI32::new(0),
                }),
            },
        };
        // `a.b`, `a + 1`, `f()` are for the evaluator.
        let ends = self.rest.is_empty()
            || self.rest.starts_with(['=', '~', '<', '>'])
            || ["and ", "or "].iter().any(|word| self.rest.starts_with(word));
        ends.then_some(operand)
    }

    fn number(&mut self) -> Option<Operand> {
        let digits = self.rest.trim_start_matches('-');
        let sign = self.rest.len() - digits.len();
        let length =
            digits.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(digits.len());
        let text = &self.rest[..sign + length];
        if sign > 1 || digits[length..].starts_with(|it: char| it.is_alphanumeric()) {
            return None;
        }
        let number = match text.parse() {
            Ok(integer) => Operand::Integer(integer),
            Err(_) => Operand::Float(text.parse().ok()?),
        };
        self.skip(sign + length);
        Some(number)
    }

    fn word(&mut self) -> Option<&'t str> {
        let is_word = |it: char| it == '_' || it.is_ascii_alphanumeric();
        let length = self.rest.find(|it| !is_word(it)).unwrap_or(self.rest.len());
        let word = &self.rest[..length];
        self.skip(length);
        (!word.is_empty()).then_some(word)
    }

    fn skip(&mut self, length: usize) {
        self.rest = self.rest[length..].trim_start();
    }
}

/// When a breakpoint counts, by how often it was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HitCondition {
    test: HitTest,
    count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HitTest {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Multiple,
}

impl HitCondition {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let tests = [
            ("==", HitTest::Equal),
            (">=", HitTest::GreaterOrEqual),
            ("<=", HitTest::LessOrEqual),
            ("=", HitTest::Equal),
            (">", HitTest::Greater),
            ("<", HitTest::Less),
            ("%", HitTest::Multiple),
            ("", HitTest::Equal),
        ];
        let parsed = tests.into_iter().find_map(|(sign, test)| {
            let count = text.trim().strip_prefix(sign)?.trim().parse().ok()?;
            Some(Self { test, count })
        });
        match parsed {
            Some(Self { test: HitTest::Multiple, count: 0 }) | None => Err(format!(
                "hit condition: '{text}' is not understood; write 5, >= 5, > 5, <= 5, < 5 or % 3"
            )),
            Some(parsed) => Ok(parsed),
        }
    }

    /// Whether the `hits`th hit counts.
    pub(super) fn holds(self, hits: u32) -> bool {
        match self.test {
            HitTest::Equal => hits == self.count,
            HitTest::Less => hits < self.count,
            HitTest::LessOrEqual => hits <= self.count,
            HitTest::Greater => hits > self.count,
            HitTest::GreaterOrEqual => hits >= self.count,
            HitTest::Multiple => hits.is_multiple_of(self.count),
        }
    }
}

/// A log message, split into words and expressions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogMessage {
    pub(super) parts: Vec<LogPart>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum LogPart {
    Text(String),
    Expression(String),
}

impl LogMessage {
    /// Braces hold expressions (which may hold braces themselves); `\{` is a
    /// brace.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            if let Some(brace) = rest.strip_prefix('\\').filter(|it| it.starts_with(['{', '}'])) {
                plain.push_str(&brace[..1]);
                rest = &brace[1..];
            } else if next == '{' {
                let length = closing_brace(rest)
                    .ok_or_else(|| format!("log message: '{{' without '}}' in '{text}'"))?;
                let expression = rest[1..length].trim().to_owned();
                scratch::check_expression(&expression)
                    .map_err(|message| format!("log message: {message}"))?;
                parts.push(LogPart::Text(std::mem::take(&mut plain)));
                parts.push(LogPart::Expression(expression));
                rest = &rest[length + 1..];
            } else {
                plain.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
        parts.push(LogPart::Text(plain));
        Ok(Self { parts })
    }
}

/// Position of the brace that closes the one `text` starts with.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(index),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_comparisons_are_recognised() {
        for quick in ["n < -1", "x == 'a' and y ~= nil", "a<=1 or b>2.5", "done == false", "a == b"]
        {
            assert!(Parser::parse(quick).is_some(), "{quick}");
        }
        for slow in [
            "a.b == 1",
            "#t > 3",
            "f() == 1",
            "a + 1 < 2",
            "not a",
            "a",
            "a << 1 == 2",
            "x == 'a\\n'",
            "1e5 < a",
            "a == 1 and (b == 2)",
        ] {
            assert!(Parser::parse(slow).is_none(), "{slow}");
        }
    }

    #[test]
    fn hit_conditions() {
        let check = |text: &str, expected: &[u32]| {
            let condition = HitCondition::parse(text).unwrap();
            let hits: Vec<u32> = (1..=7).filter(|&hits| condition.holds(hits)).collect();
            assert_eq!(hits, expected, "{text}");
        };
        check("3", &[3]);
        check(">= 6", &[6, 7]);
        check(">5", &[6, 7]);
        check("% 3", &[3, 6]);
        check("<3", &[1, 2]);
        check("== 2", &[2]);
        for bad in ["", "x", "% 0", ">= ", "-1", "3 3"] {
            assert!(HitCondition::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn log_messages() {
        let parts = LogMessage::parse(r"a={a} \{b\} {({1})[1]}").unwrap().parts;
        assert_eq!(
            parts,
            [
                LogPart::Text("a=".into()),
                LogPart::Expression("a".into()),
                LogPart::Text(" {b} ".into()),
                LogPart::Expression("({1})[1]".into()),
                LogPart::Text(String::new()),
            ]
        );
        assert!(LogMessage::parse("{a").is_err());
        assert!(LogMessage::parse("{a +}").is_err());
    }
}
