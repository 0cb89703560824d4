"""How a model is spread over the axes of a device mesh."""
