-- List, Map, OrderedMap, Set, MultiMap, array2d, permute.
local show = require "tour.show"
local List = require "pl.List"
local Map = require "pl.Map"
local OrderedMap = require "pl.OrderedMap"
local MultiMap = require "pl.MultiMap"
local Set = require "pl.Set"
local array2d = require "pl.array2d"
local permute = require "pl.permute"

local l = List { 10, 20, 30 }
show("append", l:append(40), l:extend { 50, 60 }, l:insert(1, 5), l:put(1))
show("pop", l:pop(), l:pop(1), l:remove(1), l:remove_value(30), l)
show("find", l:index(50), l:contains(40), l:count(20), l:minmax())
show("slice", List.range(1, 10):slice(2, 4), List.range(1, 10):slice(-3, -2), List.range(0, 1, 0.25))
show("sort", List { 3, 1, 2 }:sort(), List { 3, 1, 2 }:sort ">", List { "b", "a" }:sorted(), List { 1, 2, 3 }:reverse())
show("map", l:map("..", "!"), l:map(function(x) return x * 2 end), List { "a", "b" }:mapm("upper"), l:filter(function(x) return x > 20 end))
show("map2", List { 1, 2 }:map2("+", { 10, 20 }), l:reduce "+", l:transform(tostring), l:join "-")
show("split", List.split("a b c"), List.split("a,b,,c", ","), #List.split("x y"))
show("concat", List { 1 } .. List { 2 }, List { 1, 2 } == List { 1, 2 }, List { 1 } == List { 2 }, tostring(List { "x", "y" }))
show("partition", Map(List.range(1, 6):partition(function(x) return x % 2 == 0 and "even" or "odd" end)):get "even")
show("chop", List.range(1, 8):chop(3, 5), List.range(1, 4):splice(2, { "a", "b" }), List { 1, 2 }:clear())
for x in List { "one", "two" }:iter() do io.write(x, " ") end
print()
List { 1, 2 }:foreach(function(x, more) io.write(x + more, ";") end, 100)
print()

local m = Map { one = 1, two = 2 }
show("map", m:keys():sort(), m:values():sort(), m:get "one", m:getvalues { "two", "one" }, m == Map { two = 2, one = 1 })
m:update { three = 3 }
m:setdefault("four", 4)
m:set("one", nil)
show("updated", m:len(), m:keys():sort())

local o = OrderedMap()
o:set("z", 1)
o:set("a", 2)
o:insert(1, "m", 3)
o:set("z", nil)
o:update { { b = 9 }, { c = 10 } }
show("ordered", o:keys(), o:values(), tostring(o))
for k, v in o:iter() do io.write(k, "=", v, " ") end
print()
o:sort()
show("sorted", o:keys())

local a, b = Set { 1, 2, 3 }, Set { 3, 4 }
show("set", Set.values(a + b):sort(), Set.values(a * b), Set.values(a - b):sort(), Set.values(a ^ b):sort())
show("relations", Set { 1 } < a, Set.isdisjoint(a, b), Set.len(a), a[1], a[9], Set.issubset(b, a), Set { 1 } == Set { 1 }, tostring(Set { 7 }))

local mm = MultiMap()
mm:set("x", 1)
mm:set("x", 2)
mm:set("y", 3)
show("multi", mm:get "x", mm:get "y")

local grid = { { 1, 2, 3 }, { 4, 5, 6 } }
show("array2d", array2d.column(grid, 2), array2d.row(grid, 1), { array2d.size(grid) }, array2d.reduce_rows("+", grid), array2d.reduce_cols("+", grid))
show("array2d", array2d.map("*", grid, 10), array2d.flatten(grid), array2d.slice(grid, 1, 2, 2, 3), array2d.product("..", { 1, 2 }, { "a", "b" }))
show("array2d", array2d.new(2, 2, 0), array2d.swap_rows({ { 1 }, { 2 } }, 1, 2), array2d.reshape(grid, 3))
array2d.write(grid, nil, "%d ")
print()
local count = 0
for p in permute.order_iter { 1, 2, 3 } do count = count + p[1] * 100 + p[2] * 10 + p[3] end
show("permute", count, #permute.order_table { 1, 2, 3, 4 }, #permute.list_table({ 1, 2 }, { 3, 4, 5 }))
