-- A local table with a million string keys, stopped beside it again and again.
local big = {}
for i = 1, 1000000 do
  big["key" .. i] = i
end

local n = 0
while true do
  n = n + 1 -- BP:stop
end
