-- Debug Lua with llmspell and nvim-dap: put this into your configuration, after
-- nvim-dap is loaded. The first entry runs the file in the current buffer, the
-- second attaches to a script that was started with `llmspell run --dap`.
-- Breakpoints, conditions and log points are set with nvim-dap's own commands;
-- set `justMyCode = true` in an entry to step over files outside `cwd`.

local dap = require("dap")

dap.adapters.llmspell = { type = "executable", command = "llmspell", args = { "dap" } }

dap.configurations.lua = dap.configurations.lua or {}
vim.list_extend(dap.configurations.lua, {
  {
    type = "llmspell",
    request = "launch",
    name = "Lua: run this file",
    program = "${file}",
    cwd = "${workspaceFolder}",
  },
  {
    type = "llmspell",
    request = "attach",
    name = "Lua: attach to port 9556",
    host = "127.0.0.1",
    port = 9556,
  },
})
