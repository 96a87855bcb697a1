"""Gold and what is derived from it in a Databricks SQL warehouse.

::

    connection.py  the connector: sessions, statements, parameters, and three kinds of errors
    dialect.py     the one SQL in Databricks' own dialect; rows.py, values.py and regex.py
                   have the differences that sqlglot leaves
    gold.py        what is there: columns, versions, rows; typed views of it
    warehouse.py   queries, derived tables, stored partitions
    upload.py      rows that Python made, as statements
    tables.py      the DDL of every table, from its one declaration; the grants
    jobs.py        heavy Python steps on a cluster: who asks, for what, and what became of a run
    health.py      whether it can do what an audit asks of it
"""
