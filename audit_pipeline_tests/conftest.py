pytest_plugins = [
    "audit_pipeline_tests.databricks.warehouses",
    "audit_pipeline_tests.environment",
    "audit_pipeline_tests.processes",
    "audit_pipeline_tests.postgres",
    "audit_pipeline_tests.redis_server",
    "audit_pipeline_tests.review.reviewed",
]
