-- Spins in and between coroutines, half of them by wrap, until it is terminated.
local function body(x)
  while true do
    for _ = 1, 1000 do
      x = (x * 31 + 7) % 65537
    end
    x = coroutine.yield(x)
  end
end

local created, wrapped = coroutine.create(body), coroutine.wrap(body)
while true do
  coroutine.resume(created, 1)
  wrapped(2)
end
