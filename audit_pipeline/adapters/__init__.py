"""The outside world: each service behind a few functions, in this project's own words."""

import os
import warnings

# pandera imports pyspark wherever that is installed, as dagster-databricks does it, and then tells
# pyarrow by this variable to drop the time zone of what it converts. An empty one stays empty.
os.environ.setdefault("PYARROW_IGNORE_TIMEZONE", "")
warnings.filterwarnings(
    "ignore", "PySpark does not yet fully support pandas", FutureWarning, "pyspark"
)
