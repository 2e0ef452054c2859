-- A recursion 190,000 frames deep, stopped at its end again and again.
local function down(n)
  if n == 0 then
    return 0 -- BP:stop
  end
  return 1 + down(n - 1)
end

while true do
  down(190000)
end
