-- moses: functions on lists and tables, those that definitions use.
local P = ...
local ipairs, type, select, unpack, error, setmetatable = ipairs, type, select, unpack, error, setmetatable
local M = {}
function M.slice(list, first, last)
   local made = {}
   for i = first or 1, last or #list do made[#made + 1] = list[i] end
   return made
end
function M.push(list, ...)
   for i = 1, select('#', ...) do list[#list + 1] = (select(i, ...)) end
   return list
end
function M.append(first, second)
   local made = M.slice(first)
   for _, value in ipairs(second) do made[#made + 1] = value end
   return made
end
function M.reverse(list)
   local made = {}
   for i = #list, 1, -1 do made[#made + 1] = list[i] end
   return made
end
function M.clone(t)
   local made = {}
   for k, v in P.raw_pairs(t) do made[k] = v end
   return made
end
function M.compact(list)
   local made = {}
   for i = 1, table.maxn(list) do
      if list[i] then made[#made + 1] = list[i] end
   end
   return made
end
function M.isTable(value) return type(value) == 'table' end
function M.isEmpty(t) return next(t) == nil end
function M.last(list, count) return M.slice(list, #list - (count or 1) + 1) end
function M.first(list, count) return M.slice(list, 1, count or 1) end
function M.contains(list, value)
   for _, held in ipairs(list) do
      if held == value then return true end
   end
   return false
end
M.include = M.contains
function M.indexOf(list, value)
   for i, held in ipairs(list) do
      if held == value then return i end
   end
end
function M.isNaN(value) return type(value) == 'number' and value ~= value end
-- how many entries a table has, or how many values are given
function M.size(...)
   local first, count = ..., 0
   if type(first) ~= 'table' then return select('#', ...) end
   for _ in P.raw_pairs(first) do count = count + 1 end
   return count
end
function M.map(t, f, ...)
   local made = {}
   for k, v in P.raw_pairs(t) do made[k] = f(k, v, ...) end
   return made
end
-- f with its first arguments given
function M.bindn(f, ...)
   local count, given = select('#', ...), {...}
   return function(...)
      local arguments = {unpack(given, 1, count)}
      for i = 1, select('#', ...) do arguments[count + i] = (select(i, ...)) end
      return f(unpack(arguments, 1, count + select('#', ...)))
   end
end
return setmetatable(M, {__index = function(_, name)
   error(P.where() .. 'moses.' .. tostring(name) .. ' is not there for a definition', 0)
end})
