"""What would happen: devices and links, one training step, a whole campaign."""
