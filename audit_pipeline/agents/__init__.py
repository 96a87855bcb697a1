"""The six agents: pure functions and SQL, tables in, table out. No framework, no I/O."""
