-- xlua: arguments by name, and nothing that is shown.
local P = ...
local ipairs, type, unpack, pcall, select, error, tostring = ipairs, type, unpack, pcall, select, error, tostring
xlua = {}
function xlua.progress() end
function xlua.log() end
-- defaults that the environment may change; it holds nothing here
function xlua.envparams(defaults)
   local params = {}
   for name, value in P.raw_pairs(defaults) do params[name] = value end
   return params
end
function xlua.usage() return '' end
function xlua.error(message, name) error(P.where() .. (name and name .. ': ' or '') .. tostring(message or 'error'), 0) end
xlua.print = print
function xlua.require(name) return pcall(require, name) end
function xlua.unpack(arguments, name, help, ...)
   local described, made = {...}, {}
   if select('#', unpack(arguments)) == 0 then error(P.where() .. name .. ': arguments are missing', 0) end
   local by_name = #arguments == 1 and type(arguments[1]) == 'table' and #arguments[1] == 0 and not torch.typename(arguments[1])
   for i, entry in ipairs(described) do
      local value
      if by_name then value = arguments[1][entry.arg] else value = arguments[i] end
      if value == nil then value = entry.default end
      if value == nil and entry.defaulta then value = made[entry.defaulta] end
      if value == nil and entry.defaultf then value = entry.defaultf() end
      if value == nil and entry.req then error(P.where() .. name .. ': missing argument: ' .. entry.arg, 0) end
      made[entry.arg], made[i] = value, value
   end
   made.usage = {}
   return made, unpack(made, 1, #described)
end
function xlua.unpack_class(object, arguments, name, help, ...)
   local made = xlua.unpack(arguments, name, help, ...)
   for _, entry in ipairs({...}) do object[entry.arg] = made[entry.arg] end
   object.usage = made.usage
end
return xlua
