-- Prints values so that the order of a table's keys does not matter.
local function text(value, seen)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" then
    return type(value) == "function" and "function" or tostring(value)
  end
  local mt = getmetatable(value)
  if type(mt) == "table" and mt.__tostring then return tostring(value) end
  seen = seen or {}
  if seen[value] then return "<cycle>" end
  seen[value] = true
  local parts, rest = {}, {}
  for i = 1, #value do parts[i] = text(value[i], seen) end
  for key, item in pairs(value) do
    if not (math.type(key) == "integer" and key >= 1 and key <= #value) then
      rest[#rest + 1] = text(key, seen) .. "=" .. text(item, seen)
    end
  end
  table.sort(rest)
  seen[value] = nil
  table.move(rest, 1, #rest, #parts + 1, parts)
  return "{" .. table.concat(parts, ", ") .. "}"
end

return function(label, ...)
  local parts = table.pack(...)
  for i = 1, parts.n do parts[i] = text(parts[i]) end
  print(label, table.concat(parts, " "))
end
