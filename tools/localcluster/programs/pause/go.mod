module vllm-operator.dev/tools/localcluster/pause

go 1.26.0
