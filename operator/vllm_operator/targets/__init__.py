"""Write a VLLMServer for another place to run: Docker, Podman, plain Kubernetes, AWS and Google Cloud."""
