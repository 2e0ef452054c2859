-- Spins in a tight loop until it is terminated.
local x = 0
while true do
  x = (x + 1) % 65537
end
