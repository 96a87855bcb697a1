"""Kills audits at every place where it could matter, and looks for what was lost or doubled.

`paper.py` has a real audit's publications, recorded once, so that a killed audit takes a fifth of
a second; `work.py` is what is killed, made of the product's own effects; `state.py` says what the
store holds and whether that is whole; `naive.py` is the control that must fail; `kill.py` kills;
`__main__.py` is `make torture`.
"""
