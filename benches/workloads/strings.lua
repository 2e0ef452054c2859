-- String building: 1,000 short strings joined by table.concat, n times.
-- Usage: strings.lua [SCALE [REPETITIONS]] | strings.lua SCALE passes
-- CONDITION: i < -1

local function build(count)
  local parts = {}
  for i = 1, count do
    local word = "item " .. i
    if i < 0 then
      word = "" -- BP:never
    end
    parts[#parts + 1] = word .. ":" .. word:upper() -- BP:hot
  end
  return table.concat(parts, ",")
end

local function run(n)
  local length = 0
  for _ = 1, n do
    length = length + #build(1000)
  end
  return length
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
local n = math.max(1, math.floor(500 * (tonumber(arguments[1]) or 1)))
if n < 1 then
  never_called(n)
end

if arguments[2] == "passes" then -- how often the hot line runs
  print("PASSES strings " .. passes(n))
else
  local best, checksum = math.huge, nil
  for _ = 1, tonumber(arguments[2]) or 5 do
    collectgarbage()
    local start = os.clock()
    checksum = run(n)
    best = math.min(best, os.clock() - start)
  end
  print(string.format("RESULT strings %.6f %s", best, checksum))
end
