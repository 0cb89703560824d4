"""What would happen: devices, links, one training step and a whole campaign, as pure functions and events."""
