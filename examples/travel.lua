-- A trip planner: an agent loop in plain Lua.
--
-- A real agent asks a language model what to do next. Here `model` stands in
-- for it: a function with fixed rules, so that the program needs no key and no
-- network and does the same each time.

local fares = { Athens = 140, Oslo = 180, Lisbon = 130 }

local tools = {}

function tools.price(request)
  local fare = fares[request.city]
  local total = fare * request.people
  return { city = request.city, total = total }
end

function tools.book(request)
  return { booked = request.city, reference = "T-" .. request.total }
end

-- Looks at what has happened so far and chooses the next tool, or answers.
local function model(goal, steps)
  local last = steps[#steps]
  if last and last.booked then
    return { answer = "Booked " .. last.booked .. ", reference " .. last.reference .. "." }
  elseif last and last.total <= goal.budget then
    return { tool = "book", arguments = last }
  end
  local city = goal.cities[#steps + 1]
  if not city then
    return { answer = "Nothing fits the budget." }
  end
  return { tool = "price", arguments = { city = city, people = goal.people } }
end

local function agent(goal)
  local steps = {}
  while true do
    local choice = model(goal, steps)
    if choice.answer then
      return choice.answer
    end
    local tool = tools[choice.tool]
    local result = tool(choice.arguments)
    print(choice.tool .. " " .. choice.arguments.city, result.total or result.reference)
    steps[#steps + 1] = result
  end
end

print(agent({ people = 2, budget = 250, cities = { "Athens", "Oslo", "Lisbon" } }))
