"""The topology: nodes, switches, links and rails, and the bandwidth that flows share on them."""
