-- The health of an Application, for sync waves in an app of apps. An Application is healthy only when it is also synced:
-- while most of its objects are missing, Argo CD calls it healthy by those that are there.
hs = {status = "Progressing", message = ""}
if obj.status ~= nil and obj.status.health ~= nil and obj.status.sync ~= nil then
  if obj.status.sync.status == "Synced" then
    hs.status = obj.status.health.status
    hs.message = obj.status.health.message
  else
    hs.message = "not synced yet"
  end
end
return hs
