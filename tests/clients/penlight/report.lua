-- A little report on some words, made with Penlight as an ordinary program uses
-- it. The tests stop and step inside Penlight's own files while it runs.
package.path = "/usr/share/lua/5.4/?.lua;" .. package.path -- where Debian keeps it
local List = require "pl.List"
local stringx = require "pl.stringx"
local pretty = require "pl.pretty"
local tablex = require "pl.tablex"
local seq = require "pl.seq"
local class = require "pl.class"
local comprehension = require "pl.comprehension".new()

local words = List()
for _, word in ipairs(stringx.split("the quick brown fox")) do
  words:append(word) --@append
end

local function longer(word)
  local length = #word --@longer-first
  return length > 3 --@longer-return
end
local long = words:filter(longer) --@filter
print(long, stringx.strip("  padded ") .. ".") --@strip

local report = { title = "words", { long = long, count = { #words } } }
print(#pretty.write(report, "") > 10) --@pretty

local Counter = class() --@class
function Counter:_init(first)
  self.value = first --@init
end
function Counter:next()
  self.value = self.value + 1 --@next
  return self.value
end
local counter = Counter(10) --@counter
print(counter:next() + counter:next())

local frozen = tablex.readonly { fixed = true }
print(pcall(function() frozen.fixed = false end)) --@frozen

local function squares(n)
  return coroutine.wrap(function()
    for i = 1, n do
      coroutine.yield(i * i) --@yield
    end
  end)
end
print(seq.sum(squares(3))) --@sum

local evens = comprehension "x for x if x % 2 == 0" --@compile
print(#evens { 1, 2, 3, 4 }) --@evens
