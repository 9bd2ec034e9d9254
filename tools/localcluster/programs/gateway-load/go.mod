module vllm-operator.dev/tools/localcluster/gateway-load

go 1.26.0
