-- Files of data below the folders, as authors' scripts read them, and those that the scripts write, which stay in memory.
local P = ...
local bridge, torch = P.bridge, P.torch
local type, error, tostring, tonumber, select, unpack, concat = type, error, tostring, tonumber, select, unpack, table.concat
local find, match, sub, gsub = string.find, string.match, string.sub, string.gsub

P.writes_together = true

-- name -> the parts of a text, or {object = what torch.save was given}; unknown: something in it is not known
local written = {}
local function plain(name)
   local path = gsub(gsub(name, '/+', '/'), '/%./', '/')
   return (gsub(path, '^%./', ''))
end
local function kept(name) return type(name) == 'string' and written[plain(name)] or nil end
function P.is_file(name) return kept(name) ~= nil or P.in_places(name) ~= nil end

local function reader(text)
   local file, at, size = {}, 1, #text
   local function line(ending)
      if at > size then return nil end
      local to = find(text, '\n', at, true)
      local from = at
      at = (to or size) + 1
      return sub(text, from, to and not ending and to - 1 or at - 1)
   end
   local function number()
      local _, _, blank, word = find(text, '^(%s*)([%w.+-]+)', at)
      while word and #word > 0 do
         if tonumber(word) then
            at = at + #blank + #word
            return tonumber(word)
         end
         word = sub(word, 1, -2)
      end
   end
   local function one(form)
      if type(form) == 'number' then
         if at > size then return nil end
         local from = at
         at = at + form
         return sub(text, from, at - 1)
      end
      local kind = match(tostring(form), '^%*?(%a)')
      if kind == 'a' then
         local from = at
         at = size + 1
         return sub(text, from)
      end
      if kind == 'l' or kind == 'L' then return line(kind == 'L') end
      if kind == 'n' then return number() end
      error(P.where() .. 'bad argument #1 to \'read\' (invalid format)', 0)
   end
   function file:read(...)
      if select('#', ...) == 0 then return line() end
      local values, count = {}, select('#', ...)
      for i = 1, count do
         values[i] = one((select(i, ...)))
         if values[i] == nil then return unpack(values, 1, i) end
      end
      return unpack(values, 1, count)
   end
   function file:lines(...)
      local forms, count = {...}, select('#', ...)
      return function() return file:read(unpack(forms, 1, count)) end
   end
   function file:seek(whence, by)
      if type(whence) == 'number' then whence, by = 'cur', whence end
      local base = whence == 'set' and 0 or whence == 'end' and size or at - 1
      at = base + (by or 0) + 1
      return at - 1
   end
   function file:close() return true end
   function file:setvbuf() return true end
   function file:write() return nil, 'Bad file descriptor' end
   file.flush = file.close
   return file
end

local function writer(name, mode)
   local held = find(mode, '^a') and written[name] or {}
   if find(mode, '^a') and not written[name] and P.is_file(name) then held[1] = bridge.read(P.in_places(name)) end
   written[name] = held
   local file = {}
   function file:write(...)
      for i = 1, select('#', ...) do
         local value = (select(i, ...))
         if P.is_unknown(value) then held.unknown = P.label(value) end
         held[#held + 1] = tostring(value)
      end
      return self
   end
   function file:close() return true end
   function file:setvbuf() return true end
   function file:seek() return 0 end
   function file:read() return nil end
   file.flush = file.close
   return file
end

-- the text of a file, or what it is that is not known of it
local function text_of(name)
   local held = kept(name)
   if not held then return bridge.read(P.in_places(name) or name) end
   if held.unknown then return nil, held.unknown end
   if held.object ~= nil then return nil, 'the bytes of ' .. name end
   return concat(held)
end

local absent_open, absent_lines, absent_load = io.open, io.lines, torch.load
function io.open(name, mode)
   mode = type(mode) == 'string' and mode or 'r'
   if type(name) ~= 'string' then return absent_open(name, mode) end
   if not find(mode, '^r') then return writer(plain(name), mode) end
   local text, unknown = text_of(name)
   if text then return reader(text) end
   if unknown then return P.not_known(unknown) end
   return absent_open(name, mode)
end
function io.lines(name, ...)
   local text, unknown = nil, nil
   if type(name) == 'string' then text, unknown = text_of(name) end
   if text then return reader(text):lines(...) end
   return unknown and P.not_known(unknown) or absent_lines(name)
end
function torch.save(name, value)
   if type(name) == 'string' then written[plain(name)] = {object = P.copied(value)} end
end
function torch.load(name, ...)
   local held = kept(name)
   if not held then return absent_load(type(name) == 'string' and P.in_places(name) or name, ...) end
   if held.object == nil then return P.not_known('the file ' .. name) end
   return P.copied(held.object)
end
