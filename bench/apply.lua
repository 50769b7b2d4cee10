-- POSTs applies of one document, no two alike: wrk -s apply.lua URL -- ROUND
local round, count = "0", 0

function init(args)
   round = args[1] or "0"
end

function request()
   count = count + 1
   local body = string.format(
      '{"scope":{"namespace":"load/test"},"documents":[{"key":"services/service-%02d.yaml",'
         .. '"content":"round: %s\\nwrite: %d\\nreplicas: 3\\nimage: registry.example.com/app:1.2\\n'
         .. 'resources:\\n  cpu: 200m\\n  memory: 512Mi\\n"}]}',
      count % 50, round, count
   )
   return wrk.format("POST", "/v1/apply", {["Content-Type"] = "application/json"}, body)
end
