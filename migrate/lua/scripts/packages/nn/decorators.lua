-- Modules around one other module.
local P = ...
local class = P.nn_class
local error, ipairs, type = error, ipairs, type

class('Decorator', 'Container', function(self, module) self.modules = {module} end)
class('DontCast', 'Decorator', function(self, module, cast_in, cast_out, kind)
   self.modules = {module}
   self.castin = cast_in
   self.castout = cast_out
   if cast_out == nil then self.castout = cast_in end
   self.moduleType = kind
   if cast_in and not kind then
      local tensor = module:parameters() and module:parameters()[1] or module.output
      self.moduleType = tensor:type()
   end
end)
function nn.DontCast:type(typename, cache)
   if not typename then return self._type end
   if self.castout then self.output = torch.getmetatable(typename).new() end
   if self.castin then self.gradInput = torch.getmetatable(typename).new() end
   return self
end
class('GPU', 'Container', function(self, module, device, out)
   P.need_number('GPU', device)
   self.modules = {module}
   self.device, self.outdevice = device, out or device
end)
local count = 0
class('NaN', 'Decorator', function(self, module, id)
   self.modules = {module}
   if not id then
      count = count + 1
      id = count
   end
   self.id = id
end)
class('Profile', 'Decorator', function(self, module, interval, name)
   self.modules = {module}
   self.print_interval, self.name, self.module = interval or 100, name or torch.type(module), module
   self.numFwds, self.numBwds, self.summedFwdTime, self.summedBwdTime = 0, 0, 0, 0
   self.timer = torch.Timer()
end)
class('PrintSize', nil, function(self, prefix) self.prefix = prefix or 'PrintSize' end)

-- the weight of a module as a direction v and a length g
local WeightNorm = class('WeightNorm', 'Decorator', function(self, module, dimension)
   self.modules = {module}
   if module.bias then self.bias, self.gradBias = module.bias, module.gradBias end
   self.gradWeight, self.weight = module.gradWeight, module.weight
   self.outputDim = dimension or 1
   self.weightSize = self.weight:size()
   local order, rows = {}, self.weight:size(self.outputDim)
   order[1] = rows
   for i = 1, self.weight:dim() do
      if i ~= self.outputDim then order[#order + 1] = self.weight:size(i) end
   end
   self.otherDims = self.weight:nElement() / rows
   self.viewOut = torch.LongStorage(order)
   self.viewIn = torch.LongStorage{rows, self.otherDims}
   self.v, self.gradV = torch.Tensor(rows, self.otherDims), torch.zeros(rows, self.otherDims)
   self.g, self.gradG = torch.Tensor(rows, 1), torch.zeros(rows)
   self._norm, self._scale = torch.zeros(rows), torch.zeros(rows)
   self:reset()
end)
function WeightNorm:reset()
   self.v:normal(0, math.sqrt(2 / self.otherDims))
   self.g:norm(self.v, 2, 2)
   if self.bias then self.bias:zero() end
end
function WeightNorm:parameters()
   if self.bias then return {self.v, self.g, self.bias}, {self.gradV, self.gradG, self.gradBias} end
   return {self.v, self.g}, {self.gradV, self.gradG}
end

-- batches between layouts such as 'bchw' and 'bf'; its modules are made from the first input
local function layout(text)
   return text:find('b', 1, true) and text or 'b' .. text
end
class('Convert', 'Container', function(self, from, to)
   self.modules = {}
   local whole = (from == nil or from == 'b*') and 1 or 0
   local whole_out = ((to or from) == nil or (to or from) == 'b*') and 1 or 0
   if whole ~= whole_out then error(P.where() .. 'Both or neither shapes must be b*', 0) end
   self.inputShape, self.outputShape = layout(from or 'b*'), layout(to or from or 'b*')
   self.inputBatchDim, self.outputBatchDim = self.inputShape:find('b', 1, true), self.outputShape:find('b', 1, true)
   if whole == 1 then
      self.nInputDim, self.nOutputDim, self.transposition = -1, -1, true
      return
   end
   self.nInputDim, self.nOutputDim = #self.inputShape, #self.outputShape
   if #self.inputShape == #self.outputShape then
      local same = true
      for letter in self.inputShape:gmatch('.') do same = same and self.outputShape:find(letter, 1, true) ~= nil end
      if same then self.transposition = true end
   end
end)
