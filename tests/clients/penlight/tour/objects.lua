-- class, Date, path, import_into, strict, test, app-like things.
local show = require "tour.show"
local class = require "pl.class"
local path = require "pl.path"
local test = require "pl.test"
local utils = require "pl.utils"

class.Animal()
function Animal:_init(name) self.name = name end
function Animal:__tostring() return self.name .. ": " .. self:speak() end
function Animal:speak() return "..." end
class.Dog(Animal)
function Dog:speak() return "bark" end
class.Puppy(Dog)
function Puppy:_init(name, age)
  self:super(name)
  self.age = age
end
function Puppy:speak() return Dog.speak(self) .. "!" end
local rex, tiny = Dog "Rex", Puppy("Tiny", 1)
show("class", tostring(rex), tostring(tiny), tiny.age, tiny:is_a(Animal), rex:is_a(Puppy), Animal:class_of(rex), Puppy:class_of(rex), tiny:is_a() == Puppy)
local Vector = class()
function Vector:_init(x, y) self.x, self.y = x, y end
function Vector.__add(a, b) return Vector(a.x + b.x, a.y + b.y) end
function Vector.__eq(a, b) return a.x == b.x and a.y == b.y end
function Vector:__len() return 2 end
function Vector:__call(k) return self.x * k, self.y * k end
show("operators", (Vector(1, 2) + Vector(3, 4)).y, Vector(1, 1) == Vector(1, 1), #Vector(0, 0), Vector(2, 3)(10))
local Lazy = class()
function Lazy:_handler(name) return "lazy " .. name end
local Typed = class { _init = function(self, v) self.v = v end, get = function(self) return self.v end }
show("styles", Typed(5):get(), Lazy().anything)
local Props = class(class.properties)
Props.area = nil
function Props:_init(w) self._w = w end
function Props:get_area() return self._w * self._w end
function Props:set_w(w) self._w = w end
local props = Props(3)
props.w = 4
show("properties", props.area)
show("cast", Dog:cast({ name = "cast" }):speak())

show("path", path.basename "/a/b.txt", path.dirname "/a/b.txt", path.extension "x.tar.gz", { path.splitext "a/b.c" }, { path.splitpath "a/b/c" }, path.join("a", "b", "/c"), path.join("x", "y"))
show("path", path.isabs "/x", path.isabs "x", path.normpath "a/./b/../c//d", path.normcase "A/b", path.abspath "x/y", path.relpath("/home/ada/x/y", "/home/ada/z"), path.common_prefix("/a/b/c", "/a/b/d"), path.sep)
show("package", path.package_path and (path.package_path "pl.List" or "") ~= "", path.format_path and "format")

local ok, Date = pcall(require, "pl.Date")
if ok then
  local d = Date { year = 2024, month = 2, day = 28, hour = 12 }
  show("date", d:year(), d:month(), d:day(), d:weekday_name(), d:month_name(true), tostring(d:is_weekend()), d:last_day():day())
  d:add { day = 2 }
  show("added", d:day(), d:month(), (Date { year = 2024, month = 3, day = 1 } - Date { year = 2024, month = 2, day = 1 }).time and "interval", Date { year = 2020 } < Date { year = 2021 })
  local format = Date.Format "yyyy-mm-dd"
  show("format", format:tostring(Date { year = 2001, month = 9, day = 8 }), format:parse("1999-12-31"):year(), Date.Format():parse "21/5/64" ~= nil)
end

test.asserteq({ 1, { x = 2 } }, { 1, { x = 2 } })
test.asserteq2(1, 2, 1, 2)
test.assertmatch("hello", "l+")
test.assertraise(function() error "expected" end, "expected")
show("test", test.tuple and tostring(test.tuple(1, 2)))
local pl = require "pl.import_into" ()
show("import", pl.List { 1 }:len(), pl.stringx.strip " x ", type(pl.utils))
local strict = require "pl.strict"
local module = strict.module("m", { known = 1 })
show("strict", module.known, pcall(function() return module.unknown end) == false)
show("utils", utils.executeex and select(2, utils.executeex "exit 3"), utils._VERSION)
