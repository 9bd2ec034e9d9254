-- Judge each request: who sends it, which model it asks for, which cluster answers. The configuration stands in the
-- table `config`, which the agent writes in front of this text. Every object of Envoy that was fetched before
-- `body()` is dead after it, because it yields: fetch `headers()` again.
-- Nothing here may fail: after an error in Lua, Envoy goes on with the request. It then finds no header
-- x-vllm-gateway-cluster, which clients cannot send, and the only route left refuses the request.
local bit = require("bit")
local band, bor, bxor, rshift, lshift, ror, tobit, tohex, bnot =
  bit.band, bit.bor, bit.bxor, bit.rshift, bit.lshift, bit.ror, bit.tobit, bit.tohex, bit.bnot
local find, sub, byte, format, gsub, lower = string.find, string.sub, string.byte, string.format, string.gsub, string.lower

local MAX_DEPTH = 200 -- levels of JSON: vLLM's parser ends at about 1,000, real requests have fewer than 40
local PREFIX_BYTES = 4096 -- of a conversation that are hashed
local MAX_KEY_BYTES = 512 -- of an API key
local MAX_TAIL_BYTES = 8192 -- of an event of a stream that is not complete

local K = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
  0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
  0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
  0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
  0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
  0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

-- Return the SHA-256 of a short text in hexadecimal digits (FIPS 180-4).
local function sha256(text)
  local bits = #text * 8
  text = text .. "\128" .. string.rep("\0", (55 - #text) % 64) .. "\0\0\0\0" ..
    string.char(band(rshift(bits, 24), 255), band(rshift(bits, 16), 255), band(rshift(bits, 8), 255), band(bits, 255))
  local h0, h1, h2, h3 = tobit(0x6a09e667), tobit(0xbb67ae85), tobit(0x3c6ef372), tobit(0xa54ff53a)
  local h4, h5, h6, h7 = tobit(0x510e527f), tobit(0x9b05688c), tobit(0x1f83d9ab), tobit(0x5be0cd19)
  local w = {}
  for block = 1, #text, 64 do
    for i = 0, 15 do
      local p = block + i * 4
      local b0, b1, b2, b3 = byte(text, p, p + 3)
      w[i] = bor(lshift(b0, 24), lshift(b1, 16), lshift(b2, 8), b3)
    end
    for i = 16, 63 do
      local x, y = w[i - 15], w[i - 2]
      local s0 = bxor(ror(x, 7), ror(x, 18), rshift(x, 3))
      local s1 = bxor(ror(y, 17), ror(y, 19), rshift(y, 10))
      w[i] = tobit(w[i - 16] + s0 + w[i - 7] + s1)
    end
    local a, b, c, d, e, f, g, h = h0, h1, h2, h3, h4, h5, h6, h7
    for i = 0, 63 do
      local s1 = bxor(ror(e, 6), ror(e, 11), ror(e, 25))
      local t1 = tobit(h + s1 + bxor(band(e, f), band(bnot(e), g)) + K[i + 1] + w[i])
      local s0 = bxor(ror(a, 2), ror(a, 13), ror(a, 22))
      local t2 = tobit(s0 + bxor(band(a, b), band(a, c), band(b, c)))
      h, g, f, e, d, c, b, a = g, f, e, tobit(d + t1), c, b, a, tobit(t1 + t2)
    end
    h0, h1, h2, h3 = tobit(h0 + a), tobit(h1 + b), tobit(h2 + c), tobit(h3 + d)
    h4, h5, h6, h7 = tobit(h4 + e), tobit(h5 + f), tobit(h6 + g), tobit(h7 + h)
  end
  return tohex(h0) .. tohex(h1) .. tohex(h2) .. tohex(h3) .. tohex(h4) .. tohex(h5) .. tohex(h6) .. tohex(h7)
end

-- Return FNV-1a (32 bit) of `text` between two positions, going on from `seed`.
local function fnv(text, first, last, seed)
  local x = seed
  for i = first, last do
    x = bxor(x, byte(text, i))
    -- x * 16777619 modulo 2^32, in parts that are exact in a double
    x = tobit(band(x, 0xffff) * 16777619 + lshift(tobit(rshift(x, 16) * 403), 16))
  end
  return x
end
local FNV_SEED = tobit(2166136261)

-- Return the position of the quote that ends the string of JSON whose first character is at `i`.
local function string_end(s, i)
  local from = i
  while true do
    local q = find(s, '"', from, true)
    if not q then return nil end
    local p = q - 1
    while p >= i and byte(s, p) == 92 do p = p - 1 end
    if (q - p) % 2 == 1 then return q end
    from = q + 1
  end
end

local function utf8(code)
  if code < 0x80 then return string.char(code) end
  if code < 0x800 then return string.char(0xc0 + rshift(code, 6), 0x80 + band(code, 63)) end
  local last = string.char(0x80 + band(rshift(code, 6), 63), 0x80 + band(code, 63))
  if code < 0x10000 then return string.char(0xe0 + rshift(code, 12)) .. last end
  return string.char(0xf0 + rshift(code, 18), 0x80 + band(rshift(code, 12), 63)) .. last
end
local ESCAPES = {b = "\b", f = "\f", n = "\n", r = "\r", t = "\t"}

-- Return the code point of four hexadecimal digits at a position; nil where there are none.
local function code_at(s, i)
  local digits = sub(s, i, i + 3):match("^%x%x%x%x$")
  return digits and tonumber(digits, 16)
end

-- Return the text of a string of JSON.
local function unescape(s)
  if not find(s, "\\", 1, true) then return s end
  local out, from = {}, 1
  while true do
    local b = find(s, "\\", from, true)
    if not b then break end
    out[#out + 1] = sub(s, from, b - 1)
    local c = sub(s, b + 1, b + 1)
    local code = c == "u" and code_at(s, b + 2)
    if code then
      from = b + 6
      local low = code >= 0xd800 and code < 0xdc00 and sub(s, from, from + 1) == "\\u" and code_at(s, from + 2)
      if low and low >= 0xdc00 and low < 0xe000 then
        code, from = 0x10000 + (code - 0xd800) * 0x400 + (low - 0xdc00), from + 6
      end
      out[#out + 1] = utf8(code)
    else
      out[#out + 1] = ESCAPES[c] or c
      from = b + 2
    end
  end
  out[#out + 1] = sub(s, from)
  return table.concat(out)
end

-- Values of `stream` that vLLM reads as false. All others count as a stream, so that no spelling of `true` hides the
-- tokens of an answer from the limits.
local FALSE = {["false"] = true, null = true, ["0"] = true, ["0.0"] = true, no = true, n = true, f = true, off = true}
-- The only forms of `stream_options`, without spaces, that are left as they are.
local ASKS_FOR_USAGE = {
  ['{"include_usage":true}'] = true,
  ['{"include_usage":true,"continuous_usage_stats":true}'] = true,
  ['{"continuous_usage_stats":true,"include_usage":true}'] = true,
  ['{"include_usage":true,"continuous_usage_stats":false}'] = true,
  ['{"continuous_usage_stats":false,"include_usage":true}'] = true,
}
-- Paths whose answers may be a stream of events, in which a client may ask for comments.
local STREAMED = {["/v1/chat/completions"] = true, ["/v1/completions"] = true, ["/v1/responses"] = true, ["/v1/messages"] = true}
-- Paths whose streams have their usage only when the request asks for it.
local ASKED_FOR_USAGE = {["/v1/chat/completions"] = true, ["/v1/completions"] = true}

local WANTED = {model = true, stream = true, user = true, stream_options = true, messages = true, prompt = true, input = true}

-- Read the members of the outermost object of a body. The last of equal keys counts, as in vLLM. Return nil and a
-- reason for a body that is no JSON object. Strings are skipped, so the time does not depend on how JSON is nested.
local function scan(s)
  local i = find(s, "%S", 1)
  -- A body with a NUL in its first characters is UTF-16 or UTF-32 for the parser of vLLM, which would read other names.
  if not i or byte(s, i) ~= 123 or find(sub(s, 1, 4), "%z") then return nil, "the body is no JSON object in UTF-8" end
  local found, depth, key, options = {}, 0, nil, nil
  while true do
    i = find(s, '["{}%[%]]', i)
    if not i then return nil, "the body is no complete JSON object" end
    local c = byte(s, i)
    if c == 34 then
      local q = string_end(s, i + 1)
      if not q then return nil, "the body is no complete JSON object" end
      if depth == 1 then
        local colon = find(s, "%S", q + 1)
        if colon and byte(s, colon) == 58 then
          key = unescape(sub(s, i + 1, q - 1))
          if WANTED[key] then
            local v = find(s, "%S", colon + 1) or colon
            local start = byte(s, v)
            if key == "model" or key == "user" then
              found[key] = nil
              if start == 34 then
                local e = string_end(s, v + 1)
                if not e then return nil, "the body is no complete JSON object" end
                found[key] = unescape(sub(s, v + 1, e - 1))
                if key == "model" then found.first, found.last = v, e end
                q = e
              end
            elseif key == "stream" then
              found.stream = not FALSE[lower(sub(s, v, v + 10):match('^"?([%w.]*)'))]
            elseif key == "stream_options" then
              options, found.options = start == 123 and v or nil, ""
            else
              found.start = found.start or v
            end
          end
        end
      end
      i = q + 1
    else
      if c == 123 or c == 91 then
        depth = depth + 1
        if depth > MAX_DEPTH then return nil, "the body is nested more than " .. MAX_DEPTH .. " levels deep" end
      else
        depth = depth - 1
        if depth == 1 and options then found.options, options = sub(s, options, i), nil end
        if depth == 0 then
          found.close = i
          return found
        end
      end
      i = i + 1
    end
  end
end

-- Return the name of the field in the lowered headers of a part of a form; nil where they are not those of one field.
local function field_name(head)
  local line, more = head:match("\r\ncontent%-disposition:[ \t]*form%-data;[ \t]*([^\r\n]*)(.*)")
  if not line or find(more, "\r\ncontent-disposition", 1, true) then return nil end
  return line:match('^name="([^"\\]*)"') or line:match("^name=([%w_.%-]+)")
end

-- Return the value of the field `model` of a form, and its first and last position. A form that names it twice, or that
-- another parser may read in another way, names none.
local function form_model(s, content_type)
  local boundary = content_type:match('boundary="?([^";,%s]+)')
  if not boundary or #boundary > 70 then return nil end
  local delimiter = "--" .. boundary
  local at = sub(s, 1, #delimiter) == delimiter and 1 or find(s, "\r\n" .. delimiter, 1, true)
  if not at then return nil end
  if at > 1 then at = at + 2 end
  local value, first, last
  while true do
    local from = at + #delimiter
    if sub(s, from, from + 1) == "--" then return value, first, last end
    local e = find(s, "\r\n\r\n", from, true)
    if not e or sub(s, from, from + 1) ~= "\r\n" or e - from > MAX_TAIL_BYTES then return nil end
    local q = find(s, "\r\n" .. delimiter, e + 4, true)
    local name = field_name(lower(sub(s, from, e - 1)))
    if not q or not name then return nil end
    if name == "model" then
      if value or q - e > 300 then return nil end
      value, first, last = sub(s, e + 4, q - 1), e + 4, q - 1
    end
    at = q + 2
  end
end

local function quoted(text)
  return '"' .. gsub(text, '[%c"\\\127-\255]', function(c) return format("\\u%04x", byte(c)) end) .. '"'
end

local function refuse(h, status, kind, message, headers)
  h:headers():replace("x-vllm-gateway-refused", "1")
  local all = {[":status"] = tostring(status), ["content-type"] = "application/json"}
  for name, value in pairs(headers or {}) do all[name] = value end
  h:respond(all, '{"error":{"message":' .. quoted(message) .. ',"type":"' .. kind .. '","param":null,"code":' .. status .. "}}")
end

local SECRET_PARAMETERS = {
  key = true, api_key = true, apikey = true, ["api-key"] = true, token = true, access_token = true, authorization = true,
}
local ANONYMOUS = {id = "anonymous"}
local known, now_of = {}, os.time -- keys that were found by their hash
-- Ids of requests: unique among the threads of a process by the address, and among processes by the time.
local salt, count = (tostring({}):match("0x(%x+)") or "0") .. format("-%x-", os.time()), 0

-- Return who a verified token names; or nil, and the reason.
local function token_owner(claims)
  local id = claims[config.jwt.id]
  if type(id) ~= "string" or #id > 120 or not find(id, "^[%w][%w._@|:/-]*$") then
    return nil, "the claim " .. config.jwt.id .. " of the token is no id of a client: it may have letters, digits and . _ @ | : / -"
  end
  local owner = {id = "jwt:" .. id}
  if config.jwt.models then
    owner.models = {}
    local listed = claims[config.jwt.models]
    if type(listed) == "string" then
      for name in string.gmatch(listed, "%S+") do owner.models[name] = true end
    elseif type(listed) == "table" then
      for _, name in pairs(listed) do
        if type(name) == "string" then owner.models[name] = true end
      end
    end
  end
  return owner
end

-- Return who sends a request; or nil, and the reason.
local function identify(h, headers, path)
  if not config.auth then return ANONYMOUS end
  local query = find(path, "?", 1, true)
  if query then
    for name in string.gmatch(lower(sub(path, query)), "[?&]([^=&]*)") do
      if SECRET_PARAMETERS[name] then
        return nil, "an API key in the query of a URL ends up in logs: send it as the header 'Authorization: Bearer KEY'"
      end
    end
  end
  local value = headers:get("authorization")
  local token = value and value:match("^[Bb][Ee][Aa][Rr][Ee][Rr] +([!-~]+)$") or headers:get("x-api-key")
  if not token then return nil, "no API key: send the header 'Authorization: Bearer KEY'" end
  if config.jwt then
    local result = h:streamInfo():dynamicMetadata():get("envoy.filters.http.jwt_authn") or {}
    if result.claims then return token_owner(result.claims) end
    -- A token without a signature has an empty last part.
    if result.failure and find(token, "^[%w_-]+%.[%w_-]+%.[%w_-]*$") then
      local why = tostring(result.failure.message)
      if find(why, "Jwks", 1, true) and find(why, "fetch", 1, true) then
        return nil, "the keys of the issuer of the token could not be read: try again", 503
      end
      return nil, "the token is not valid: " .. why
    end
  end
  if #token > MAX_KEY_BYTES then return nil, "the API key is not valid" end
  local entry = known[token]
  if not entry then
    entry = config.keys[sha256(token)]
    if not entry then return nil, "the API key is not valid" end
    known[token] = entry
  end
  if entry.expires and now_of() >= entry.expires then return nil, "the API key has expired" end
  return entry
end

local function may_use(key, name) return not key.models or key.models[name] end

-- Return the names of the models that a key may use, sorted.
local function usable(key)
  local names = {}
  for _, name in ipairs(config.names) do
    if may_use(key, name) then names[#names + 1] = name end
  end
  return names
end

local function model_object(name)
  return '{"id":' .. quoted(name) .. ',"object":"model","created":' .. config.created .. ',"owned_by":"vllm"}'
end

local function list_models(h, key, wanted)
  local items = {}
  for _, name in ipairs(usable(key)) do
    if not wanted then items[#items + 1] = model_object(name) end
    if wanted == name then return h:respond({[":status"] = "200", ["content-type"] = "application/json"}, model_object(name)) end
  end
  if wanted then return nil end
  h:respond({[":status"] = "200", ["content-type"] = "application/json"}, '{"object":"list","data":[' .. table.concat(items, ",") .. "]}")
  return true
end

local function unknown_model(h, key, name)
  local names = usable(key)
  local more = #names > 50 and " and " .. (#names - 50) .. " more" or ""
  local list = #names == 0 and "none" or table.concat(names, ", ", 1, math.min(#names, 50)) .. more
  refuse(h, 404, "NotFoundError", "The model `" .. sub(name, 1, 256) .. "` does not exist. Models for this key: " .. list .. ".")
end

-- Return the hash that keeps a conversation, or a session, on one replica.
local function affinity(headers, body, found, key, model)
  local seed = fnv(key.id, 1, #key.id, FNV_SEED)
  if model.routing == "S" then
    local session = headers:get(config.session_header) or (found and found.user)
    if not session then return nil end
    return fnv(session, 1, math.min(#session, 1024), seed)
  end
  if not found or not found.start then return nil end
  -- The same for each turn of a conversation: what stands in front of the first answer.
  local text = sub(body, found.start, found.start + PREFIX_BYTES - 1)
  local last = #text
  local answer = find(text, '"role"%s*:%s*"assistant"')
  if answer then
    local open = answer
    while open > 1 and byte(text, open) ~= 123 do open = open - 1 end
    last = open - 1
  end
  while last > 1 and find("]},: \n\r\t", sub(text, last, last), 1, true) do last = last - 1 end
  return fnv(text, 1, last, seed)
end

-- Return the server of a model that takes a request: by header, else by weight. A conversation keeps its server.
local function choose(headers, model, hash)
  for _, target in ipairs(model.versions or {}) do
    if target.cluster and headers:get(target.header) == target.value then return target end
  end
  local targets = model.targets
  if #targets == 1 then return targets[1] end
  local point = hash and (band(bxor(hash, rshift(hash, 15)), 0x7fffffff) % model.total) or math.random(0, model.total - 1)
  for _, target in ipairs(targets) do
    point = point - target.weight
    if point < 0 then return target end
  end
  return targets[1]
end

-- Return the longest body in bytes that a key may send to a model.
local function body_limit(key, name)
  local longest = config.max_body
  for _, rules in ipairs({config.bodies["*"] or {}, config.bodies[key.id] or {}}) do
    for _, rule in ipairs(rules) do
      if (rule.model == "*" or rule.model == name) and rule.bytes < longest then longest = rule.bytes end
    end
  end
  return longest
end

local function too_long(h, longest)
  refuse(h, 413, "BadRequestError", "the body has more than " .. longest .. " bytes: shorten it")
end

local function is_limited(key, name, kind)
  for _, id in ipairs({"*", key.id}) do
    local rules = config[kind][id]
    if rules and (rules["*"] or rules[name]) then return true end
  end
  return false
end

function envoy_on_request(h)
  local headers = h:headers()
  local path, method = headers:get(":path") or "", headers:get(":method")
  local key, reason, status = identify(h, headers, path)
  if status then return refuse(h, status, "ServiceUnavailableError", reason, {["retry-after"] = "5"}) end
  if not key then return refuse(h, 401, "AuthenticationError", reason, {["www-authenticate"] = "Bearer"}) end
  count = count + 1
  headers:replace("x-vllm-gateway-request", salt .. count)
  headers:replace("x-vllm-gateway-key", key.id)
  headers:remove("x-api-key")
  headers:remove("authorization")
  local query = find(path, "?", 1, true)
  local plain = query and sub(path, 1, query - 1) or path
  if method == "GET" and plain == "/v1/models" then return list_models(h, key) end
  if method == "GET" and sub(plain, 1, 11) == "/v1/models/" then
    local name = gsub(sub(plain, 12), "%%(%x%x)", function(x) return string.char(tonumber(x, 16)) end)
    return list_models(h, key, name) or unknown_model(h, key, name)
  end
  if not config.paths[plain] then
    return refuse(h, 404, "NotFoundError", "no such path at this gateway: it serves the OpenAI API of vLLM, such as /v1/chat/completions")
  end
  if method ~= "POST" then return refuse(h, 405, "BadRequestError", "use POST for this path", {allow = "POST"}) end
  local length = tonumber(headers:get("content-length") or "")
  if length and length > config.max_body then return too_long(h, config.max_body) end
  local content_type = headers:get("content-type") or ""
  local body = h:body()
  headers = h:headers()
  local size = body and body:length() or 0
  if size == 0 then return refuse(h, 400, "BadRequestError", "the request has no body: send a JSON object with the field 'model'") end
  local text = body:getBytes(0, size)
  local found, name, first, last
  if find(lower(content_type), "^%s*multipart/form%-data") then
    name, first, last = form_model(text, content_type)
  else
    found, reason = scan(text)
    if not found then return refuse(h, 400, "BadRequestError", reason .. ": send a JSON object with the field 'model'") end
    name = found.model
  end
  if not name or name == "" then
    local names = usable(key)
    return refuse(h, 400, "BadRequestError", "the field 'model' is missing, or no text: name a model, such as " .. (names[1] or "one of GET /v1/models"))
  end
  local model = config.models[name]
  if not model or not may_use(key, name) then return unknown_model(h, key, name) end
  local longest = body_limit(key, name)
  if size > longest then return too_long(h, longest) end
  headers:replace("x-vllm-gateway-model", name)
  local hash = model.routing ~= "L" and affinity(headers, text, found, key, model) or nil
  local target = choose(headers, model, hash)
  if not target then return refuse(h, 503, "ServiceUnavailableError", "no server of this model is there", {["retry-after"] = "10"}) end
  if hash then headers:replace("x-vllm-gateway-hash", tohex(hash)) end
  local metered = is_limited(key, name, "metered")
  local strip = false
  local parts
  if found and target.model then
    parts = {sub(text, 1, found.first - 1), target.model, sub(text, found.last + 1, found.close - 1)}
  elseif target.model then
    parts = {sub(text, 1, first - 1), target.plain, sub(text, last + 1)}
  end
  local asks = found and ASKS_FOR_USAGE[(gsub(found.options or "", "%s", ""))]
  if metered and found and found.stream and ASKED_FOR_USAGE[plain] and not asks then
    -- The last of equal keys counts. The event with the usage is taken out of the answer again.
    strip = not find(found.options or "", '"include_usage"%s*:%s*true')
    parts = parts or {sub(text, 1, found.close - 1)}
    parts[#parts + 1] = ',"stream_options":{"include_usage":true}'
  end
  if parts then
    if found then parts[#parts + 1] = "}" end
    local written = h:body():setBytes(table.concat(parts))
    headers = h:headers()
    headers:replace("content-length", tostring(written))
  end
  if target.authorization then headers:replace("authorization", target.authorization) end
  if is_limited(key, name, "limited") then
    headers:replace("x-vllm-gateway-limited", "1")
    h:streamInfo():dynamicMetadata():set("vllm.gateway", "total_tokens", 0)
  end
  if config.holds then
    local comments = found and found.stream and STREAMED[plain] and headers:get("x-vllm-hold-comments")
    if comments then headers:replace("x-vllm-gateway-hold", comments) end
    if not length then headers:replace("x-vllm-gateway-bytes", tostring(size)) end
  end
  headers:remove("x-vllm-hold-comments")
  if model.mirror and math.random(1, 100) <= model.mirror.percent then
    headers:replace("x-vllm-gateway-mirror", model.mirror.cluster)
  end
  if metered or config.audit then
    h:streamInfo():dynamicMetadata():set("vllm.gateway", "read", strip and "strip" or "read")
  end
  headers:replace("x-vllm-gateway-cluster", target.cluster)
end

-- Return the numbers of the usage in a text, from the position of `"usage":{`.
local function read_usage(s, at)
  local part = sub(s, at, at + 400)
  return tonumber(part:match('"prompt_tokens"%s*:%s*(%d+)') or part:match('"input_tokens"%s*:%s*(%d+)')),
    tonumber(part:match('"completion_tokens"%s*:%s*(%d+)') or part:match('"output_tokens"%s*:%s*(%d+)')),
    tonumber(part:match('"total_tokens"%s*:%s*(%d+)'))
end

-- Return a text of whole events without those that hold nothing but the usage.
local function without_usage(s)
  return (gsub(s, "data: [^\r\n]*\r?\n\r?\n", function(event)
    if find(event, '"choices"%s*:%s*%[%s*%]') and find(event, '"usage"%s*:%s*{') then return "" end
  end))
end

function envoy_on_response(h)
  local mode = h:streamInfo():dynamicMetadata():get("vllm.gateway")
  mode = mode and mode.read
  if not mode then return end
  local headers = h:headers()
  local is_stream = find(headers:get("content-type") or "", "text/event-stream", 1, true)
  if mode == "strip" and is_stream then headers:remove("content-length") end
  local tail, prompt, completion, total = "", nil, nil, nil
  for chunk in h:bodyChunks() do
    local size = chunk:length()
    if size > 0 then
      local s = chunk:getBytes(0, size)
      if mode == "strip" and is_stream then
        s = tail .. s
        local complete = #s
        if sub(s, -2) ~= "\n\n" then
          complete = 0
          local from = 1
          while true do
            local e = find(s, "\n\n", from, true)
            if not e then break end
            complete, from = e + 1, e + 2
          end
          if #s - complete > MAX_TAIL_BYTES then complete = #s end
        end
        tail = sub(s, complete + 1)
        s = sub(s, 1, complete)
        local at = find(s, '"usage"%s*:%s*{')
        if at then
          local p, c, t = read_usage(s, at)
          prompt, completion, total = p or prompt, c or completion, t or total
          s = without_usage(s)
        end
        chunk:setBytes(s)
      else
        local joined = tail .. s
        local at, last = find(joined, '"usage":', 1, true), nil
        while at do
          last = at
          at = find(joined, '"usage":', at + 8, true)
        end
        if last then
          local p, c, t = read_usage(joined, last)
          prompt, completion, total = p or prompt, c or completion, t or total
        end
        tail = sub(joined, -400)
      end
    end
  end
  if not total and (prompt or completion) then total = (prompt or 0) + (completion or 0) end
  if total then
    local metadata = h:streamInfo():dynamicMetadata()
    metadata:set("vllm.gateway", "total_tokens", total)
    if prompt then metadata:set("vllm.gateway", "prompt_tokens", prompt) end
    if completion then metadata:set("vllm.gateway", "completion_tokens", completion) end
  end
end
