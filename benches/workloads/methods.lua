-- Method calls: an inherited and an overridden method, 1,000 rounds n times.
-- Usage: methods.lua [SCALE [REPETITIONS]] | methods.lua SCALE passes
-- CONDITION: amount < -1

local Account = {}
Account.__index = Account

function Account:deposit(amount)
  if amount < 0 then
    amount = 0 -- BP:never
  end
  self.balance = self.balance + self:fee(amount) -- BP:hot
  return self
end

function Account:fee(amount)
  return amount
end

local Savings = setmetatable({}, { __index = Account })
Savings.__index = Savings

function Savings:fee(amount)
  return amount - 1
end

local function run(n)
  local plain = setmetatable({ balance = 0 }, Account)
  local savings = setmetatable({ balance = 0 }, Savings)
  for _ = 1, n do
    for amount = 1, 500 do
      plain:deposit(amount)
      savings:deposit(amount)
    end
  end
  return plain.balance + savings.balance
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
local n = math.max(1, math.floor(3000 * (tonumber(arguments[1]) or 1)))
if n < 1 then
  never_called(n)
end

if arguments[2] == "passes" then -- how often the hot line runs
  print("PASSES methods " .. passes(n))
else
  local best, checksum = math.huge, nil
  for _ = 1, tonumber(arguments[2]) or 5 do
    collectgarbage()
    local start = os.clock()
    checksum = run(n)
    best = math.min(best, os.clock() - start)
  end
  print(string.format("RESULT methods %.6f %s", best, checksum))
end
