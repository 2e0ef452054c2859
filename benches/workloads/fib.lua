-- Recursive calls: fib(15), n times over.
-- Usage: fib.lua [SCALE [REPETITIONS]] | fib.lua SCALE passes
-- CONDITION: n < -1

local function fib(n)
  if n < 2 then -- BP:hot
    if n < 0 then
      n = 0 -- BP:never
    end
    return n
  end
  return fib(n - 1) + fib(n - 2)
end

local function run(n)
  local sum = 0
  for _ = 1, n do
    sum = sum + fib(15)
  end
  return sum
end

local function passes(n)
  return 1973 * n -- the calls of one fib(15)
end

-- Never called: the place of a breakpoint that costs nobody a stop.
local function never_called(n)
  local m = n + 1 -- BP:elsewhere
  return m
end

local arguments = arg or { ... }
local n = math.max(1, math.floor(5000 * (tonumber(arguments[1]) or 1)))
if n < 1 then
  never_called(n)
end

if arguments[2] == "passes" then -- how often the hot line runs
  print("PASSES fib " .. passes(n))
else
  local best, checksum = math.huge, nil
  for _ = 1, tonumber(arguments[2]) or 5 do
    collectgarbage()
    local start = os.clock()
    checksum = run(n)
    best = math.min(best, os.clock() - start)
  end
  print(string.format("RESULT fib %.6f %s", best, checksum))
end
