"""What joins the devices: domains, switches, pods and regions, and how flows share them."""
