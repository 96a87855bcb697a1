import warnings

# pandera imports it wherever it is installed, and dagster-databricks installs it.
warnings.filterwarnings(
    "ignore", "PySpark does not yet fully support pandas", FutureWarning, "pyspark"
)
