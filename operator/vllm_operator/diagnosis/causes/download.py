"""Causes in the download of the model: the hub, and the disk that vLLM writes the model to."""

from __future__ import annotations

from vllm_operator.diagnosis.causes.row import Cause

DOWNLOAD: tuple[Cause, ...] = (
    Cause(
        "gated-401",
        "GatedModel",
        ("gated repo.",),
        r"(?:access|accessing) (?:a )?gated repo\.\s(?:(?!\n\n)[\s\S]){0,300}401 Client Error",
        "the model is gated, and vLLM sent no valid token (401): accept its terms on the hub, and set "
        "model.tokenSecretRef",
    ),
    Cause(
        "gated-403",
        "GatedModel",
        ("gated repo.",),
        r"(?:access|accessing) (?:a )?gated repo\.\s(?:(?!\n\n)[\s\S]){0,300}403 Client Error",
        "the token may not read this gated model (403): accept the model's terms with the account that owns the "
        "token, or use another token in model.tokenSecretRef",
    ),
    Cause(
        "missing-model",
        "ModelNotFound",
        ("repo id must be in the form ",),
        r"Repo id must be in the form 'repo_name' or 'namespace/repo_name': '(?P<path>/[^']*)'",
        "there is no model at {path}: correct the path in model.uri, or put the model there",
    ),
    Cause(
        "revision-404",
        "RevisionNotFound",
        (" is not a valid git identifier ",),
        r"(?<!\S)(?P<revision>\S{1,256}) is not a valid git identifier \(branch name, tag name or commit id\)",
        "the model has no revision {revision} (404): correct model.revision",
    ),
    Cause(
        "repository-404",
        "ModelNotFound",
        (" is not a local folder and is not a valid model identifier",),
        r"(?<!\S)(?P<model>\S{1,256}) is not a local folder and is not a valid model identifier",
        "the hub has no model {model}, or hides it from this token (404): correct model.uri, or set "
        "model.tokenSecretRef",
    ),
    Cause(
        "rate-limited-429",
        "RateLimited",
        ("http error 429 ", "429 client error", "429 too many requests"),
        r"HTTP Error 429 |429 (?:Client Error|Too Many Requests)",
        "the hub answers that it received too many requests (429): set model.tokenSecretRef, use a cache that "
        "replicas share, and wait",
    ),
    Cause(
        "hub-unreachable",
        "HubUnreachable",
        ("we couldn't connect to '",),
        r"We couldn't connect to '(?P<url>[^']*)' to load the files",
        "vLLM cannot reach the hub {url}: open the network, set HF_ENDPOINT in engine.env, or serve from a claim "
        "(pvc://)",
    ),
    Cause(
        "disk-full",
        "DiskFull",
        ("no space left on device", "disk quota exceeded", "not enough free disk space"),
        r"(?:No space left on device|Disk quota exceeded|Not enough free disk space)(?![^\n]*(?:/dev/shm|psm_))",
        "the disk is full while vLLM downloads the model: raise cache.size, or the ephemeral storage of the node",
    ),
    Cause(
        "cache-permission",
        "CacheNotWritable",
        ("permissionerror: [errno 13] permission denied: '",),
        r"PermissionError: \[Errno 13\] Permission denied: '(?P<path>[^']*)'",
        "vLLM has no permission to use {path}: give the volume to the group of the pod by "
        "security.podSecurityContext.fsGroup, or point HF_HOME and VLLM_CACHE_ROOT in engine.env to a folder that "
        "it may write to",
    ),
)
