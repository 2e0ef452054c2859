-- Lines to step over: plain ones and calls, for ever.
local function helper(n)
  local m = n * 2
  return m + 1
end

local x, words = 0, {}
while true do
  x = x + 1 -- BP:stop
  words[x % 100] = "word " .. x
  helper(x)
  if x > 1000000 then
    x = 0
  end
end
