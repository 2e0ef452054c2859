-- Coroutine ping-pong: a fresh coroutine resumed 1,000 times, n times over.
-- Usage: coroutines.lua [SCALE [REPETITIONS]] | coroutines.lua SCALE passes
-- CONDITION: x < -1

local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield

local function pong(x)
  while true do
    if x < 0 then
      x = 0 -- BP:never
    end
    x = yield(x + 1) -- BP:hot
  end
end

local function run(n)
  local sum = 0
  for _ = 1, n do
    local co = create(pong)
    for i = 1, 1000 do
      local _, x = resume(co, i)
      sum = sum + x
    end
  end
  return sum
end

local function passes(n)
  return 1000 * n
end

-- Never called: the place of a breakpoint that costs nobody a stop.
local function never_called(n)
  local m = n + 1 -- BP:elsewhere
  return m
end

local arguments = arg or { ... }
local n = math.max(1, math.floor(1800 * (tonumber(arguments[1]) or 1)))
if n < 1 then
  never_called(n)
end

if arguments[2] == "passes" then -- how often the hot line runs
  print("PASSES coroutines " .. passes(n))
else
  local best, checksum = math.huge, nil
  for _ = 1, tonumber(arguments[2]) or 5 do
    collectgarbage()
    local start = os.clock()
    checksum = run(n)
    best = math.min(best, os.clock() - start)
  end
  print(string.format("RESULT coroutines %.6f %s", best, checksum))
end
