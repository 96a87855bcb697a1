"""Production's warehouse: the audit's SQL said in Databricks' dialect."""
