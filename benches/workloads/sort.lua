-- table.sort with a comparator: 1,000 numbers, n times.
-- Usage: sort.lua [SCALE [REPETITIONS]] | sort.lua SCALE passes
-- CONDITION: a < -1

local calls = 0 -- of the comparator; counted by passes(n) only

local function less(a, b)
  if a < 0 then
    a = 0 -- BP:never
  end
  return a < b -- BP:hot
end

local function fill(seed)
  local values = {}
  for i = 1, 1000 do
    seed = (seed * 1103515245 + 12345) % 2147483648
    values[i] = seed
  end
  return values
end

local function run(n)
  local sum = 0
  for i = 1, n do
    local values = fill(i)
    table.sort(values, less)
    sum = (sum + values[500]) % 1000000007
  end
  return sum
end

local function passes(n)
  for i = 1, n do
    table.sort(fill(i), function(a, b)
      calls = calls + 1
      return a < b
    end)
  end
  return calls
end

-- Never called: the place of a breakpoint that costs nobody a stop.
local function never_called(n)
  local m = n + 1 -- BP:elsewhere
  return m
end

local arguments = arg or { ... }
local n = math.max(1, math.floor(400 * (tonumber(arguments[1]) or 1)))
if n < 1 then
  never_called(n)
end

if arguments[2] == "passes" then -- how often the hot line runs
  print("PASSES sort " .. passes(n))
else
  local best, checksum = math.huge, nil
  for _ = 1, tonumber(arguments[2]) or 5 do
    collectgarbage()
    local start = os.clock()
    checksum = run(n)
    best = math.min(best, os.clock() - start)
  end
  print(string.format("RESULT sort %.6f %s", best, checksum))
end
