"""What the verbs print for people: plain text, 80 columns wide."""
