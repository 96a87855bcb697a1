"""The review desk: a web application over the store, for people who decide on flags."""
