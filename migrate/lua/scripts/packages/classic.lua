-- classic, the package of that name of either author: classes of plain tables, which may hold a network and are none
-- themselves. Object:extend() is rxi's; classic.class('Name', Parent) is DeepMind's.
local setmetatable, getmetatable, pairs, type, sub, tostring = setmetatable, getmetatable, pairs, type, string.sub, tostring
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
-- classic.class: objects are made by calling the class, which runs its _init; also the parent, whose methods it has
function Object.class(name, parent)
   local class, methods = {_name = name, _parent = parent}, {}
   for name_, method in pairs(parent and parent._methods or {}) do methods[name_] = method end
   methods.class = function() return class end
   class._methods = methods
   local objects = {__index = methods, __tostring = function() return 'object of ' .. tostring(name) end}
   local static = {}
   function static.name() return name end
   function static.parent() return parent end
   function static.mustHave() end
   function static.include(_, mixin)
      for name_, method in pairs(mixin._methods or mixin) do
         if methods[name_] == nil then methods[name_] = method end
      end
   end
   function static.isSubclassOf(_, other)
      local at = class
      while at do
         if at == other then return true end
         at = at._parent
      end
      return false
   end
   static.static = class
   setmetatable(class, {
      __index = function(_, key)
         local method = methods[key]
         if method == nil then return static[key] end
         return method
      end,
      __newindex = function(_, key, value)
         if sub(key, 1, 2) == '__' and key ~= '__index' then objects[key] = value else methods[key] = value end
      end,
      __call = function(_, ...)
         local made = setmetatable({}, objects)
         if methods._init then methods._init(made, ...) end
         return made
      end,
   })
   return class, parent
end
function Object.module(name) return {_name = name, class = function(_, other) return (Object.class(other)) end, submodule = function() end, moduleFunction = function() end} end
function Object.strict() end
function Object.isClass(value) return type(value) == 'table' and type(value._methods) == 'table' end
function Object.isObject(value) return type(value) == 'table' and getmetatable(value) ~= nil end
classic = Object
return Object
