"""Count what a VLLMGateway loses on a real cluster, while servers, gateway and control plane change under load."""
