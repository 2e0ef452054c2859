-- tablex, seq, types, utils, operator, compat.
local show = require "tour.show"
local tablex = require "pl.tablex"
local seq = require "pl.seq"
local types = require "pl.types"
local utils = require "pl.utils"
local operator = require "pl.operator"
local compat = require "pl.compat"
local List = require "pl.List"

local t = { a = 1, b = 2, c = 3 }
show("copy", tablex.copy(t), tablex.deepcopy { { 1 }, x = { y = {} } }, tablex.icopy({ 1, 2, 3, 4 }, { 20, 30 }, 2))
show("compare", tablex.deepcompare({ 1, { x = 2 } }, { 1, { x = 2 } }), tablex.deepcompare({ 1 }, { 1.001 }, false, 0.01), tablex.compare({ 1, 2 }, { 1, 2 }, "=="), tablex.compare_no_order({ 1, 2 }, { 2, 1 }))
show("find", tablex.find({ 10, 20, 30 }, 20), tablex.rfind({ 1, 2, 1 }, 1), tablex.find_if({ 1, 2, 3 }, ">", 1), tablex.search({ x = { y = { z = "deep" } } }, "deep"))
show("sets", tablex.merge(t, { b = 9, d = 4 }), tablex.merge(t, { b = 9, d = 4 }, true), tablex.difference(t, { a = 0 }), tablex.intersection(t, { c = 0 }), tablex.union(t, { e = 5 }))
show("map", tablex.map("*", t, 10), tablex.imap(string.upper, { "x", "y" }), tablex.map2("+", { 1, 2 }, { 3, 4 }), tablex.mapn(function(x, y, z) return x + y + z end, { 1, 2 }, { 3, 4 }, { 5, 6 }))
show("reduce", tablex.reduce("+", { 1, 2, 3, 4 }), tablex.reduce("..", { "a", "b" }, "<"), tablex.filter({ 1, 5, 2, 6 }, ">", 2), tablex.size(t))
show("index", tablex.index_map { "x", "y" }, tablex.makeset { "p" }, tablex.count_map { "a", "b", "a" }, tablex.index_by({ 10, 20, 30 }, { 3, 1 }), tablex.index_by(t, { "c", "a" }))
show("range", tablex.range(1, 5), tablex.range(5, 1, -2), tablex.sub({ 1, 2, 3, 4, 5 }, 2, -2), tablex.zip({ 1, 2 }, { "a", "b" }), tablex.new(3, "x"))
show("change", tablex.insertvalues({ 1, 4 }, 2, { 2, 3 }), tablex.removevalues({ 1, 2, 3, 4 }, 2, 3), tablex.move({ 0, 0, 0 }, { 7, 8 }, 2), tablex.clear({ 1, 2, 3 }, 2), tablex.set({ 1, 2, 3 }, 9))
show("keys", List(tablex.keys(t)):sort(), List(tablex.values(t)):sort(), tablex.update({ 1 }, { 2, x = 3 }), tablex.transform(math.abs, { -1, -2 }))
for k, v in tablex.sort(t) do io.write(k, "=", v, " ") end
for k, v in tablex.sortv({ x = 3, y = 1, z = 2 }) do io.write(k, ":", v, " ") end
print()
tablex.foreach({ only = 1 }, function(v, k) io.write(k, v, "\n") end)
tablex.foreachi({ "p", "q" }, function(v, i) io.write(i, v, " ") end)
print()
local frozen = tablex.readonly { x = 1 }
show("readonly", frozen.x, select(2, pcall(function() frozen.x = 2 end)):gsub("^.-:%d+: ", ""))
show("pairmap", List(tablex.pairmap(function(k, v) return k .. v end, t)):sort(), tablex.map_named_method("upper", { "a", "b" }))

show("seq", seq.copy(seq.range(1, 5)), seq.sum { 1, 2, 3 }, seq.minmax { 4, 1, 9 }, seq.reduce("*", seq.list { 1, 2, 3, 4 }))
show("seq", seq.copy(seq.map("*", seq.list { 1, 2 }, 3)), seq.copy(seq.filter(seq.list { 1, 7, 3 }, ">", 2)), seq.copy_tuples(seq.zip({ 1, 2 }, { "a", "b" })))
show("seq", seq.copy(seq.take({ 1, 2, 3 }, 2)), seq.copy(seq.skip(seq.list { 1, 2, 3 }, 1)), seq.copy(seq.sort { 3, 1, 2 }), seq.copy(seq.unique({ "a", "a", "b" }, true)))
show("seq", seq { "one", "three" }:map(string.len):sum(), seq { 1, 2, 3, 4 }:filter(function(x) return x % 2 == 0 end):copy(), seq.count_map { "x", "y", "x" })
show("seq", seq.copy(seq.splice({ 1 }, { 2, 3 })), seq.copy_tuples(seq.enum { "a", "b" }), seq.copy_tuples(seq.last { 1, 2, 3 }), seq.count({ 1, 2, 3 }, function(x) return x > 1 end))
seq.foreach({ 1, 2 }, function(x) io.write(x, " ") end)
print()
seq.printall({ 1, 2, 3, 4, 5 }, "+", 3, "<%s>")
print()

show("types", types.type(1), types.type({}), types.type(List()), types.is_callable(print), types.is_iterable {}, types.is_empty "", types.is_empty { 1 }, types.to_bool "yes", types.to_bool("nein", { "ja" }), types.is_integer(3.0), types.is_indexable {})
show("utils", utils.split("a;b;c", ";"), utils.splitv("x y"), utils.escape "a.b", utils.choose(true, 1, 2), utils.is_type("x", "string"), utils.bind1(math.max, 5)(3), utils.bind2(function(a, b) return a ^ b end, 2)(3))
show("utils", utils.pack(1, nil, 3), { utils.unpack { 1, 2 } }, utils.array_tostring { 1, true }, utils.memoize(string.upper) "memo", utils.string_lambda "|x| x + 1"(2))
show("utils", utils.function_arg(1, "#") { 1, 2 }, utils.quote_arg "it's", (select(2, pcall(utils.assert_arg, 1, 5, "string")):gsub("^.-:%d+: ", "")))
show("utils", utils.enum("RED", "GREEN").GREEN)
show("operator", operator.add(1, 2), operator.concat("a", "b"), operator.index({ 5 }, 1), operator.eq(1, 1), operator.mod(7, 3), operator.unm(4), operator.optable["<="](1, 1), operator.call(math.max, 1, 9), operator.table(1, 2))
show("compat", compat.lua51, compat.dir_separator, compat.is_windows, load("return 7")(), table.pack(1, 2).n)
