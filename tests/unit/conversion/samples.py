"""Manifests in the shape of those that other projects publish."""

from __future__ import annotations

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: mistral-7b, namespace: llm}
spec:
  replicas: 2
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector: {matchLabels: {app: mistral}}
  template:
    metadata: {labels: {app: mistral}, annotations: {team: a, prometheus.io/scrape: "true"}}
    spec:
      containers:
        - name: server
          image: vllm/vllm-openai:v0.30.0
          command: [/bin/sh, -c]
          args: ["vllm serve mistralai/Mistral-7B-Instruct-v0.3 --trust-remote-code --max_num_batched_tokens 1024"]
          env:
            - {name: HUGGING_FACE_HUB_TOKEN, valueFrom: {secretKeyRef: {name: hf, key: token}}}
          resources: {limits: {cpu: "10", memory: 20G, nvidia.com/gpu: "1"}}
          volumeMounts:
            - {name: cache, mountPath: /root/.cache/huggingface}
            - {name: shm, mountPath: /dev/shm}
      volumes:
        - {name: cache, persistentVolumeClaim: {claimName: mistral-7b}}
        - {name: shm, emptyDir: {medium: Memory, sizeLimit: 2Gi}}
---
apiVersion: v1
kind: Service
metadata: {name: mistral-svc}
spec: {type: LoadBalancer, selector: {app: mistral}, ports: [{port: 8080, targetPort: 8000}, {name: x, port: 9}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: any}
spec:
  scaleTargetRef: {name: mistral-7b}
  minReplicas: 2
  maxReplicas: 5
  metrics:
    - {type: Pods, pods: {metric: {name: "vllm:num_requests_running"}, target: {averageValue: "20"}}}
    - {type: Resource, resource: {name: cpu}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: any}
spec: {maxUnavailable: 2, selector: {matchLabels: {app: mistral}}}
"""

KUBEAI = """
apiVersion: kubeai.org/v1
kind: Model
metadata: {name: llama-3.1-8b}
spec:
  features: [TextGeneration]
  url: hf://meta-llama/Llama-3.1-8B-Instruct
  engine: VLLM
  args: [--max-model-len=8192, --max-num-seqs=64, --disable-log-requests, --num-scheduler-steps=8]
  env: {VLLM_USE_V1: "1"}
  minReplicas: 0
  maxReplicas: 4
  targetRequests: 100
  resourceProfile: nvidia-gpu-l4:2
  cacheProfile: efs
  adapters:
    - {name: colorist, url: "hf://org/colorist"}
    - {name: s, url: "s3://bucket/s"}
"""

KSERVE = """
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceService
metadata: {name: qwen, namespace: llm}
spec:
  model: {uri: "hf://Qwen/Qwen3-8B", name: Qwen/Qwen3-8B}
  replicas: 2
  parallelism: {tensor: 2}
  router: {route: {}, scheduler: {}}
  baseRefs: [{name: preset}]
  template:
    containers:
      - name: main
        env:
          - {name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hf, key: HF_TOKEN}}}
          - name: VLLM_ADDITIONAL_ARGS
            value: >-
              --enable-auto-tool-choice --tool-call-parser=hermes
              --hf-overrides '{"a": 1}'
        resources: {limits: {nvidia.com/gpu: "2"}, requests: {cpu: "4"}}
"""

PRODUCTION_STACK = """
servingEngineSpec:
  vllmApiKey: {secretName: keys, secretKey: vllm}
  tolerations: [{key: gpu, operator: Exists}]
  modelSpec:
    - name: llama3
      repository: lmcache/vllm-openai
      tag: v0.3.9
      modelURL: meta-llama/Llama-3.1-8B-Instruct
      modelRevision: main
      replicaCount: 2
      requestCPU: 10
      requestMemory: 16Gi
      requestGPU: 2
      pvcStorage: 50Gi
      pvcAccessMode: [ReadWriteMany]
      vllmConfig: {enableChunkedPrefill: false, enablePrefixCaching: true, maxModelLen: 4096, tensorParallelSize: 2,
                   extraArgs: [--gpu-memory-utilization, "0.8"]}
      lmcacheConfig: {enabled: true, cpuOffloadingBufferSize: "20"}
      hf_token: hf_secret
      nodeSelectorTerms: [{matchExpressions: [{key: pool, operator: In, values: [a]}]}]
    - {name: "off", enabled: false, modelURL: x}
    - {name: ray, modelURL: x, raySpec: {enabled: true}}
routerSpec: {routingLogic: session}
"""
