-- A basket is filled, an error is caught, and another one is not. Emacs stops
-- and steps in here.
local Basket = {}
Basket.__index = Basket

function Basket:add(item, price)
  local count = #self.items + 1 --@add
  self.items[count] = item
  self.total = self.total + price --@total
  return count
end

local function refuse()
  error("caught in the script") --@caught
end

local function fail()
  error("caught by nobody") --@uncaught
end

local numbers = {}
for i = 1, 1000 do
  numbers[i] = i * i
end

local basket = setmetatable({ items = {}, total = 0 }, Basket)
for i = 1, 5 do --@for
  local price = i * 10 --@price
  basket:add("item " .. i, price) --@call
end
print("total", basket.total) --@print
print(pcall(refuse))
fail()
