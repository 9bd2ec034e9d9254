"""Code that runs inside replicas, in vLLM's own process. It uses the standard library of Python 3.9 alone."""
