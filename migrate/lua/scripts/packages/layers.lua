-- What modules do where a layer of an author is run, not only built: their passes, and what layers use of nn beside them.
local P = ...
local torch, bridge = torch, P.bridge
local type, ipairs, pairs, error, select, rawget, rawset = type, ipairs, pairs, error, select, rawget, rawset
local metatable_of = P.metatable_of

local of_product = {}
local function is_products(self, class)
   class = class or metatable_of(self)
   if of_product[class] == nil then
      of_product[class] = false
      for _, own in ipairs(P.own_classes) do
         if own == class then of_product[class] = true end
      end
   end
   return of_product[class]
end

-- does a module have a method that an author wrote?
function P.is_authors(self, name)
   if rawget(self, name) ~= nil then return true end
   local class = metatable_of(self)
   while class do
      if rawget(class, name) ~= nil then return not is_products(self, class) end
      local above = metatable_of(class)
      class = above and above.__metatable
   end
   return false
end

-- a class of Torch7 that has no constructor here: as a child its converter computes it
function P.stand_in(name)
   P.in_package = true
   torch.class(name, 'nn.Module')
   P.in_package = false
end

local child = P.child_operation
local Module = torch.getmetatable('nn.Module')
function Module:updateOutput(input)
   if not is_products(self) then
      error(P.where() .. torch.type(self) .. ' runs the updateOutput of a class of Torch7 that it inherits from', 0)
   end
   self.output = child('output', self, input)
   return self.output
end
-- nn.Module's own backward passes do nothing; those of other classes of Torch7 do, and are not Lua here
local idle = {['nn.Module'] = true, ['nn.Container'] = true}
local function check_idle(self, name)
   local class = metatable_of(self)
   while class and not is_products(self, class) do
      local above = metatable_of(class)
      class = above and above.__metatable
   end
   if not class or not idle[rawget(class, '__typename')] then
      error(P.where() .. torch.type(self) .. ' runs the ' .. name .. ' of a class of Torch7 that it inherits from', 0)
   end
end
function Module:updateGradInput(input, gradOutput)
   if is_products(self) then
      self.gradInput = child('gradient', self, input, gradOutput)
   else
      check_idle(self, 'updateGradInput')
   end
   return self.gradInput
end
function Module:accGradParameters(input, gradOutput, scale)
   if is_products(self) then
      child('accumulate', self, input, gradOutput, scale or 1)
   else
      check_idle(self, 'accGradParameters')
   end
end
function Module:forward(input) return self:updateOutput(input) end
function Module:backward(input, gradOutput, scale)
   scale = scale or 1
   self:updateGradInput(input, gradOutput)
   self:accGradParameters(input, gradOutput, scale)
   return self.gradInput
end
for _, name in ipairs{'accUpdateGradParameters', 'sharedAccUpdateGradParameters', 'backwardUpdate', 'updateParameters'} do
   Module[name] = function(self)
      error(P.where() .. torch.type(self) .. ':' .. name .. ' changes parameters, and is not run here', 0)
   end
end
function nn.Container:rethrowErrors(module, index, name, ...) return module[name](module, ...) end

local utils = nn.utils
function utils.addSingletonDimension(...)
   local view, t, dim
   if select('#', ...) < 3 then t, dim = ... else view, t, dim = ... end
   local made = t:unsqueeze(dim or 1)
   return view and view:set(made) or made
end
function utils.contiguousView(output, input, ...)
   output = output or input.new()
   if input:isContiguous() then
      output:view(input, ...)
   else
      output:resize(input:size()):copy(input)
      output:view(output, ...)
   end
   return output
end
local function both(first, second, f)
   if torch.type(second) == 'table' then
      first = torch.type(first) == 'table' and first or {first}
      for key in pairs(second) do first[key] = both(first[key], second[key], f) end
      return first
   end
   if not torch.isTensor(second) then error(P.where() .. 'nested tensors expected, got ' .. torch.type(second), 0) end
   return f(torch.isTensor(first) and first or second.new(), second)
end
function utils.recursiveResizeAs(first, second)
   local made = both(first, second, function(a, b) return a:resize(b:size()) end)
   if torch.type(second) == 'table' then
      for key in pairs(made) do if not second[key] then made[key] = nil end end
   end
   return made, second
end
function utils.recursiveCopy(first, second)
   return both(first, second, function(a, b) return a:resize(b:size()):copy(b) end), second
end
function utils.recursiveAdd(first, value, second)
   if not second then value, second = 1, value end
   return both(first, second, function(a, b) return a:add(value or 1, b) end), second
end
function utils.recursiveFill(value, number)
   return both(value, value, function(a) return a:fill(number) end)
end
