"""What makes the trail verifiable: signed checkpoints in a folder outside the database.

`keys.py` signs and checks, `folder.py` holds the files, `sealing.py` makes checkpoints, `verify.py`
compares the database with them, `proofs.py` proves single entries and growth, `archive.py` exports
a run so that it can be verified alone.
"""
