pytest_plugins = ["audit_pipeline_tests.environment", "audit_pipeline_tests.postgres"]
