-- pretty, data, config, template, xml, stringio, input, lapp.
local show = require "tour.show"
local pretty = require "pl.pretty"
local data = require "pl.data"
local config = require "pl.config"
local template = require "pl.template"
local stringio = require "pl.stringio"
local input = require "pl.input"
local xml = require "pl.xml"
local lapp = require "pl.lapp"
local seq = require "pl.seq"

show("pretty", pretty.write({ 1, 2, { 3, "x" } }, ""), pretty.write({ 10, 20 }), pretty.write({ only = { deep = true } }, "  "), pretty.write("s"), pretty.write({ ["two words"] = 1 }, ""))
show("number", pretty.number(123), pretty.number(1234567, "N", 2), pretty.number(2048, "M"), pretty.number(1234567, "T"))
show("read", pretty.read "{ 1, 2, x = { y = 'z' } }", pretty.read "{ os.exit() }" == nil, pretty.load("a = 1; b = a + 1", {}), pretty.load("for i = 1, 2 do end", {}, true) == nil)
pretty.dump { 1, { "nested" } }


local people = data.read(stringio.open [[
name,age,city
Ada,36,London
Alan,41,Wilmslow
Grace,85,Arlington
]])
show("data", people.fieldnames, #people, people[2], people:column_by_name "age")
for name, age in people:select "name,age where age > 40 sort by name" do io.write(name, "=", age, " ") end
print()
show("query", people:copy_select "name,city where age < 40")
local out = stringio.create()
data.write(people, out, nil, ";")
show("write", out:value())
show("new", data.new({ { 1, 2 }, { 3, 4 } }, { "x", "y" }):column_by_name "y")

local settings = config.read(stringio.open [[
# settings
title = A title
count = 42
list = 1,2,3
[server]
host = localhost
ports = 80,443
debug = true
]])
show("config", settings.title, settings.count, settings.list, settings.server)
show("lines", config.lines and seq.copy(config.lines(stringio.open "a\nb\\\nc\n")))

show("template", template.substitute("# for i, v in ipairs(list) do\n$(i): $(v:upper())\n# end\nend $(n + 1)\n", { ipairs = ipairs, list = { "a", "b" }, n = 1 }))
local compiled = assert(template.compile("# if ok then\nyes $(name)\n# end\n"))
show("compile", (compiled:render { ok = true, name = "N" }), (template.substitute("% if 1 then\n{x}\n% end\n", { x = 5, _escape = "%", _brackets = "{}", _inline_escape = "" })))
show("broken", select("#", template.substitute("# for in\n", {})) > 1)

local f = stringio.open "12 13.5 word\n20 30\n"
show("stringio", f:read "*n", f:read "*n", f:read "*l", f:read "*n", f:read "*a", f:seek("set", 0), f:read(5))
local w = stringio.create()
w:write("a", 1)
w:writef("%03d", 7)
show("written", w:value())
show("input", seq.copy(input.numbers(stringio.open "1 2 3 4")), seq.copy(input.words(stringio.open "some words here")), seq.copy_tuples(input.fields({ 1, 3 }, ",", stringio.open "1,2,3\n4,5,6")))

local doc = xml.parse([[<shop name="corner"><item id="1">apple</item><item id="2">pear</item><empty/></shop>]], false, true)
show("xml", doc.tag, doc.attr.name, #doc, doc:child_with_name("item"):get_text(), doc:get_elements_with_name("item")[2].attr.id, xml.tostring(doc))
local built = xml.new "list"
built:addtag("li", { class = "x" }):text("one & two"):up():addtag("li"):text("three"):up()
show("build", xml.tostring(built), xml.tostring(built, "", "  "), xml.xml_escape "<a&'\">", xml.is_tag(built))
local caught = {}
xml.walk(built, false, function(tag) caught[#caught + 1] = tag end)
show("walk", caught, doc:match "<shop name=$name>{{<item id=$id>$what</item>}}</shop>" or "no match")
local tags = { xml.tags "p,b" }
show("tags", xml.tostring(tags[1] { "text ", tags[2] "bold", class = "c" }))

local options = lapp([[
Does something with files.
  -v,--verbose  talk more
  -n,--count (default 5)  how many
  -o,--out (default out.txt)  where to
  --ratio (0.0..1.0 default 0.5)  a range
  <files...> (string)  what to read
]], { "-v", "--count", "7", "a.txt", "b.txt" })
show("lapp", options.verbose, options.count, options.out, options.ratio, options.files)
