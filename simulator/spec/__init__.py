"""The shared language: model, cluster, job, plan, scenario and prediction, typed and validated."""
