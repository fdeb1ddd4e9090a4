-- cunn: nn on GPUs. Here there is one device, and a network that was spread over several is held once.
local P = ...
require 'nn'
require 'cutorch'
local error, type = error, type
cunn = {}

local Parallel = torch.class('nn.DataParallelTable', 'nn.Container')
function Parallel:__init(dimension, flat, nccl)
   nn.Container.__init(self)
   P.need_number('DataParallelTable', dimension)
   self.typeStr, self.dimension = 'torch.CudaTensor', dimension
   self.gpuAssignments, self.inputGpu, self.gradOutputGpu, self.outputGpu, self.gradInputGpu = {}, {}, {}, {}, {}
   self.flattenParams, self.usenccl, self.needsSync = flat or false, nccl or false, false
end
-- add(module, {1, 2, …}), or in older versions a replica for each device
function Parallel:add(module, devices)
   if type(devices) == 'table' then
      if #self.modules > 0 then error(P.where() .. 'DataParallelTable should have only a single module', 0) end
      self.gpuAssignments = devices
   else
      self.gpuAssignments[#self.gpuAssignments + 1] = devices or #self.modules + 1
   end
   self.modules[#self.modules + 1] = module
   return self
end
function Parallel:parameters()
   if self.modules[1] then return self.modules[1]:parameters() end
end
function Parallel:threads() return self end
for _, name in ipairs{'syncParameters', 'flattenParameters'} do Parallel[name] = function() end end
return cunn
