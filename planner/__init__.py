"""What to do: legal plans, their search, and the reasons for the chosen one."""
