"""The built-in simulator: one real call through a real server, observed and checked from outside.

`trunkline demo` starts `trunkline serve` as a child, calls it over SIP and RTP (`caller`), has the call streamed to a
sample app (`app`) through the official SDK, receives the status callbacks (`callbacks`), shows what flows (`show`) and
reports whether it worked (`verdict`). Nothing here imports the server's rooms: both sides share only the protocols.
"""
