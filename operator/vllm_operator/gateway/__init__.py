"""The gateway: configuration of Envoy, and the agent that writes it, counts requests and holds them."""
