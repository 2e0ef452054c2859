-- A tour through Penlight: most of its modules, most of their functions, each
-- with a result that is printed. The output depends on nothing but Lua, so it
-- must be the same byte by byte wherever it runs.
package.path = "/usr/share/lua/5.4/?.lua;" .. package.path -- where Debian keeps it
require "tour.lfs_stub"

for _, part in ipairs { "containers", "tables", "strings", "functional", "text", "objects" } do --@tour
  print("==== " .. part)
  require("tour." .. part)
end
local never = false
if never then
  print("a line that never runs") --@never
end
print("==== end")
