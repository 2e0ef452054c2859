-- A local array of a million entries, stopped beside it again and again.
local big = {}
for i = 1, 1000000 do
  big[i] = i
end

local n = 0
while true do
  n = n + 1 -- BP:stop
end
