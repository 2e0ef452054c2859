-- stringx, text, url, lexer, luabalanced, sip.
local show = require "tour.show"
local stringx = require "pl.stringx"

local url = require "pl.url"
local lexer = require "pl.lexer"
local sip = require "pl.sip"
local balanced = require "pl.luabalanced"

show("is", stringx.isalpha "abc", stringx.isdigit "12a", stringx.isalnum "a1", stringx.isspace " \t", stringx.islower "ab1", stringx.isupper "AB")
show("ends", stringx.startswith("abc", "ab"), stringx.endswith("abc", { "x", "bc" }), stringx.join(", ", { 1, 2 }), stringx.splitlines "a\nb\r\nc", stringx.split("a  b c"), stringx.split("a,b,c", ",", 2))
show("find", stringx.lfind("abcabc", "b"), stringx.rfind("abcabc", "b"), stringx.replace("a.b.c", ".", "-"), stringx.replace("aaa", "a", "b", 2), stringx.count("abab", "ab"))
show("just", stringx.ljust("x", 4) .. "|", stringx.rjust("x", 4, "."), stringx.center("mid", 9, "*"), stringx.strip "  x ", stringx.lstrip("--x--", "-"), stringx.rstrip("--x--", "-"))
show("parts", stringx.partition("key=value=x", "="), stringx.rpartition("key=value=x", "="), stringx.at("abc", 2), stringx.expandtabs("a\tb", 4), stringx.title "hello wORLD", stringx.shorten("a long sentence", 9), stringx.shorten("a long sentence", 9, true))
for line in stringx.lines "one\ntwo" do io.write("<", line, ">") end
print()
show("quote", stringx.quote_string 'has "quotes"', stringx.quote_string "two\nlines")
show("indent", stringx.indent("a\nb", 2, "."), stringx.dedent "   a\n     b\n   c", stringx.wrap("the quick brown fox jumps over the lazy dog", 12), stringx.fill("the quick brown fox jumps over the lazy dog", 20))
local Template = stringx.Template
show("template", Template("${name} is ${age}"):substitute { name = "Ada", age = 36 }, Template("$x$y"):safe_substitute { x = 1 }, Template("  $body"):indent_substitute { body = "a\nb" }, pcall(function() return (Template "$missing"):substitute {} end) == false)
stringx.import()
show("methods", ("  x "):strip(), ("a-b"):split "-", ("abc"):startswith "a", ("b"):join { "x", "y" })
stringx.format_operator()
show("operator", "%s is %d" % { "x", 3 }, "%5.2f" % math.pi, "$a-$b" % { a = 1, b = 2 })

show("url", url.quote "a b&c/ü", url.quote("a b", true), url.unquote "a%20b%26c", url.unquote(url.quote "round trip ÷"))

local function tokens(iter)
  local out = {}
  for kind, value in iter do out[#out + 1] = kind .. ":" .. tostring(value) end
  return out
end
show("lua", tokens(lexer.lua("local x = 'str' .. 10.5 -- note\nif x ~= nil then y = x[1] end", {}, {})))
show("cpp", tokens(lexer.cpp('int main() { return x->y + "s"[0]; } // end', {}, {})))
show("scan", tokens(lexer.scan "alpha = sin(1.5e3) + 'q'"))
local tok = lexer.scan "10 20 hello"
show("expect", lexer.expecting(tok, "number"), tok(), lexer.skipws(tok))
show("list", lexer.get_separated_list(lexer.scan "1, b+c, 'x')", ")"))
show("balanced", balanced.match_bracketed("(a(b)c) rest", 1), balanced.match_string("'it''s' x", 1), balanced.match_expression("a + f(b, 'c;') ; d", 1))

local result = {}
show("sip", sip.match("$v{name}=$d{value}", "size=42", result), result)
result = {}
show("sip", sip.match("($v{first}, $v{second})", "(alpha, beta)", result), result, sip.match("$d", "none", {}))
local dated = sip.compile "$d{day}/$d{month}/$d{year}"
result = {}
show("sip", dated("7/11/1986", result), result, sip.create_pattern "$i,$f,$q")
