-- classic (rxi): classes of plain tables, which may hold a network and are none themselves.
local setmetatable, getmetatable, pairs, type, sub = setmetatable, getmetatable, pairs, type, string.sub
local Object = {}
Object.__index = Object
function Object:new() end
function Object:extend()
   local class = {}
   for name, value in pairs(self) do
      if sub(name, 1, 2) == '__' then class[name] = value end
   end
   class.__index = class
   class.super = self
   return setmetatable(class, self)
end
function Object:implement(...)
   for _, class in pairs{...} do
      for name, value in pairs(class) do
         if self[name] == nil and type(value) == 'function' then self[name] = value end
      end
   end
end
function Object:is(class)
   local at = getmetatable(self)
   while at do
      if at == class then return true end
      at = getmetatable(at)
   end
   return false
end
function Object:__tostring() return 'Object' end
function Object:__call(...)
   local made = setmetatable({}, self)
   made:new(...)
   return made
end
return Object
