//! The calls on a line, for a step into one of several.
//!
//! Read from the bytecode: every call instruction from where the frame stands to
//! the end of the line, named by the instruction that put the function into its
//! register.

#![allow(unsafe_code)]

use mlua::ffi;

use crate::{
    debug::{inspector::FramePlace, model::StepInTarget},
    lua::{
        layout::{self, Proto},
        raw,
    },
};

// lopcodes.h of Lua 5.4.9.
const MOVE: u32 = 0;
const GET_UPVALUE: u32 = 9;
const GET_TABLE_UP: u32 = 11;
const GET_FIELD: u32 = 14;
const SELF: u32 = 20;
const CALL: u32 = 68;
const TAIL_CALL: u32 = 69;

fn opcode(instruction: u32) -> u32 {
    instruction & 0x7F
}

fn a(instruction: u32) -> usize {
    (instruction >> 7 & 0xFF) as usize
}

fn b(instruction: u32) -> usize {
    (instruction >> 16 & 0xFF) as usize
}

fn c(instruction: u32) -> usize {
    (instruction >> 24) as usize
}

/// The calls that a stopped Lua frame is about to make on its line, in the order
/// in which they happen. A target's id is its instruction.
///
/// # Safety
/// The frame must stand still.
pub(super) unsafe fn targets(place: FramePlace) -> Vec<StepInTarget> {
    // SAFETY: by the caller's promise.
    let (proto, pc) = unsafe { ((*place.frame).proto(), (*place.frame).pc()) };
    let Ok(pc) = usize::try_from(pc) else { return Vec::new() };
    let Some((_, line)) = proto.lines().nth(pc) else { return Vec::new() };
    let code = proto.instructions();
    let mut targets = Vec::new();
    for (at, _) in proto.lines().skip(pc).take_while(|(_, other)| *other == line) {
        let Some(&instruction) = code.get(at) else { break };
        if matches!(opcode(instruction), CALL | TAIL_CALL) {
            let name = callee(place, proto, code, at, a(instruction));
            let name = name.unwrap_or_else(|| "(function)".to_owned());
            targets.push(StepInTarget { id: u32::try_from(at).unwrap_or(0), label: name, line });
        }
    }
    targets
}

/// The name of the function in a register, as the last instruction before `at`
/// that loads that register tells.
fn callee(
    place: FramePlace,
    proto: &Proto,
    code: &[u32],
    at: usize,
    register: usize,
) -> Option<String> {
    let loads = [MOVE, GET_UPVALUE, GET_TABLE_UP, GET_FIELD, SELF];
    let load = code[..at]
        .iter()
        .rev()
        .find(|&&it| loads.contains(&opcode(it)) && a(it) == register)
        .copied()?;
    let name = match opcode(load) {
        MOVE => return local_name(place, b(load)),
        GET_UPVALUE => proto.upvalue_name(b(load)),
        _ => proto.string_constant(c(load)),
    };
    name.map(raw::lossless_text)
}

/// The name of the local in a register.
fn local_name(place: FramePlace, register: usize) -> Option<String> {
    let record = layout::activation(place.frame);
    let index = i32::try_from(register + 1).ok()?;
    // SAFETY: the frame stands still; one free slot.
    unsafe {
        let name = ffi::lua_getlocal(place.l, &raw const record, index);
        if name.is_null() {
            return None;
        }
        ffi::lua_pop(place.l, 1);
        Some(raw::text(name))
    }
}
