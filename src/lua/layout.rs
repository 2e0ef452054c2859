//! The inner structures of Lua 5.4.9 that the debug core reads.
//!
//! The public C API answers "which function is this frame running" in about
//! ten nanoseconds and "which lines does it have" not at all for functions that
//! have not been called. A hook that runs on every call needs better, so this
//! file mirrors the few structures involved (lstate.h and lobject.h of the Lua
//! that `mlua-sys` vendors; versions pinned in Cargo.toml). [`verify`] compares
//! the mirrors with the public API when a VM is made, so that another Lua is
//! refused and never misread.

#![allow(unsafe_code)]
// The mirrors name every field, read or not.
#![allow(dead_code)]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr, slice,
};

use mlua::ffi::{self, lua_Debug, lua_State};

/// `lua_State`, lstate.h.
#[repr(C)]
pub(crate) struct State {
    next_object: *mut c_void,
    tt: u8,
    marked: u8,
    pub(crate) status: u8,
    pub(crate) allowhook: u8,
    nci: u16,
    top: *mut c_void,
    global: *mut c_void,
    pub(crate) ci: *mut CallInfo,
    stack_last: *mut c_void,
    stack: *mut c_void,
    openupval: *mut c_void,
    tbclist: *mut c_void,
    gclist: *mut c_void,
    twups: *mut c_void,
    error_jmp: *mut c_void,
    pub(crate) base_ci: CallInfo,
    hook: Option<ffi::lua_Hook>,
    errfunc: isize,
    n_c_calls: u32,
    pub(crate) oldpc: c_int,
    pub(crate) basehookcount: c_int,
    pub(crate) hookcount: c_int,
    pub(crate) hookmask: c_int,
}

/// `CallInfo`, lstate.h: one active function.
#[repr(C)]
pub(crate) struct CallInfo {
    func: *mut TValue,
    top: *mut TValue,
    pub(crate) previous: *mut CallInfo,
    next: *mut CallInfo,
    /// Lua functions only (a union with the fields of C functions).
    savedpc: *const u32,
    trap: c_int,
    nextraargs: c_int,
    old: isize,
    u2: c_int,
    nresults: i16,
    callstatus: u16,
}

const CIST_C: u16 = 1 << 1;
const CIST_TAIL: u16 = 1 << 5;

#[repr(C)]
struct TValue {
    value: *mut c_void,
    tt: u8,
}

const TAG_LUA_CLOSURE: u8 = 6 | 64;
const TAG_LIGHT_C_FUNCTION: u8 = 6 | 16;

#[repr(C)]
struct LuaClosure {
    next_object: *mut c_void,
    tt: u8,
    marked: u8,
    nupvalues: u8,
    gclist: *mut c_void,
    proto: *const Proto,
}

/// `Proto`, lobject.h: a function as compiled, shared by all its closures.
#[repr(C)]
pub(crate) struct Proto {
    next_object: *mut c_void,
    tt: u8,
    marked: u8,
    numparams: u8,
    is_vararg: u8,
    maxstacksize: u8,
    sizeupvalues: c_int,
    sizek: c_int,
    sizecode: c_int,
    sizelineinfo: c_int,
    sizep: c_int,
    sizelocvars: c_int,
    sizeabslineinfo: c_int,
    pub(crate) linedefined: c_int,
    pub(crate) lastlinedefined: c_int,
    k: *const TValue,
    pub(crate) code: *const u32,
    p: *const *const Proto,
    upvalues: *const UpvalueInfo,
    lineinfo: *const i8,
    abslineinfo: *const AbsLineInfo,
    locvars: *mut c_void,
    pub(crate) source: *const TString,
}

#[repr(C)]
struct UpvalueInfo {
    name: *const TString,
    instack: u8,
    idx: u8,
    kind: u8,
}

#[repr(C)]
struct AbsLineInfo {
    pc: c_int,
    line: c_int,
}

/// Opcode bits of an instruction, and the opcodes that end a round of a `for`
/// (`OP_FORLOOP` and `OP_TFORCALL`, lopcodes.h).
const OPCODE: u32 = 0x7F;
const LOOPS: [u32; 2] = [73, 76];

/// Marks an instruction whose line is in `abslineinfo` (ldebug.h).
const ABS_LINE_INFO: i8 = -0x80;

/// `TString`, lobject.h.
#[repr(C)]
pub(crate) struct TString {
    next_object: *mut c_void,
    tt: u8,
    marked: u8,
    extra: u8,
    shrlen: u8,
    hash: u32,
    length: usize,
    contents: [c_char; 0],
}

impl TString {
    /// The string's contents.
    ///
    /// # Safety
    /// A live string of the VM.
    unsafe fn bytes(&self) -> &[u8] {
        let bytes = (&raw const self.contents).cast::<u8>();
        let length = if self.shrlen == 0xFF { self.length } else { usize::from(self.shrlen) };
        // SAFETY: `contents` of both kinds of strings is `length` bytes and a zero.
        unsafe { slice::from_raw_parts(bytes, length) }
    }
}

#[repr(C)]
struct Table {
    next_object: *mut c_void,
    tt: u8,
    marked: u8,
    flags: u8,
    lsizenode: u8,
    alimit: u32,
}

/// `LUA_IDSIZE`, luaconf.h.
const ID_SIZE: usize = 60;

/// `lua_Debug` with its last, private field within reach.
#[repr(C)]
struct Activation {
    event: c_int,
    name: *const c_char,
    namewhat: *const c_char,
    what: *const c_char,
    source: *const c_char,
    srclen: usize,
    currentline: c_int,
    linedefined: c_int,
    lastlinedefined: c_int,
    nups: u8,
    nparams: u8,
    isvararg: c_char,
    istailcall: c_char,
    ftransfer: u16,
    ntransfer: u16,
    short_src: [c_char; ID_SIZE],
    i_ci: *mut CallInfo,
}

const _: () = assert!(size_of::<Activation>() == size_of::<lua_Debug>());

/// Sees a `lua_State` through the mirror.
#[inline]
pub(crate) fn state(state: *mut lua_State) -> *mut State {
    state.cast()
}

impl CallInfo {
    /// Whether a Lua function runs here.
    #[inline]
    pub(crate) fn is_lua(&self) -> bool {
        self.callstatus & CIST_C == 0
    }

    /// Whether the function was reached by a tail call.
    pub(crate) fn is_tail_call(&self) -> bool {
        self.callstatus & CIST_TAIL != 0
    }

    /// Makes the VM look at the hook before the next instruction of this frame.
    ///
    /// # Safety
    /// `self` must be a frame for which [`CallInfo::is_lua`] holds.
    #[inline]
    pub(crate) unsafe fn set_trap(&mut self) {
        debug_assert!(self.is_lua());
        self.trap = 1;
    }

    /// The function running here.
    ///
    /// # Safety
    /// `self` must be an active frame for which [`CallInfo::is_lua`] holds.
    #[inline]
    pub(crate) unsafe fn proto<'a>(&self) -> &'a Proto {
        // SAFETY: `func` of an active Lua frame is a stack slot that holds a Lua
        // closure, and a closure's prototype lives as long as the closure.
        unsafe {
            debug_assert_eq!((*self.func).tt, TAG_LUA_CLOSURE);
            &*(*(*self.func).value.cast::<LuaClosure>()).proto
        }
    }

    /// Index of the instruction that runs (its `savedpc` is the next one).
    ///
    /// # Safety
    /// As for [`CallInfo::proto`].
    pub(crate) unsafe fn pc(&self) -> c_int {
        // SAFETY: `savedpc` points into the code of this frame's prototype.
        let offset = unsafe { self.savedpc.offset_from(self.proto().code) };
        c_int::try_from(offset).unwrap_or(1) - 1
    }
}

impl Proto {
    /// The chunk's name, as given when it was loaded.
    pub(crate) fn source_name(&self) -> &[u8] {
        if self.source.is_null() {
            return b"=?";
        }
        // SAFETY: a prototype keeps its source string alive.
        unsafe { (*self.source).bytes() }
    }

    /// The instructions.
    pub(crate) fn instructions(&self) -> &[u32] {
        // SAFETY: `code` holds `sizecode` instructions.
        unsafe { array(self.code, self.sizecode) }
    }

    /// The constant of this number, if it is a string.
    pub(crate) fn string_constant(&self, index: usize) -> Option<&[u8]> {
        const STRING: u8 = 4;
        // SAFETY: `k` holds `sizek` values, and keeps its strings alive.
        unsafe {
            let value = array(self.k, self.sizek).get(index)?;
            (value.tt & 0x0F == STRING).then(|| (*value.value.cast::<TString>()).bytes())
        }
    }

    /// The name of the upvalue of this number, if it was not stripped.
    pub(crate) fn upvalue_name(&self, index: usize) -> Option<&[u8]> {
        // SAFETY: `upvalues` holds `sizeupvalues` descriptions.
        unsafe {
            let upvalue = array(self.upvalues, self.sizeupvalues).get(index)?;
            upvalue.name.as_ref().map(|name| name.bytes())
        }
    }

    /// The functions written inside this one.
    pub(crate) fn children(&self) -> impl Iterator<Item = &Proto> {
        // SAFETY: `p` holds `sizep` prototypes, alive as long as this one.
        let children = unsafe { array(self.p, self.sizep) };
        children.iter().map(|child| unsafe { &**child })
    }

    /// Calls `found` with the line of each instruction that can be stopped at;
    /// like Lua's own `activelines`, a vararg function's first does not count.
    pub(crate) fn for_each_line(&self, mut found: impl FnMut(u32)) {
        for (_, line) in self.lines().skip(usize::from(self.is_vararg != 0)) {
            found(line);
        }
    }

    /// The line of each instruction. They are stored as deltas with absolute
    /// restarts (`luaG_getfuncline`, ldebug.c).
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, u32)> {
        // SAFETY: both arrays have the stated sizes.
        let (deltas, absolute) = unsafe {
            (array(self.lineinfo, self.sizelineinfo), array(self.abslineinfo, self.sizeabslineinfo))
        };
        let mut line = self.linedefined;
        let mut restarts = absolute.iter();
        deltas.iter().enumerate().map(move |(pc, &delta)| {
            line = if delta == ABS_LINE_INFO {
                restarts.next().map_or(line, |restart| restart.line)
            } else {
                line + c_int::from(delta)
            };
            (pc, u32::try_from(line).unwrap_or(0))
        })
    }

    /// Whether a line begins anew at this instruction, the first one of a run on
    /// that line.
    ///
    /// A call that spans several lines comes back to its first line when its
    /// arguments are ready; that is the same statement, not a new start. A `for`
    /// that comes round to its head is one.
    pub(crate) fn starts_line(&self, pc: c_int) -> bool {
        let Ok(pc) = usize::try_from(pc) else { return true };
        let instruction = self.instructions().get(pc);
        if instruction.is_some_and(|it| LOOPS.contains(&(it & OPCODE))) {
            return true;
        }
        let Some((_, line)) = self.lines().nth(pc) else { return true };
        // Runs of this line before this instruction, not counting the one that
        // leads up to it.
        let mut earlier = self.lines().take(pc).skip(usize::from(self.is_vararg != 0));
        let first = earlier.find(|(_, at)| *at == line);
        first.is_none_or(|_| earlier.all(|(_, at)| at == line))
    }
}

/// Views a C array; empty ones may have a null pointer.
///
/// # Safety
/// `first` must point to `count` readable elements if `count` is positive.
unsafe fn array<'a, T>(first: *const T, count: c_int) -> &'a [T] {
    match usize::try_from(count) {
        Ok(count) if count > 0 && !first.is_null() => unsafe {
            slice::from_raw_parts(first, count)
        },
        _ => &[],
    }
}

/// The prototype of the Lua function at a stack index; `None` for others.
///
/// # Safety
/// `index` must be valid in `state`; the reference lives while the function is
/// reachable from Lua.
pub(crate) unsafe fn proto_at<'a>(state: *mut lua_State, index: c_int) -> Option<&'a Proto> {
    // SAFETY: `lua_topointer` of a Lua function is its closure.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TFUNCTION
            || ffi::lua_iscfunction(state, index) != 0
        {
            return None;
        }
        let closure = ffi::lua_topointer(state, index).cast::<LuaClosure>();
        (*closure).proto.as_ref()
    }
}

/// An activation record for a frame, as `lua_getstack` would fill it, in O(1).
pub(crate) fn activation(frame: *mut CallInfo) -> lua_Debug {
    // SAFETY: both types are plain data of one size (asserted above), and all
    // zeros is a valid value of each.
    unsafe {
        let mut record: lua_Debug = std::mem::zeroed();
        (*(&raw mut record).cast::<Activation>()).i_ci = frame;
        record
    }
}

/// The active frames of a state, innermost first, without its base level.
///
/// # Safety
/// The state must not run while the iterator is used.
pub(crate) unsafe fn frames(state: *mut lua_State) -> impl Iterator<Item = *mut CallInfo> {
    let state = self::state(state);
    // SAFETY: `ci` of a state that does not run heads a list that ends at
    // `base_ci`.
    let (mut frame, base) = unsafe { ((*state).ci, &raw mut (*state).base_ci) };
    std::iter::from_fn(move || {
        if frame == base || frame.is_null() {
            return None;
        }
        let current = frame;
        frame = unsafe { (*current).previous };
        Some(current)
    })
}

/// The C function that handles errors thrown in `state` right now: `None` if
/// there is no handler, null if it is not a light C function.
///
/// # Safety
/// The state must be alive and not run elsewhere.
pub(crate) unsafe fn error_handler(state: *mut lua_State) -> Option<*mut c_void> {
    let state = self::state(state);
    // SAFETY: `errfunc` is zero or the offset of a live stack slot.
    unsafe {
        if (*state).errfunc == 0 {
            return None;
        }
        let slot = (*state).stack.byte_offset((*state).errfunc).cast::<TValue>();
        let is_light = (*slot).tt == TAG_LIGHT_C_FUNCTION;
        Some(if is_light { (*slot).value } else { ptr::null_mut() })
    }
}

/// Number of slots in the array part of the table at `index`
/// (`luaH_realasize`, ltable.c): after this key, `lua_next` walks the hash part.
///
/// # Safety
/// The value at `index` must be a table.
pub(crate) unsafe fn array_size(state: *mut lua_State, index: c_int) -> u32 {
    const LIMIT_IS_NOT_SIZE: u8 = 1 << 7;
    // SAFETY: `lua_topointer` of a table is the table.
    let table = unsafe { &*ffi::lua_topointer(state, index).cast::<Table>() };
    if table.flags & LIMIT_IS_NOT_SIZE == 0 || table.alimit.is_power_of_two() || table.alimit == 0 {
        table.alimit
    } else {
        table.alimit.next_power_of_two()
    }
}

/// Compares the mirrors with what the public API says of a fresh VM.
///
/// # Errors
/// Names the first structure that does not fit: this binary was linked with
/// another Lua than the one it was written for.
///
/// # Safety
/// `l` must be an open state with at least five free stack slots; a hook set
/// on it is lost.
pub(crate) unsafe fn verify(l: *mut lua_State) -> Result<(), String> {
    unsafe extern "C-unwind" fn probe(_: *mut lua_State, _: *mut lua_Debug) {}
    let misfit = |what: &str| {
        Err(format!("the Lua in this binary is not the one it was built for: {what} differs"))
    };
    // SAFETY: only the public API writes; the mirrors are read within the
    // allocation of a `lua_State`, whose size is that of the mirror or more.
    unsafe {
        ffi::lua_sethook(l, Some(probe), ffi::LUA_MASKCALL | ffi::LUA_MASKCOUNT, 12_345);
        let mirror = &*state(l);
        let hook_fits = mirror.hookmask == ffi::LUA_MASKCALL | ffi::LUA_MASKCOUNT
            && mirror.basehookcount == 12_345
            && mirror.hookcount == 12_345
            && mirror.hook.is_some_and(|hook| ptr::fn_addr_eq(hook, probe as ffi::lua_Hook))
            && mirror.allowhook == 1;
        ffi::lua_sethook(l, None, 0, 0);
        if !hook_fits || mirror.hookmask != 0 {
            return misfit("lua_State");
        }
        // Long enough for both kinds of line information and a nested function.
        let text = format!("local a, b = ...{}\nreturn function() return a end", "\n".repeat(300));
        let name = c"@layout";
        if ffi::luaL_loadbufferx(l, text.as_ptr().cast(), text.len(), name.as_ptr(), ptr::null())
            != ffi::LUA_OK
        {
            ffi::lua_pop(l, 1);
            return misfit("the compiler");
        }
        let fits = proto_at(l, -1).is_some_and(|proto| proto_fits(l, proto));
        ffi::lua_pop(l, 1);
        if !fits {
            return misfit("Proto");
        }
        ffi::lua_createtable(l, 5, 0);
        let size = array_size(l, -1);
        ffi::lua_pop(l, 1);
        if size != 5 {
            return misfit("Table");
        }
    }
    Ok(())
}

/// Whether `proto`, of the Lua function on top of the stack, reads as the public
/// API describes that function.
///
/// # Safety
/// The function must be on top of the stack.
unsafe fn proto_fits(l: *mut lua_State, proto: &Proto) -> bool {
    let mut lines = Vec::new();
    proto.for_each_line(|line| lines.push(line));
    lines.dedup();
    // SAFETY: `>` pops the pushed copy of the function, `L` pushes a table.
    unsafe {
        let mut record: lua_Debug = std::mem::zeroed();
        ffi::lua_pushvalue(l, -1);
        ffi::lua_getinfo(l, c">SL".as_ptr(), &raw mut record);
        let known = lines.iter().all(|&line| {
            ffi::lua_rawgeti(l, -1, line.into());
            let active = ffi::lua_toboolean(l, -1) != 0;
            ffi::lua_pop(l, 1);
            active
        });
        ffi::lua_pop(l, 1);
        known
            && !lines.is_empty()
            && proto.source_name() == CStr::from_ptr(record.source).to_bytes()
            && (proto.linedefined, proto.lastlinedefined)
                == (record.linedefined, record.lastlinedefined)
            && proto.children().map(|child| child.linedefined).eq([302])
    }
}

#[cfg(test)]
mod tests {
    use mlua::Lua;

    #[test]
    fn the_vendored_lua_is_the_one_mirrored() {
        let lua = Lua::new();
        let mut verdict = Err(String::new());
        // SAFETY: a fresh state has twenty free slots.
        unsafe { lua.exec_raw::<()>((), |l| verdict = super::verify(l)).unwrap() };
        assert_eq!(verdict, Ok(()));
    }
}
