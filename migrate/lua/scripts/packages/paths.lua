-- paths: names of files, and the files below the folder of the definition.
local P = ...
local select, concat, type, error, ipairs = select, table.concat, type, error, ipairs
paths = {}
function paths.concat(...)
   local parts = {}
   for i = 1, select('#', ...) do
      local part = (select(i, ...))
      if type(part) == 'string' and part ~= '' then parts[#parts + 1] = part end
   end
   return concat(parts, '/')
end
function paths.basename(path, suffix)
   local name = path:match('([^/]*)$')
   if suffix and name:sub(-#suffix) == suffix then name = name:sub(1, -#suffix - 1):gsub('%.$', '') end
   return name
end
function paths.dirname(path) return path:match('^(.*)/[^/]*$') or '.' end
function paths.extname(path) return path:match('%.([^./]*)$') end
function paths.filep(path) return P.bridge.find(path) ~= nil end
function paths.dirp() return false end
function paths.mkdir() return true end
function paths.cwd() return '.' end
function paths.home() return '.' end
function paths.is_win() return false end
function paths.is_mac() return false end
function paths.files() return function() end end
paths.dir, paths.iterfiles, paths.iterdirs = paths.files, paths.files, paths.files
-- relative to the file that calls
function paths.thisfile(name)
   local folder = P.beside_caller(2)
   return name and P.join(folder, name) or folder
end
function paths.dofile(name)
   local beside = P.join(P.beside_caller(2), name)
   return P.run_file(P.bridge.find(beside) and beside or P.located(name))
end
paths.require = require
return paths
