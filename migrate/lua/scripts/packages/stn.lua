-- stn: spatial transformers, images with their channels last.
local P = ...
require 'nn'
local class, error, assert_numbers = P.nn_class, error, P.need_number
class('AffineTransformMatrixGenerator', nil, function(self, rotation, scale, translation)
   self.fullMode = not (rotation or scale or translation)
   if not self.fullMode then self.useRotation, self.useScale, self.useTranslation = rotation, scale, translation end
end)
class('AffineGridGeneratorBHWD', nil, function(self, height, width)
   assert_numbers('AffineGridGeneratorBHWD', height, width)
   if height <= 1 or width <= 1 then error(P.where() .. 'a grid has more than one row and column', 0) end
   self.height, self.width = height, width
   self.baseGrid = torch.Tensor(height, width, 3)
   for i = 1, height do self.baseGrid:select(3, 1):select(1, i):fill(-1 + (i - 1) / (height - 1) * 2) end
   for i = 1, width do self.baseGrid:select(3, 2):select(2, i):fill(-1 + (i - 1) / (width - 1) * 2) end
   self.baseGrid:select(3, 3):fill(1)
   self.batchGrid = torch.Tensor(1, height, width, 3):copy(self.baseGrid)
end)
class('BilinearSamplerBHWD', nil, function(self) self.gradInput = {} end)
return true
