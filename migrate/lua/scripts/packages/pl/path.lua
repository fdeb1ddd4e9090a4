-- pl.path: names of files, and those below the folder of the definition.
local P = ...
local type, error, rawget, rawset, select = type, error, rawget, rawset, select
local match, sub = string.match, string.sub
local path = {sep = '/', dirsep = ':', is_windows = false}
local function text(name)
   if type(name) ~= 'string' then error(P.where() .. 'pl.path: a name of a file expected, got ' .. type(name), 0) end
   return name
end
function path.isfile(name) return P.is_file(text(name)) end
function path.isdir(name) return P.bridge.entries(text(name)) ~= nil end
function path.exists(name) return (path.isfile(name) or path.isdir(name)) and name or nil end
function path.isabs(name) return sub(text(name), 1, 1) == '/' end
function path.currentdir() return '.' end
path.abspath, path.normpath, path.expanduser = text, text, text
function path.join(first, ...)
   local made = text(first)
   for i = 1, select('#', ...) do
      local part = text((select(i, ...)))
      if sub(part, 1, 1) == '/' or made == '' then made = part
      elseif sub(made, -1) == '/' then made = made .. part
      else made = made .. '/' .. part end
   end
   return made
end
function path.splitpath(name)
   local folder, last = match(text(name), '^(.*)/([^/]*)$')
   return folder or '', last or name
end
function path.dirname(name) return (path.splitpath(name)) end
function path.basename(name) return (select(2, path.splitpath(name))) end
function path.splitext(name)
   local base, ending = match(text(name), '^(.*[^/])(%.[^./]*)$')
   return base or name, ending or ''
end
function path.extension(name) return (select(2, path.splitext(name))) end
if rawget(_G, 'path') == nil then rawset(_G, 'path', path) end
return path
