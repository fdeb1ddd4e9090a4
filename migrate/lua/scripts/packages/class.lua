-- class (torch/class): classes of plain tables, by their names; they may hold a network and are none themselves.
local setmetatable, getmetatable, type, error, tostring = setmetatable, getmetatable, type, error, tostring
local class, classes = {}, {}
-- class.new(name[, parent's name])
function class.new(name, parent)
   if type(name) ~= 'string' then error('bad argument #1 to \'class\' (string expected)', 2) end
   if classes[name] then error('class <' .. name .. '> already exists', 2) end
   if parent and not classes[parent] then error('parent class <' .. tostring(parent) .. '> does not exist', 2) end
   local made = {__typename = name}
   made.__index = made
   function made.new(...)
      local object = setmetatable({}, made)
      if object.__init then object:__init(...) end
      return object
   end
   classes[name] = made
   return setmetatable(made, {__index = classes[parent], __call = function(_, ...) return made.new(...) end})
end
function class.metatable(name) return classes[name] end
-- the name of an object's class; of another value, what kind it is
function class.type(object)
   local at = type(object) == 'table' and getmetatable(object)
   return at and classes[at.__typename] == at and at.__typename or type(object)
end
function class.istype(object, name)
   local at = type(object) == 'table' and getmetatable(object)
   if not at or classes[at.__typename] ~= at then return type(object) == name end
   while at do
      if classes[name] == at then return true end
      local above = getmetatable(at)
      at = above and above.__index
   end
   return false
end
return setmetatable(class, {__call = function(_, ...) return class.new(...) end})
