-- lfs: what is below the folder of the definition. Files of a checkout have no times of their own: all are of one age.
local P = ...
local type = type
local paths = require 'paths'
lfs = {}
function lfs.attributes(path, name)
   local mode
   if type(path) == 'string' then
      mode = P.is_file(path) and 'file' or P.bridge.entries(path) and 'directory' or nil
   end
   if not mode then return P.not_known('lfs.attributes') end
   local found = {mode = mode, modification = 1262304000, access = 1262304000, change = 1262304000}
   if type(name) == 'string' then return found[name] end
   return found
end
lfs.symlinkattributes = lfs.attributes
function lfs.dir(path)
   local list = type(path) == 'string' and paths.dir(path) or nil
   if not list then return P.not_known('lfs.dir') end
   local at = 0
   return function()
      at = at + 1
      return list[at]
   end
end
function lfs.mkdir() return true end
function lfs.rmdir() return true end
function lfs.currentdir() return '.' end
function lfs.chdir() return true end
return lfs
