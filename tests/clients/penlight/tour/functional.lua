-- func, comprehension, utils lambdas, sequences of functions, coroutines with pl.
local show = require "tour.show"
local func = require "pl.func"
local utils = require "pl.utils"
local tablex = require "pl.tablex"
local List = require "pl.List"
local C = require "pl.comprehension".new()
local seq = require "pl.seq"
utils.import "pl.func"

show("placeholder", List { 1, 2, 3 }:map(_1 * 10), List { 1, 2, 3 }:map(_1 + _1), tablex.map(_1 .. "!", { x = "a" }), List { 3, 1, 2 }:sorted(Gt(_1, _2)))
show("instantiate", I(_1 + _2 * 3)(1, 2), I(-_1)(5), I(Len(_1)) { 1, 2, 3 }, I(_1[_2])({ 7, 8 }, 2), I(_1:upper()) "method", I(Eq(_1, 5))(5))
show("describe", tostring(_1 + _2), tostring(_1 ^ 2 - 3), tostring(-(_1 * _2)), tostring(Not(_1)), tostring(And(_1, _2)), tostring(_1:find("x")))
show("logic", I(And(_1, _2))(true, false), I(Or(_1, _2))(false, 7), I(Not(_1))(nil), I(Gt(_1, 3))(4), I(Le(_1, _2))(1, 2))
local sin = register(math.floor, "floor")
show("register", I(sin(_1 / 2))(7), tostring(sin(_1)))
show("bind", bind(string.format, _1, "x", _2)("%s-%s", "y"), bind1(math.max, 10)(3), compose(string.upper, function(x) return x .. "!" end)("hey"))

show("list", C "x^2 for x" { 1, 2, 3 }, C "x for x if x % 2 == 0" { 1, 2, 3, 4 }, C "{x,y} for x=1,2 for y=1,2" ())
show("table", C "table(v, k for k, v in pairs(_1))"({ a = 1 }), C "sum(x for x)" { 1, 2, 3 }, C "max(x for x)" { 4, 9, 2 }, C "min(x for x)" { 4, 9, 2 })
show("args", C "x * 10 for x = 1, _1" (3), C "sum(x * x for x = 1, _1)" (4))

local function generator(n)
  return coroutine.wrap(function()
    for i = 1, n do coroutine.yield(i, i * i) end
  end)
end
show("coroutine", seq.copy(generator(4)), seq.sum(generator(10)), seq(generator(5)):filter(Eq(_1 % 2, 1)):copy(), seq.copy_tuples(generator(2)))
show("errors", pcall(function() return List { 1 }:map(function(x) return x .. nil end) end) == false, select("#", pcall(error)))
show("sort", List { "pear", "fig", "apple" }:sort(function(a, b) return #a < #b end))
local ops = List.range(1, 100):map(_1 * _1):filter(function(x) return x % 7 == 2 end):reduce "+"
show("pipeline", ops)
