-- A tight arithmetic loop: n times 1,000 rounds, no calls.
-- Usage: loop.lua [SCALE [REPETITIONS]] | loop.lua SCALE passes
-- CONDITION: x < -1

local function spin(n)
  local x = 1
  for _ = 1, n do
    for j = 1, 1000 do
      x = (x * 31 + j) % 65537 -- BP:hot
      if x < 0 then
        x = 0 -- BP:never
      end
    end
  end
  return x
end

local function run(n)
  return spin(n)
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
local n = math.max(1, math.floor(12000 * (tonumber(arguments[1]) or 1)))
if n < 1 then
  never_called(n)
end

if arguments[2] == "passes" then -- how often the hot line runs
  print("PASSES loop " .. passes(n))
else
  local best, checksum = math.huge, nil
  for _ = 1, tonumber(arguments[2]) or 5 do
    collectgarbage()
    local start = os.clock()
    checksum = run(n)
    best = math.min(best, os.clock() - start)
  end
  print(string.format("RESULT loop %.6f %s", best, checksum))
end
