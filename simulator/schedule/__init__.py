"""Pipeline schedules as data: who runs which action on which microbatch, in what order."""
