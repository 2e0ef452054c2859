-- Throws an error that it catches itself: only the filter `all` stops here.
local function thrower()
  error("caught") -- BP:stop
end

print(pcall(thrower))
