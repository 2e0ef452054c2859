-- Closures: 1,000 made, each called twice, n times over.
-- Usage: closures.lua [SCALE [REPETITIONS]] | closures.lua SCALE passes
-- CONDITION: x < -1

local function adder(step)
  local total = 0
  return function(x)
    if x < 0 then
      x = 0 -- BP:never
    end
    total = total + x * step -- BP:hot
    return total
  end
end

local function run(n)
  local sum = 0
  for _ = 1, n do
    for i = 1, 1000 do
      local add = adder(i)
      add(i)
      sum = (sum + add(1)) % 1000000007
    end
  end
  return sum
end

local function passes(n)
  return 2000 * n
end

-- Never called: the place of a breakpoint that costs nobody a stop.
local function never_called(n)
  local m = n + 1 -- BP:elsewhere
  return m
end

local arguments = arg or { ... }
local n = math.max(1, math.floor(900 * (tonumber(arguments[1]) or 1)))
if n < 1 then
  never_called(n)
end

if arguments[2] == "passes" then -- how often the hot line runs
  print("PASSES closures " .. passes(n))
else
  local best, checksum = math.huge, nil
  for _ = 1, tonumber(arguments[2]) or 5 do
    collectgarbage()
    local start = os.clock()
    checksum = run(n)
    best = math.min(best, os.clock() - start)
  end
  print(string.format("RESULT closures %.6f %s", best, checksum))
end
