-- Health of a VLLMServer for Argo CD, by the same rules as kstatus (Flux) and `kubectl wait --for=condition=Ready`.
-- Install it as resource.customizations.health.vllm-operator.dev_VLLMServer in argocd-cm: see gitops.md.
-- Needs nothing but Lua's base library, which is all that Argo CD gives.

local function condition(kind)
  for _, entry in ipairs((obj.status and obj.status.conditions) or {}) do
    if entry.type == kind then
      return entry
    end
  end
  return {}
end

local function health(status, message)
  return { status = status, message = message or "" }
end

if obj.metadata.deletionTimestamp ~= nil then
  return health("Progressing", "being deleted")
end

local status = obj.status or {}
if status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "the operator has not taken up the latest spec yet")
end

local stalled = condition("Stalled")
if stalled.status == "True" then
  return health("Degraded", stalled.message)
end

if obj.spec ~= nil and obj.spec.paused == true then
  return health("Suspended", status.message)
end

if condition("Ready").status == "True" then
  return health("Healthy", status.message)
end

return health("Progressing", condition("Ready").message or status.message)
