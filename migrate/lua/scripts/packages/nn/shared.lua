-- What the product's own packages share to make classes, whosever nn they stand on.
local P = ...
local type, select, error, sqrt = type, select, error, math.sqrt

-- a class of nn, whose constructor makes the fields of nn.Module first
function P.nn_class(name, parent, init)
   local class, above = torch.class('nn.' .. name, 'nn.' .. (parent or 'Module'))
   if init then
      class.__init = function(self, ...)
         P.module_fields(self)
         init(self, ...)
      end
   end
   return class, above
end

function P.module_fields(self)
   self.gradInput = torch.Tensor()
   self.output = torch.Tensor()
   self._type = self.output:type()
end

-- whole numbers as C takes them for sizes
function P.need_number(name, ...)
   for i = 1, select('#', ...) do
      if type((select(i, ...))) ~= 'number' then
         error(P.where() .. 'bad argument #' .. i .. ' to \'' .. name .. '\' (number expected, got ' .. type((select(i, ...))) .. ')', 0)
      end
   end
end

-- weights drawn uniformly within what the number of inputs gives; their values are the author's to replace
local function draw(tensor, bound) return tensor:uniform(-bound, bound) end
local function no_bias(self)
   self.bias, self.gradBias = nil, nil
   return self
end
P.draw, P.no_bias = draw, no_bias

local function drawn_with(inputs_of)
   return function(self, deviation)
      local bound = deviation and deviation * sqrt(3) or 1 / sqrt(inputs_of(self))
      draw(self.weight, bound)
      if self.bias then draw(self.bias, bound) end
      return self
   end
end
P.drawn_with = drawn_with
