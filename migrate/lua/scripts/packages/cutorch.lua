-- cutorch: one device, whose tensors lie in the memory of the processor.
local function nothing() end
cutorch = {hasHalf = false}
for _, name in ipairs{'setDevice', 'manualSeed', 'manualSeedAll', 'seed', 'seedAll', 'synchronize', 'synchronizeAll', 'reserveStreams',
                      'setDefaultStream', 'setStream', 'setHeapTracking', 'setKernelPeerToPeerAccess', 'streamWaitFor', 'reserveBlasHandles'} do
   cutorch[name] = nothing
end
function cutorch.getDevice() return 1 end
function cutorch.getDeviceCount() return 1 end
function cutorch.getMemoryUsage() return 8e9, 8e9 end
function cutorch.getDeviceProperties()
   return {name = 'the processor', major = 5, minor = 2, totalGlobalMem = 8e9, freeGlobalMem = 8e9, maxThreadsPerBlock = 1024, multiProcessorCount = 16}
end
function cutorch.withDevice(_, f) return f() end
function cutorch.createCudaHostTensor(...) return torch.FloatTensor(...) end
return cutorch
