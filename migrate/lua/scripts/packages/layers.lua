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
-- the class of Torch7 that an author's class inherits from; nil for one of Torch7
local function inherited(self)
   if is_products(self) then return nil end
   local class = metatable_of(self)
   while class and not is_products(self, class) do
      local above = metatable_of(class)
      class = above and above.__metatable
   end
   return class and rawget(class, '__typename')
end
-- nn.Module's own passes do nothing; those of other classes of Torch7 are what their converters compute
local idle = {['nn.Module'] = true, ['nn.Container'] = true, ['nn.Criterion'] = true}
-- the class of Torch7 whose backward pass a layer has that its author gave none; nil if that does nothing
function P.inherited_backward(self)
   local class = inherited(self)
   if class and not idle[class] then return class end
end
local Module = torch.getmetatable('nn.Module')
function Module:updateOutput(input)
   local class = inherited(self)
   if not idle[class] then self.output = child('output', self, class, input) end
   if self.output == nil then
      error(P.where() .. torch.type(self) .. ' runs the updateOutput of a class of Torch7 that does nothing', 0)
   end
   return self.output
end
function Module:updateGradInput(input, gradOutput)
   local class = inherited(self)
   if not idle[class] then self.gradInput = child('gradient', self, class, input, gradOutput) end
   return self.gradInput
end
function Module:accGradParameters(input, gradOutput, scale)
   local class = inherited(self)
   if not idle[class] then child('accumulate', self, class, input, gradOutput, scale or 1) end
end
local Criterion = torch.getmetatable('nn.Criterion')
function Criterion:updateOutput(input, target)
   local class = inherited(self)
   if not idle[class] then self.output = child('loss', self, class, {input, target}) end
   return self.output
end
function Criterion:updateGradInput(input, target)
   local class = inherited(self)
   if not idle[class] then self.gradInput = child('loss gradient', self, class, {input, target}) end
   return self.gradInput
end
function Criterion:forward(input, target) return self:updateOutput(input, target) end
function Criterion:backward(input, target) return self:updateGradInput(input, target) end
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

-- a number that comes from the numbers of tensors is a number to authors
local is_recorded, operation = function(value) return type(value) == 'userdata' and metatable_of(value) == P.recorded_number end, P.operation
local raw_torch_type = torch.type
_G.type = function(value) return is_recorded(value) and 'number' or type(value) end
function torch.type(value) return is_recorded(value) and 'number' or raw_torch_type(value) end
for mine, theirs in pairs{sqrt = 'sqrt', exp = 'exp', log = 'log', abs = 'abs', sin = 'sin', cos = 'cos', tan = 'tan', tanh = 'tanh',
                          floor = 'floor', ceil = 'ceil', pow = 'pow', max = '__max', min = '__min'} do
   local plain, recorded = math[mine], operation('function', theirs)
   math[mine] = function(first, ...)
      if not is_recorded(first) and not is_recorded((...)) then return plain(first, ...) end
      local made, more = first, {...}
      if #more == 0 and theirs ~= '__max' and theirs ~= '__min' then return recorded(first) end
      for i = 1, #more do made = recorded(made, more[i]) end
      return made
   end
end

-- a module that is made while a layer runs gets no random numbers: what reads its weights before they are written is refused
local getinfo, find = P.getinfo, string.find
local function made_here()
   for level = 3, 8 do
      local at = getinfo(level, 'S')
      if not at then return false end
      if at.source ~= '=(tail call)' then return find(at.source, P.own, 1, true) == 1 end
   end
end
for _, kind in ipairs{'Float', 'Double'} do
   local class = torch.getmetatable('torch.' .. kind .. 'Tensor')
   for _, name in ipairs{'uniform', 'normal'} do
      local plain = class[name]
      class[name] = function(self, ...)
         if made_here() then return self end
         local drawn = plain(self, ...)
         return drawn
      end
   end
end

-- what classes of nn do for their own passes, and authors' classes that inherit from them call
local function positive(self, input)
   local like = torch.type(input) == 'table' and input[1] or input
   if self.dimension < 0 then return like:dim() + self.dimension + 1 end
   local batch = self.nInputDims and like:dim() == self.nInputDims + 1
   return self.dimension + (batch and 1 or 0)
end
local helpers = {Max = {}, Min = {}, Sum = {}, JoinTable = {}, SplitTable = {}}
for _, own in pairs(helpers) do own._getPositiveDimension = positive end
function helpers.Sum:_getPositiveDimension(input)
   local dimension = positive(self, input)
   if input:dim() < dimension then error(P.where() .. 'dimension exceeds input dimensions', 0) end
   return dimension
end
function helpers.Max:_lazyInit()
   self._output = self._output or self.output.new()
   self._indices = self._indices or torch.LongTensor()
end
helpers.Min._lazyInit = helpers.Max._lazyInit
helpers.Linear = {updateAddBuffer = function(self, input)
   self.addBuffer = self.addBuffer or input.new()
   if self.addBuffer:nElement() ~= input:size(1) then self.addBuffer:resize(input:size(1)):fill(1) end
end}
helpers.BatchNormalization = {checkInputDim = function(self, input)
   local single = input:dim() == self.nDim - 1
   if not (input:dim() == self.nDim or single and self.train == false)
      or input:size(single and 1 or 2) ~= self.running_mean:nElement() then
      error(P.where() .. 'got an input of other sizes than the batch normalization has', 0)
   end
end}
for name, own in pairs(helpers) do
   local class = torch.getmetatable('nn.' .. name)
   for method, f in pairs(own) do class[method] = f end
end
